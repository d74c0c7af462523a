"""Check that the tables can be rebuilt from MLflow alone, byte for byte."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

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

    known = {manifest.read(folder)["content"]: folder for folder in job.inputs.get("significance", [])}

    def render(frame: "pd.DataFrame", folder: Path) -> dict[str, str]:
        described = manifest.read(folder)
        tests = known.get(described["inputs"].get("significance"))
        found = None if tests is None else tested_from_mlflow(job, tests, read_json(tests / "significance.json"))
        table = build(described["spec"], frame, found)
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


def tested_from_mlflow(job: Job, folder: Path, expected: Any) -> Any:
    """Content of `significance.json` from the per-query values in the store.

    Raises:
        UserError: it is not the same as that from files.
    """
    from sparsemill import manifest
    from sparsemill.errors import UserError
    from sparsemill.evaluation.significance import read_per_query
    from sparsemill.evaluation.tested import tested
    from sparsemill.files import read_json
    from sparsemill.study.models import Table
    from sparsemill.tracking.source import fetch_evaluations, opened

    described = manifest.read(folder)
    spec, contents = described["spec"], set(described["inputs"].values())
    published = read_json(job.input("published") / "receipts.json")["runs"]
    keys = dict.fromkeys(key for key, receipt in published.items() if receipt["content"] in contents)
    table = Table(**spec["table"])
    with TemporaryDirectory() as temporary, opened(job.input("store")) as store:
        folders = fetch_evaluations(store, job.spec["experiment"], keys, Path(temporary))
        values = read_per_query(folders, measure=table.test_measure, engines=spec["engines"])
    found = tested(table, values, groups=spec.get("groups", {}))
    if found != expected:
        raise UserError(f"{folder}: the tests made from MLflow differ; publish again, or delete the store and publish")
    return found


if __name__ == "__main__":
    sys.exit(main("verify_tracking", run, doc=__doc__))
