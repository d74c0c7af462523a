"""Frames and tables read back from the store."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from tracked import (
    SPEC,
    STORE,
    World,
    publish_all,
    script,
    spec_hashes,
    verified,
)

from sparsemill.errors import UserError
from sparsemill.files import write_json
from sparsemill.tracking import input_tags
from sparsemill.tracking.names import TAG_LIMIT
from sparsemill.tracking.publish import publish
from sparsemill.tracking.retry import due_attempt
from sparsemill.tracking.source import fetch_evaluations, measured_frame, opened
from sparsemill.tracking.store import open_store


def test_frame_and_tables_from_mlflow_equal_those_from_files(world: World) -> None:
    folders = world.build()
    write_json(Path("results/published/receipts.json"), publish_all(folders).as_json())
    assert verified(world, folders) == {"equal": True, "rows": 12, "tables": ["results/rendered/table.txt"]}
    Path("results/rendered/table.txt").write_text("other")
    with pytest.raises(UserError, match=r"table\.txt: the table rendered from MLflow differs"):
        verified(world, folders)


def test_verify_names_the_first_difference(world: World) -> None:
    folders = world.build()
    publication = publish_all(folders)
    write_json(Path("results/published/receipts.json"), publication.as_json())
    store = open_store(STORE)
    run_id = publication.runs["evaluations/ours/seed-0/pydocs/exact"].run_id
    store.client.log_metric(run_id, "nDCG_10", 0.7200000000000001, step=1)
    with pytest.raises(UserError, match=r"nDCG@10 of ours \(seed-0\) on pydocs exact: files 0.72 .*0.7200000000000001"):
        verified(world, folders)
    store.client.delete_run(run_id)
    with pytest.raises(UserError, match=r"of ours \(seed-0\) on pydocs exact: files .*, MLflow nothing;"):
        verified(world, folders)


def test_command_lines_from_artefacts_to_verified_tables(world: World) -> None:
    folders = world.build()
    folders = folders[1:]  # a real table takes the place of the invented one
    sparsity, *evaluations = folders[:4]
    table = {
        "caption": "Main",
        "rows": [{"system": "bm25"}, {"system": "ours"}],
        "columns": [{"measure": "nDCG@10", "collection": "pydocs"}, {"measure": "FLOPS", "collection": "all"}],
    }
    groups = {"all": {"pydocs": 1.0}}
    engines = {"ours": "lucene", "bm25": "lucene"}
    tidy, tables, published = Path("results/tidy"), Path("results/tables/main"), Path("results/published")
    assert script("mlflow_init", {"uri": "", "experiments": ["demo"], "root": "results/mlflow"}, "tracking/store") == 0
    assert script("collect_results", {}, "tidy", evaluation=evaluations, sparsity=sparsity) == 0
    assert script("render_table", {"table": table, "engines": engines, "groups": groups}, "tables/main", tidy=tidy) == 0
    assert script("publish", SPEC, "published", store=STORE, artefacts=[*folders, tidy, tables]) == 0
    inputs: dict[str, Any] = {"tidy": tidy, "store": STORE, "published": published, "tables": [tables]}
    assert script("verify_tracking", {"experiment": "demo"}, "verified", **inputs) == 0
    report = json.loads(Path("results/verified/equality.json").read_text())
    assert (report["equal"], report["rows"], len(report["tables"])) == (True, 12, 4)
    assert "0.712" in (tables / "table.md").read_text()
    assert script("publish", {**SPEC, "rows": 1}, "published", store=STORE, artefacts=folders) == 2


def test_a_larger_limit_uploads_what_was_too_large(world: World, tmp_path: Path) -> None:
    folder = world.per_query("bm25", [0.1, 0.2])
    key = folder.relative_to("results").as_posix()
    publish_all([folder], upload_mib=0)
    with pytest.raises(UserError, match=r"publish with a larger `tracking\.upload_mib`"):
        fetch_evaluations(open_store(STORE), "demo", {key: None}, tmp_path / "one")
    publish_all([folder], upload_mib=1)
    (found,) = fetch_evaluations(open_store(STORE), "demo", {key: None}, tmp_path / "two")
    assert (found / "per_query.parquet").read_bytes() == (folder / "per_query.parquet").read_bytes()


def test_a_summary_that_failed_is_due_again(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folders, published = world.build(), Path("results/published")

    def fail(*arguments: Any) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "set_experiment_tag", fail)
        assert script("publish", SPEC, "published", store=STORE, artefacts=folders) == 0
    assert "what sums up the artefacts is not in MLflow (ConnectionError: gone)" in caplog.text
    assert due_attempt(published, {"SPARSEMILL_INVOCATION": "next"}) == "next"
    assert script("publish", SPEC, "published", store=STORE, artefacts=folders) == 0
    assert due_attempt(published, {"SPARSEMILL_INVOCATION": "next"}) == ""


def test_tables_from_a_store_that_was_moved_are_those_from_files(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"bm25": [0.1, 0.2, 0.3, 0.1], "ours": [0.3, 0.6, 0.5, 0.4]}
    folders = [world.per_query(system, found) for system, found in values.items()]
    keys = spec_hashes(folders)
    table = {
        "caption": "Main",
        "rows": [{"system": "bm25"}, {"system": "ours", "compare": ["bm25"]}],
        "columns": [{"measure": "nDCG@10", "collection": "pydocs"}],
    }
    spec = {"table": table, "engines": {"ours": "lucene", "bm25": "lucene"}}
    assert script("collect_results", {}, "tidy", evaluation=folders) == 0
    assert script("test_significance", spec, "tests", evaluations=folders) == 0
    assert script("render_table", spec, "main", tidy=Path("results/tidy"), significance=Path("results/tests")) == 0
    assert script("publish", SPEC, "published", store=STORE, artefacts=folders) == 0
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree("results/mlflow", elsewhere / "results" / "mlflow")
    monkeypatch.chdir(elsewhere)
    source = {"mlflow": {"experiment": "demo", "keys": keys}}
    assert script("mlflow_init", {"uri": "", "experiments": ["demo"], "root": "results/mlflow"}, "tracking/store") == 0
    assert script("collect_results", source, "tidy", store=STORE) == 0
    assert script("test_significance", spec | source, "tests", store=STORE) == 0
    assert script("render_table", spec, "main", tidy=Path("results/tidy"), significance=Path("results/tests")) == 0
    for name in ("tidy/results.csv", "tests/significance.json", "main/table.md", "main/table.csv"):
        assert (elsewhere / "results" / name).read_bytes() == (tmp_path / "results" / name).read_bytes(), name
    assert '"significant": true' in (elsewhere / "results/tests/significance.json").read_text()
    # What is not there is told, never left out.
    lacking = {"mlflow": {"experiment": "demo", "keys": {**keys, "evaluations/ours/seed-1/pydocs/lucene": "0"}}}
    assert script("collect_results", lacking, "tidy", store=STORE) == 2
    next(Path("results/mlflow/artifacts").rglob("per_query.parquet")).unlink()
    assert script("test_significance", spec | source, "tests", store=STORE) == 2


@pytest.mark.parametrize("room", [TAG_LIMIT, 60])
def test_results_of_other_settings_are_refused(world: World, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Also where one tag has no room for all inputs: a pre-training on thirteen sets has 236."""
    monkeypatch.setattr(input_tags, "TAG_LIMIT", room)
    folders = world.build()
    publish_all(folders)
    evaluations, made = spec_hashes(folders[2:5]), spec_hashes(folders)
    key, model = "evaluations/ours/seed-0/pydocs/lucene", "models/ours/seed-0"
    with opened(STORE) as store:
        assert len(measured_frame(store, "demo", evaluations, above=made.values())) == 9
        # What is installed here is in some collections' specs.
        assert len(measured_frame(store, "demo", evaluations, above=[made[model]])) == 9
        with pytest.raises(UserError, match=rf"'demo' has 1 of 3 .* other versions of its stages, .* {key}; give"):
            measured_frame(store, "demo", {**evaluations, key: "0"}, above=made.values())
        with pytest.raises(UserError, match=rf"has 1 of 3 .* example {key}, made from {model}; give the"):
            measured_frame(store, "demo", evaluations, above=[])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"experiment": "demo"}, "spec.engines"),
        ({**SPEC, "colour": 1}, "spec.colour"),
        ({**SPEC, "rows": ["a"]}, "spec.rows"),
        ({**SPEC, "experiment": "other"}, "no experiment 'other'"),
    ],
)
def test_a_malformed_spec_is_a_users_mistake(world: World, spec: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        publish(world.build(), STORE, spec)
