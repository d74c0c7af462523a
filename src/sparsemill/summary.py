"""What a person reads when a run has ended: tables, where the report is, how to open MLflow."""

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

from sparsemill.errors import UserError, told
from sparsemill.files import read_json


def _tables(results: Path) -> list[str]:
    """The tables that the last run compared with MLflow; all that lie there where none were."""
    found = sorted(results.glob("tables/*/table.md"))
    compared = results / "verified" / "equality.json"
    last = {Path(name).parent.name for name in read_json(compared).get("tables", [])} if compared.exists() else set()
    found = [path for path in found if not last or path.parent.name in last]
    if not found:
        raise UserError(f"{results}: no tables yet; run `snakemake --cores all` first")
    # Markdown's escapes are for renderers; a terminal shows them.
    return [re.sub(r"\\([\\<>|*_`])", r"\1", path.read_text(encoding="utf-8").strip()) for path in found]


def _verdicts(results: Path) -> list[str]:
    path = results / "expected" / "verdicts.json"
    if not path.exists():
        return []
    told = []
    for name, kind in (("Expected values", "verdicts"), ("Claims", "claims")):
        counts = Counter(verdict["verdict"] for verdict in read_json(path).get(kind, []))
        if counts:
            told.append(f"{name}: " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    return ["\n".join(told)] if told else []


def summary(results: Path) -> str:
    """The text that ends `make demo`.

    Raises:
        UserError: nothing was made yet.
    """
    parts = _tables(results) + _verdicts(results)
    where = []
    if (results / "report.html").exists():
        where.append(f"Report:   {results / 'report.html'} (open it in a browser)")
    where.append(f"Figures:  {results / 'figures'}")
    where.append("MLflow:   make mlflow, then http://127.0.0.1:5000 (choose Model training, then the experiment)")
    return "\n\n".join([*parts, "\n".join(where)])


@told
def main(argv: list[str] | None = None) -> int:
    """Print the summary of a results folder."""
    parser = argparse.ArgumentParser(prog="python -m sparsemill.summary", description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"))
    print("\n" + summary(parser.parse_args(argv).results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
