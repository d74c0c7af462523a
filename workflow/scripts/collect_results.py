"""Gather all measures into one tidy frame."""

import sys
from typing import Any

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Write `results.parquet` and `results.csv`.

    Inputs: those of every kind that holds measures; or `store`, and the spec says which of its runs.
    """
    frame = from_mlflow(job) if "mlflow" in job.spec else from_files(job)
    frame.to_parquet(job.out / "results.parquet", index=False)
    frame.to_csv(job.out / "results.csv", index=False, lineterminator="\n")
    job.facts.update(rows=len(frame), systems=int(frame["system"].nunique()))


def from_files(job: Job) -> Any:
    """The tidy frame of the given artefacts."""
    from sparsemill.tables.collect import FILES, collect

    return collect({kind: job.inputs.get(kind, []) for kind in FILES})


def from_mlflow(job: Job) -> Any:
    """The tidy frame of the store's runs."""
    from sparsemill.tracking.source import measured_frame, opened

    with opened(job.input("store")) as store:
        return measured_frame(store, **job.spec["mlflow"])


if __name__ == "__main__":
    sys.exit(main("collect_results", run, doc=__doc__))
