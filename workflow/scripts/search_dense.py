"""Search a collection with a dense or sparse teacher's cached embeddings, exhaustively."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Write the run and its sidecar."""
    from sparsemill.data.collection import read_corpus, read_queries
    from sparsemill.retrieval.dense import search_dense
    from sparsemill.retrieval.ir_metadata import write_sidecar
    from sparsemill.retrieval.sidecar import remove_self_hits, write_described_run
    from sparsemill.teachers.cache import load_embeddings

    collection, spec = job.input("collection"), job.spec
    wanted = {query.id for query in read_queries(collection, split=spec["split"])}
    rows = {query.id: row for row, query in enumerate(read_queries(collection)) if query.id in wanted}
    found = search_dense(
        load_embeddings(job.inputs["embeddings"]),
        list(rows.values()),
        query_ids=list(rows),
        document_ids=[document.id for document in read_corpus(collection)],
        k=spec["depth"] + 1,
        sparse=spec["kind"] == "sparse",
    )
    kept = remove_self_hits(found, depth=spec["depth"], drop=spec["self_hits"] == "drop")
    job.describe = write_sidecar
    job.facts.update(write_described_run(job.out, kept, spec))


if __name__ == "__main__":
    sys.exit(main("search_dense", run, doc=__doc__))
