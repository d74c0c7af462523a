"""Count a training set: tuples of its sources, and queries that filter and sampling leave."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Read the inputs `collection` and `candidates`, one of each set; write `training_pairs.json`."""
    from sparsemill.data.training_pairs import count_pairs
    from sparsemill.files import write_json

    counts = count_pairs(job.inputs["collection"], job.inputs["candidates"], splits=job.spec["splits"])
    write_json(job.out / "training_pairs.json", counts)


if __name__ == "__main__":
    sys.exit(main("count_pairs", run, doc=__doc__))
