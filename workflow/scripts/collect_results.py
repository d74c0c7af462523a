"""Gather all measures into one tidy frame."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Write `results.parquet` and `results.csv` from the inputs of every kind that holds measures."""
    from sparsemill.tables.collect import FILES, collect

    frame = collect({kind: job.inputs.get(kind, []) for kind in FILES})
    frame.to_parquet(job.out / "results.parquet", index=False)
    frame.to_csv(job.out / "results.csv", index=False, lineterminator="\n")
    job.facts.update(rows=len(frame), systems=int(frame["system"].nunique()))


if __name__ == "__main__":
    sys.exit(main("collect_results", run, doc=__doc__))
