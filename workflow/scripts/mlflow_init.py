"""Create the tracking store and its experiments once, before anything writes to them."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Spec: uri (empty: SQLite below root), experiments, root."""
    from sparsemill.tracking.store import create_store

    create_store(job.out, job.spec)


if __name__ == "__main__":
    sys.exit(main("mlflow_init", run, doc=__doc__))
