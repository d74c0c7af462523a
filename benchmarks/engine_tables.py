"""What `engines.py` measured, as tables beside the aims."""

import datetime
import json
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compare import RESULTS, machine

DEPTHS = (10, 1000)
BOUND, EXACT, BLOCKED, LUCENE, SEISMIC = "scatter only", "exact", "exact, blocked", "Lucene impact", "Seismic"
KEPT, REMOVED = "BM25, stop words kept", "BM25, stop words removed"


def ratios(rows: list[dict[str, Any]]) -> list[tuple[str, float, str]]:
    """What was aimed at, as far as its engines were measured: name, value, aim."""
    times = {(row["view"], row["engine"]): row for row in rows}
    free = "inference-free"
    asked = [
        ("exact / scatter only", (free, EXACT), (free, BOUND), 10, "at most 1.5"),
        ("exact / scatter only", (free, EXACT), (free, BOUND), 1000, "at most 2.5"),
        ("Lucene impact / exact", (free, LUCENE), (free, EXACT), 1000, "at least 4"),
        ("inference-free / BM25, both exact", (free, EXACT), (KEPT, EXACT), 10, "at most 1.15"),
        ("inference-free / BM25, both exact", (free, EXACT), (KEPT, EXACT), 1000, "at most 1.15"),
        ("exact / Lucene BM25", (free, EXACT), (KEPT, "Lucene"), 1000, "at most 0.4"),
    ]
    good = [row for row in rows if row["view"] == free and SEISMIC in row["engine"] and row["recall@10"] >= 0.97]
    for row in sorted(good, key=lambda row: float(row["us@10"]))[:1]:
        name = f"{row['engine']} (recall {row['recall@10']:.3f}) / Lucene BM25"
        asked.append((name, (free, row["engine"]), (KEPT, "Lucene"), 10, "at most 0.7"))
    return [
        (f"{name}, top {k:,}", float(times[one][f"us@{k}"] / times[other][f"us@{k}"]), aim)
        for name, one, other, k, aim in asked
        if one in times and other in times
    ]


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)


def report(measured: dict[str, Any], *, name: str | None) -> None:
    """Print the tables, and keep them if there is a name."""
    command = f"python benchmarks/{shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}"
    versions = {package: version(package) for package in ("numba", "pyserini", "pyseismic-lsr")}
    head = ["view", "engine", *(f"top {k:,}" for k in DEPTHS), *(f"p99, top {k:,}" for k in DEPTHS)]
    head += [f"with hits, top {k:,}" for k in DEPTHS] + [f"recall@{k}" for k in DEPTHS]
    lines = [
        "# Engines, microseconds per query",
        "",
        f"`{command}`, {datetime.date.today().isoformat()}; {machine('cpu')}; 1 thread; "
        + ", ".join(f"{package} {number}" for package, number in versions.items()),
        "",
        f"{measured['documents']:,} documents, {measured['queries']:,} queries. Postings per query and document: "
        + ", ".join(f"{view} {found['postings']:.2f}" for view, found in measured["views"].items())
        + ".",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    for row in measured["rows"]:
        kinds = ("us", "p99_us", "us_with_hits")
        cells = [_cell(row[f"{kind}@{k}"], "{:,.0f}") for kind in kinds for k in DEPTHS]
        shares = [_cell(row[f"recall@{k}"], "{:.3f}") for k in DEPTHS]
        lines.append("| " + " | ".join([row["view"], row["engine"], *cells, *shares]) + " |")
    lines += ["", "| ratio | measured | aim |", "|---|---|---|"]
    lines += [f"| {what} | **{value:.2f}** | {aim} |" for what, value, aim in ratios(measured["rows"])]
    print("\n".join(lines))
    if name:
        RESULTS.mkdir(exist_ok=True)
        record = {"command": command, "machine": machine("cpu"), "versions": versions, "results": measured}
        (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
        (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
