"""Print the verdicts on a study's results; a failing one makes the exit status 1. Nothing is written."""

import argparse
import sys
from pathlib import Path

from sparsemill.errors import UserError, told
from sparsemill.evaluation.claims import Judged
from sparsemill.evaluation.expected import Verdict, fails
from sparsemill.files import read_json

TIERS = {
    "expected": "Values of the study's own",
    "untrained": "What needs no training, against others' software",
    "released checkpoint": "Released checkpoints, against model cards and re-runs",
    "retrained": "Retrained models, against their papers",
    "claim": "Claims, by a paired test",
}


_NONE = "this study has no expected value and answers no claim"


def report(results: Path) -> tuple[str, bool]:
    """The verdicts by tier, and whether none of them fails or lacks its value.

    Raises:
        UserError: there are no verdicts.
    """
    path = results / "expected" / "verdicts.json"
    if not path.exists():
        raise UserError(f"{path}: no verdicts; {_NONE}")
    told = read_json(path)
    tiers: dict[str, list[Verdict | Judged]] = {tier: [] for tier in TIERS}
    for verdict in told["verdicts"]:
        tiers[verdict["tier"]].append(Verdict(**verdict))
    tiers["claim"] += [Judged(**claim) for claim in told["claims"]]
    lines = []
    for tier, verdicts in tiers.items():
        if verdicts:
            lines += [f"{TIERS[tier]}:", *(f"  {verdict.line()}" for verdict in verdicts)]
    everything = [verdict for verdicts in tiers.values() for verdict in verdicts]
    failed = sum(fails(verdict.verdict) for verdict in everything)
    lines.append(f"{len(everything)} verdicts, {failed} of them failing.")
    return "\n".join(lines), not failed


@told
def main(argv: list[str] | None = None) -> int:
    """Print the verdicts of a results folder."""
    parser = argparse.ArgumentParser(prog="python -m sparsemill.verify", description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"))
    parser.add_argument("--none-due", action="store_true", help=f"{_NONE}: verdicts that lie there are another's")
    given = parser.parse_args(argv)
    if given.none_due:
        raise UserError(_NONE)
    text, passed = report(given.results)
    print(text)
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
