"""Render a table as Markdown, CSV, LaTeX and HTML."""

import logging
import sys

from sparsemill.job import Job, main

logger = logging.getLogger("render_table")


def run(job: Job) -> None:
    """Write `table.md`, `.csv`, `.tex` and `.html` from the tidy frame and the tests."""
    import pandas as pd

    from sparsemill.files import read_json, write_text
    from sparsemill.tables.build import build
    from sparsemill.tables.render import WRITERS

    frame = pd.read_parquet(job.input("tidy") / "results.parquet")
    tests = read_json(job.input("significance") / "significance.json") if "significance" in job.inputs else None
    table = build(job.spec, frame, tests)
    for extension, write in WRITERS.items():
        write_text(job.out / f"table.{extension}", write(table))
    cells = [cell for line in table.lines for cell in line.cells]
    job.facts.update(cells=len(cells), missing=sum(cell.mean is None and cell.cited is None for cell in cells))
    if job.facts["missing"]:
        logger.warning("%d of %d cells have no value", job.facts["missing"], len(cells))


if __name__ == "__main__":
    sys.exit(main("render_table", run, doc=__doc__))
