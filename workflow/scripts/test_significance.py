"""Test the rows of a table against the systems that they are compared with."""

import logging
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sparsemill.job import Job, main

logger = logging.getLogger("test_significance")


def run(job: Job) -> None:
    """Write `significance.json`; a comparison whose evaluations are not among the inputs is left out and counted.

    Inputs: `evaluations`; or `store`, and the spec says which of its runs.
    """
    from sparsemill.evaluation.significance import comparisons
    from sparsemill.evaluation.tested import tested
    from sparsemill.files import write_json
    from sparsemill.study.models import Table

    table = Table(**job.spec["table"])
    content = tested(table, per_query(job, table.test_measure), groups=job.spec.get("groups", {}))
    wanted, pairs = len(comparisons(table)), content["pairs"]
    if len(pairs) < wanted:
        logger.warning("%d of %d comparisons have no evaluation and are left out", wanted - len(pairs), wanted)
    write_json(job.out / "significance.json", content)
    significant = sum(pair["significant"] for pair in pairs)
    job.facts.update(comparisons=len(pairs), left_out=wanted - len(pairs), significant=significant)


def per_query(job: Job, measure: str) -> Any:
    """See `sparsemill.evaluation.significance.read_per_query`."""
    from sparsemill.evaluation.significance import read_per_query
    from sparsemill.tracking.source import fetch_evaluations, opened

    engines = job.spec["engines"]
    if "mlflow" not in job.spec:
        return read_per_query(job.inputs.get("evaluations", []), measure=measure, engines=engines)
    with TemporaryDirectory() as folder, opened(job.input("store")) as store:
        found = fetch_evaluations(store, **job.spec["mlflow"], into=Path(folder))
        return read_per_query(found, measure=measure, engines=engines)


if __name__ == "__main__":
    sys.exit(main("test_significance", run, doc=__doc__))
