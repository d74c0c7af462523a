"""Check that the tables can be rebuilt from MLflow alone, byte for byte."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sparsemill.job import Job, main

if TYPE_CHECKING:
    import pandas as pd


def run(job: Job) -> None:
    """Spec: experiment. Inputs: tidy, store, published, and if there are any tables: tables, significance."""
    from sparsemill import manifest
    from sparsemill.files import read_json, write_json
    from sparsemill.tables.build import build
    from sparsemill.tables.render import WRITERS
    from sparsemill.tracking.verify import verify

    significance = {
        manifest.read(folder)["content"]: read_json(folder / "significance.json")
        for folder in job.inputs.get("significance", [])
    }

    def render(frame: "pd.DataFrame", folder: Path) -> dict[str, str]:
        described = manifest.read(folder)
        tested = described["inputs"].get("significance")
        tests = significance[tested] if tested else None
        table = build(described["spec"], frame, tests)
        return {f"table.{extension}": write(table) for extension, write in WRITERS.items()}

    report = verify(
        tidy=job.input("tidy"),
        store_folder=job.input("store"),
        published=job.input("published"),
        experiment=job.spec["experiment"],
        tables=job.inputs.get("tables", []),
        render=render,
    )
    write_json(job.out / "equality.json", report)
    job.facts["equal"] = report["equal"]


if __name__ == "__main__":
    sys.exit(main("verify_tracking", run, doc=__doc__))
