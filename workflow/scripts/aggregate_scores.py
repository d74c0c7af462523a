"""Add the normalised scores of an ensemble's teachers to targets."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Weighted sum times S (2411.04403, Eq. 9), rescaled to a teacher's scores where `reference` is given."""
    from sparsemill.ensemble.targets import write_targets

    job.facts["pairs"] = write_targets(
        job.inputs["scores"],
        job.out,
        weights=job.spec["weights"],
        scale=job.spec["scale"],
        reference=job.inputs.get("reference", []),
    )


if __name__ == "__main__":
    sys.exit(main("aggregate_scores", run, doc=__doc__))
