"""Test the rows of a table against the systems that they are compared with."""

import logging
import sys

from sparsemill.job import Job, main

logger = logging.getLogger("test_significance")


def run(job: Job) -> None:
    """Write `significance.json`; a comparison whose evaluations are not among the inputs is left out and counted."""
    from sparsemill.evaluation.intervals import RESAMPLES, difference, means
    from sparsemill.evaluation.significance import compare, comparisons, read_per_query, with_groups
    from sparsemill.files import write_json
    from sparsemill.study.models import Table

    table = Table(**job.spec["table"])
    groups = job.spec.get("groups", {})
    own = read_per_query(job.inputs.get("evaluations", []), measure=table.test_measure, engines=job.spec["engines"])
    values = with_groups(own, groups)
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
    shown = [column.collection for column in table.columns if column.measure == table.test_measure]
    places = {name: groups.get(name, {name: 1.0}) for name in shown}
    level = round(1 - table.alpha, 12)
    found = means(own, [row.system for row in table.rows], places, level=level)
    intervals = [difference(own, pair, places[pair.collection], level=level) for pair in pairs]
    ends = [{"low": None, "high": None} if each is None else each._asdict() for each in intervals]
    content = {
        **{"test": table.test, "measure": table.test_measure, "alpha": table.alpha},
        "interval": {"level": level, "method": "percentile bootstrap over queries", "resamples": RESAMPLES},
        "means": [mean._asdict() for mean in found],
        "pairs": [outcome._asdict() | end for outcome, end in zip(outcomes, ends, strict=True)],
    }
    write_json(job.out / "significance.json", content)
    job.facts.update(
        comparisons=len(pairs),
        left_out=len(wanted) - len(pairs),
        significant=sum(outcome.significant for outcome in outcomes),
    )


if __name__ == "__main__":
    sys.exit(main("test_significance", run, doc=__doc__))
