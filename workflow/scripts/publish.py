"""Mirror artefacts into MLflow."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Spec: see `sparsemill.tracking.publisher.Settings`. Inputs: store, artefacts."""
    from sparsemill.files import write_json
    from sparsemill.tracking.publish import publish

    publication = publish(job.inputs["artefacts"], job.input("store"), job.spec)
    write_json(job.out / "receipts.json", publication.as_json())
    job.facts["published"] = len(publication.runs)
    job.facts["pending"] = len(publication.pending)
    job.facts["failure"] = publication.reason


if __name__ == "__main__":
    sys.exit(main("publish", run, doc=__doc__))
