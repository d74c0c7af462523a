"""Make a retriever of a released checkpoint, whatever format it comes in."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Load the checkpoint and save it as a trained retriever is saved."""
    from sparsemill.quiet import quiet_libraries

    quiet_libraries()
    from sparsemill.models.released import prepare_released
    from sparsemill.study.models import Released

    spec = {key: value for key, value in job.spec.items() if key != "stage_version"}
    job.facts.update(prepare_released(Released.model_validate(spec), job.out))


if __name__ == "__main__":
    sys.exit(main("prepare_released", run, doc=__doc__))
