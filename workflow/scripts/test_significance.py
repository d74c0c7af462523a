"""Test the rows of a table against the systems that they are compared with."""

import logging
import sys

from sparsemill.job import Job, main

logger = logging.getLogger("test_significance")


def run(job: Job) -> None:
    """Write `significance.json`; a comparison whose evaluations are not among the inputs is left out and counted."""
    from sparsemill.evaluation.significance import compare, comparisons, read_per_query, with_groups
    from sparsemill.files import write_json
    from sparsemill.study.models import Table

    table = Table(**job.spec["table"])
    values = read_per_query(job.inputs.get("evaluations", []), measure=table.test_measure, engines=job.spec["engines"])
    values = with_groups(values, job.spec.get("groups", {}))
    wanted = comparisons(table)
    pairs = [
        pair
        for pair in wanted
        if (pair.system, pair.collection) in values and (pair.baseline, pair.collection) in values
    ]
    if len(pairs) < len(wanted):
        logger.warning(
            "%d of %d comparisons have no evaluation and are left out", len(wanted) - len(pairs), len(wanted)
        )
    outcomes = compare(values, pairs, test=table.test, alpha=table.alpha)
    tested = {"test": table.test, "measure": table.test_measure, "alpha": table.alpha}
    write_json(job.out / "significance.json", {**tested, "pairs": [outcome._asdict() for outcome in outcomes]})
    job.facts.update(
        comparisons=len(pairs),
        left_out=len(wanted) - len(pairs),
        significant=sum(outcome.significant for outcome in outcomes),
    )


if __name__ == "__main__":
    sys.exit(main("test_significance", run, doc=__doc__))
