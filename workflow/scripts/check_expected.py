"""Compare results with the values that are expected of them, and with the orderings that papers claim."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsemill.job import Job, main

if TYPE_CHECKING:
    import pandas as pd

    from sparsemill.evaluation.claims import Judged


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
    claims = judged(job.spec, frame, job.inputs.get("evaluations", []))
    for verdict in (*verdicts, *claims):
        print(verdict.line(), file=sys.stderr, flush=True)
    told = {"verdicts": [verdict._asdict() for verdict in verdicts], "claims": [claim._asdict() for claim in claims]}
    write_json(job.out / "verdicts.json", told)
    counts = Counter(verdict.verdict for verdict in (*verdicts, *claims))
    job.facts.update({status: counts[status] for status in ("ok", "near", "fail", "missing")})


def judged(spec: dict[str, Any], frame: "pd.DataFrame", evaluations: list[Path]) -> "list[Judged]":
    """The claims of the spec, judged by per-query values of the evaluations and costs of the frame."""
    from sparsemill.evaluation.claims import judge_all
    from sparsemill.evaluation.significance import read_per_query, with_groups
    from sparsemill.study.models import Claim
    from sparsemill.tables.tidy import values_of

    claims = {name: Claim(**claim) for name, claim in spec.get("claims", {}).items()}
    engines, groups = spec["engines"], spec.get("groups", {})
    values = {
        measure: with_groups(read_per_query(evaluations, measure=measure, engines=engines), groups)
        for measure in dict.fromkeys(claim.measure for claim in claims.values())
    }
    costs = {}
    for claim in claims.values():
        for system in (*claim.better, *claim.worse):
            found = values_of(frame, system, claim.collection, str(claim.equal), engines=engines)
            if found:
                costs[system, claim.collection, str(claim.equal)] = sum(found) / len(found)
    return judge_all(claims, values, costs)


if __name__ == "__main__":
    sys.exit(main("check_expected", run, doc=__doc__))
