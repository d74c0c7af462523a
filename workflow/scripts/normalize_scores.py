"""Normalise a teacher's scores per query."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Join the shards and normalise each query's candidate list (2411.04403, Eq. 8)."""
    from sparsemill.ensemble.targets import write_normalised

    job.facts["pairs"] = write_normalised(job.inputs["scores"], job.out, method=job.spec["normalisation"])


if __name__ == "__main__":
    sys.exit(main("normalize_scores", run, doc=__doc__))
