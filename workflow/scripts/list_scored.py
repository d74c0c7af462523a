"""List the documents that a file scores for the training queries, best first, as a miner's run."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Write the run and its sidecar."""
    from pathlib import Path

    from sparsemill.data.candidates import positives
    from sparsemill.data.collection import read_corpus, read_qrels
    from sparsemill.errors import UserError
    from sparsemill.retrieval.ir_metadata import write_sidecar
    from sparsemill.retrieval.sidecar import write_described_run
    from sparsemill.teachers.listed import best_listed

    collection, spec = job.input("collection"), job.spec
    relevant = positives(read_qrels(collection, split=spec["split"]))
    if not relevant:
        raise UserError(f"{collection}: no query of split {spec['split']!r} is judged above 0")
    listed = best_listed(
        Path(spec["scorer"]["path"]),
        spec["scorer"]["layout"],
        relevant,
        document_ids=[document.id for document in read_corpus(collection)],
        depth=spec["depth"],
    )
    job.describe = write_sidecar
    job.facts.update(write_described_run(job.out, listed, spec))


if __name__ == "__main__":
    sys.exit(main("list_scored", run, doc=__doc__))
