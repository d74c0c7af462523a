"""Search with an ensemble: fuse its teachers' runs."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Write the fused run and its sidecar."""
    from sparsemill.retrieval.fusion import fuse
    from sparsemill.retrieval.ir_metadata import write_sidecar
    from sparsemill.retrieval.runs import read_run
    from sparsemill.retrieval.sidecar import write_described_run

    spec = job.spec
    runs = [read_run(folder / "run.trec") for folder in job.inputs["runs"]]
    fused = fuse(runs, normalisation=spec["normalisation"], weights=spec["weights"], k=spec["depth"])
    job.describe = write_sidecar
    job.facts.update(write_described_run(job.out, fused, spec))


if __name__ == "__main__":
    sys.exit(main("fuse_runs", run, doc=__doc__))
