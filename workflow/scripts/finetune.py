"""Fine-tune a retriever."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Train, or go on from the last checkpoint of the same settings."""
    from sparsemill.training.stage import run_training

    run_training(job)


if __name__ == "__main__":
    sys.exit(main("finetune", run, doc=__doc__))
