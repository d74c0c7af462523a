"""Compare results with the values that are expected of them."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Write `verdicts.json` and print a line for each; failures are told, the exit status stays 0."""
    from collections import Counter

    import pandas as pd

    from sparsemill.evaluation.expected import check
    from sparsemill.files import write_json
    from sparsemill.study.models import Expected
    from sparsemill.tables.groups import with_groups

    frame = with_groups(pd.read_parquet(job.input("tidy") / "results.parquet"), job.spec.get("groups", {}))
    verdicts = check(frame, [Expected(**item) for item in job.spec["expected"]], engines=job.spec["engines"])
    for verdict in verdicts:
        print(verdict.line(), file=sys.stderr, flush=True)
    write_json(job.out / "verdicts.json", {"verdicts": [verdict._asdict() for verdict in verdicts]})
    counts = Counter(verdict.verdict for verdict in verdicts)
    job.facts.update({status: counts[status] for status in ("ok", "near", "fail", "missing")})


if __name__ == "__main__":
    sys.exit(main("check_expected", run, doc=__doc__))
