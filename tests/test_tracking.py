"""Publishing into a real SQLite store."""

import json
import shutil
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from tracked import (
    STORE,
    World,
    all_runs,
    by_key,
    described,
    publish_all,
    renamer,
)

from sparsemill import manifest
from sparsemill.tracking.read import read_frame
from sparsemill.tracking.report import log_report
from sparsemill.tracking.store import open_store


def test_publish_makes_nested_runs_with_everything(world: World) -> None:
    folders = world.build()
    publication = publish_all(folders)
    assert not publication.pending
    assert not publication.reason
    store = open_store(STORE)
    runs = by_key(store)
    assert set(publication.runs) == set(runs)
    parent, model = runs["systems/ours/seed-0"], runs["models/ours/seed-0"]
    evaluation = runs["evaluations/ours/seed-0/pydocs/lucene"]
    assert parent.info.run_name == "ours seed-0"
    assert runs["systems/bm25/fixed"].info.run_name == "bm25"
    assert evaluation.info.run_name == "evaluate pydocs lucene"
    assert evaluation.data.tags["mlflow.parentRunId"] == model.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert evaluation.data.tags["rows"] == '["main/Ours"]'
    assert "collections/pydocs@" in evaluation.data.tags["inputs"]
    assert evaluation.data.metrics["nDCG_10"] == 0.7123456789012345
    # The engine of the study heads the parent, not the check.
    assert parent.data.metrics["pydocs.nDCG_10"] == 0.7123456789012345
    assert parent.data.metrics["pydocs.FLOPS"] == 0.1 + 0.2
    assert model.data.params == parent.data.params
    assert model.data.params["regulariser.lambda_d"] == "0.02"
    # Values that the paper does not state, on the training and on its system.
    for run in (model, parent):
        assert run.data.tags["assumed.regulariser.warmup_steps"] == "the released code"
    note = "**Not stated in the paper:** `regulariser.warmup_steps` (the released code)"
    assert note in model.data.tags["mlflow.note.content"]
    assert not [tag for tag in evaluation.data.tags if tag.startswith("assumed.")]
    assert model.info.start_time == 1_700_000_000_000
    assert model.info.end_time == 1_700_000_002_500
    history = [(p.step, p.timestamp, p.value) for p in store.client.get_metric_history(model.info.run_id, "loss")]
    assert history == [(1, 1_700_000_000_333, 1.0), (2, 1_700_000_000_667, 0.5), (3, 1_700_000_001_000, 1 / 3)]
    assert [(i.dataset.name, i.tags[0].value) for i in model.inputs.dataset_inputs] == [("pydocs", "training")]
    assert [i.tags[0].value for i in evaluation.inputs.dataset_inputs] == ["evaluation"]
    assert runs["collections/pydocs"].info.experiment_id == store.experiments["shared"]
    assert runs["tables/main"].info.experiment_id == store.experiments["demo"]
    assert "| a |" in runs["tables/main"].data.tags["mlflow.note.content"]
    # A retriever shows its curves, its commit, and the way to the table that it feeds; the table the way back.
    assert [p.value for p in store.client.get_metric_history(parent.info.run_id, "train/loss")] == [1.0, 0.5, 1 / 3]
    assert parent.data.tags["git_commit"] == model.data.tags["mlflow.source.git.commit"]
    demo, table = store.experiments["demo"], runs["tables/main"].info.run_id
    assert (
        f"[main/Ours](#/experiments/{demo}/runs/{table}?workflowType=machine_learning)"
        in parent.data.tags["mlflow.note.content"]
    )
    back = f"[Ours seed-0](#/experiments/{demo}/runs/{parent.info.run_id}?workflowType=machine_learning)"
    assert back in runs["tables/main"].data.tags["mlflow.note.content"]
    mlflow.set_tracking_uri(store.client.tracking_uri)  # where `load_table` searches, whatever the client
    rows = store.client.load_table(demo, "table.json", run_ids=[table])
    assert rows.to_dict("list") == {"system": ["ours"], "nDCG@10": [0.5]}


def test_names_in_a_table_stay_as_they_are(world: World) -> None:
    rows = "system,label,nDCG@10,nDCG@10 marks\nnull,0.10,0.5,\n007,NA,,a\n"
    table = world.add("tables/names", {}, {"table.md": "", "table.csv": rows})
    publication = publish_all([table])
    store = open_store(STORE)
    path = store.client.download_artifacts(publication.runs["tables/names"].run_id, "table.json")
    assert json.loads(Path(path).read_text())["data"] == [["null", "0.10", 0.5, None], ["007", "NA", None, "a"]]


def test_the_experiment_says_where_to_click(world: World) -> None:
    folders = world.build()
    publish_all(folders, sweeps={"weights": ["ours"]})
    store = open_store(STORE)
    demo, runs = store.experiments["demo"], by_key(store)
    tags = store.client.get_experiment(demo).tags
    note = tags["mlflow.note.content"]
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert (
        f"[pydocs](#/experiments/{demo}/runs?viewStateShareKey=retrievers.pydocs&workflowType=machine_learning)"
        in note.splitlines()[0]
    )
    view = json.loads(tags["mlflow.sharedViewState.retrievers.pydocs"])
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`pydocs.nDCG_10`", False)
    assert view["selectedColumns"][0] == "metrics.`pydocs.nDCG_10`"
    assert "metrics.`pydocs.FLOPS`" in view["selectedColumns"]
    assert "pydocs.tokens_per_doc" in runs["systems/ours/seed-0"].data.metrics
    assert (
        "tags.sweeps LIKE '%,weights,%'"
        in json.loads(tags["mlflow.sharedViewState.sweep.weights.pydocs"])["searchFilter"]
    )
    table = runs["tables/main"].info.run_id
    assert f"[main](#/experiments/{demo}/runs/{table}?workflowType=machine_learning)" in note
    found = store.client.search_runs([demo], filter_string="tags.sweeps LIKE '%,weights,%' and tags.level = 'system'")
    assert [run.info.run_name for run in found] == ["ours seed-0"]


def test_without_ndcg_retrievers_are_sorted_by_the_first_measure(world: World) -> None:
    place = {"system": "bm25", "variant": "fixed", "collection": "pydocs", "engine": "lucene"}
    spec = place | {"measures": ["R(rel=2)@100", "AP"]}
    files = {"measures.json": {"AP": 0.4, "R(rel=2)@100": 0.3}}
    publish_all([world.add("evaluations/bm25/fixed/pydocs/lucene", spec, files)])
    store = open_store(STORE)
    tags = store.client.get_experiment(store.experiments["demo"]).tags
    view = json.loads(tags["mlflow.sharedViewState.retrievers.pydocs"])
    assert view["orderByKey"] == "metrics.`pydocs.R_rel_2__100`"
    assert "**Retrievers by R(rel=2)@100:** [pydocs]" in tags["mlflow.note.content"].splitlines()[0]


def test_the_report_is_logged_once(world: World) -> None:
    Path("report.html").write_text("<html>")
    store = open_store(STORE)
    first = log_report(store, "demo", Path("report.html"))
    assert log_report(store, "demo", Path("report.html")) == first
    Path("report.html").write_text("<html>2")
    assert log_report(store, "demo", Path("report.html")) == first
    path = store.client.download_artifacts(first, "report.html")
    assert Path(path).read_text() == "<html>2"
    assert len(all_runs(store)) == 1


def test_a_report_that_was_cut_off_takes_up_its_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("report.html").write_text("<html>")
    store = open_store(STORE)

    def fail(*arguments: Any) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "log_artifact", fail)
        with pytest.raises(ConnectionError):
            log_report(store, "demo", Path("report.html"))
    assert [*all_runs(store)] == [log_report(store, "demo", Path("report.html"))]


def test_large_files_are_listed_and_small_ones_uploaded(world: World, tmp_path: Path) -> None:
    publication = publish_all(world.build())
    client = open_store(STORE).client
    root = Path(client.download_artifacts(publication.runs["models/ours/seed-0"].run_id, ""))
    uploaded = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    outputs = {"outputs/metrics.jsonl", "outputs/query_weights.json"}
    assert uploaded == outputs | {"config.yaml", "files.json", "manifest.json"}
    files = {entry["path"]: entry for entry in json.loads((root / "files.json").read_text())}
    large = files["results/models/ours/seed-0/model/weights"]
    assert (large["bytes"], large["uploaded"], len(large["sha256"])) == (300_000, False, 64)


def test_publishing_twice_writes_nothing(world: World) -> None:
    folders = world.build()
    first = publish_all(folders)
    database = Path("results/mlflow/mlflow.db")
    before = database.read_bytes()
    files = {path: path.stat().st_mtime_ns for path in Path("results/mlflow/artifacts").rglob("*")}
    second = publish_all(folders)
    assert second == first
    assert database.read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in Path("results/mlflow/artifacts").rglob("*")} == files


def test_changed_content_supersedes_visibly(world: World) -> None:
    folders = world.build()
    first = publish_all(folders)
    world.evaluation("ours", "seed-0", "lucene", 0.8)
    second = publish_all(folders)
    store = open_store(STORE)
    key = "evaluations/ours/seed-0/pydocs/lucene"
    runs = all_runs(store)
    old, new = runs[first.runs[key].run_id], runs[second.runs[key].run_id]
    assert old.data.tags["superseded_by"] == new.info.run_id
    assert old.info.run_name == "evaluate pydocs lucene (superseded)"
    assert old.data.metrics["nDCG_10"] == 0.7123456789012345
    assert new.data.tags["supersedes"] == old.info.run_id
    # So does the parent, which takes the unchanged stages along.
    parent = by_key(store)["systems/ours/seed-0"]
    assert parent.info.run_id == second.runs["systems/ours/seed-0"].run_id != first.runs["systems/ours/seed-0"].run_id
    assert parent.data.metrics["pydocs.nDCG_10"] == 0.8
    assert by_key(store)["models/ours/seed-0"].data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert first.runs["models/ours/seed-0"] == second.runs["models/ours/seed-0"]
    frame = read_frame(store, "demo")
    assert list(frame[(frame["source"] == key) & (frame["measure"] == "nDCG@10")]["value"]) == [0.8]


def test_more_stages_extend_a_parent(world: World) -> None:
    folders = world.build()
    first = publish_all([folder for folder in folders if "sparsity" not in folder.as_posix()])
    second = publish_all(folders)
    assert first.runs["systems/ours/seed-0"].run_id == second.runs["systems/ours/seed-0"].run_id
    assert by_key(open_store(STORE))["systems/ours/seed-0"].data.metrics["pydocs.FLOPS"] == 0.1 + 0.2


def test_a_retriever_shows_the_engine_that_counts_now(world: World) -> None:
    folders = world.build()
    for engine, value in (("lucene", 0.7123456789012345), ("exact", 0.72), ("lucene", 0.7123456789012345)):
        publish_all(folders, engines={"ours": engine})
        assert by_key(open_store(STORE))["systems/ours/seed-0"].data.metrics["pydocs.nDCG_10"] == value


def test_the_cost_of_a_stage_is_that_of_its_files_also_if_they_are_older(world: World) -> None:
    folders = world.build()
    publish_all(folders)
    described = manifest.read(Path("results/tables/main"))
    manifest.write(Path("results/tables/main"), described | {"wall_seconds": 1.5})
    publish_all(folders)
    assert by_key(open_store(STORE))["tables/main"].data.metrics["wall_seconds"] == 1.5


def test_a_training_set_may_have_the_name_of_a_retriever(world: World) -> None:
    place = {"system": "bm25", "variant": "fixed", "collection": ""}
    counts = {"training_pairs.json": {"training tuples": 5}}
    publication = publish_all([*world.build(), world.add("training_pairs/bm25", place, counts)])
    assert not publication.reason
    runs = by_key(open_store(STORE))
    assert runs["systems/bm25/fixed"].data.metrics.keys() == {
        *("pydocs.nDCG_10", "pydocs.R_rel_2__100", "pydocs.latency_per_BM25")
    }
    assert "mlflow.parentRunId" not in runs["training_pairs/bm25"].data.tags


def test_a_deleted_store_is_rebuilt_the_same(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = world.build()
    first = publish_all(folders)
    before = described(open_store(STORE), renamer(first))
    frame = read_frame(open_store(STORE), "demo")
    # In another folder, because MLflow keeps a deleted database open until the process ends.
    shutil.copytree("results", tmp_path / "again" / "results", ignore=shutil.ignore_patterns("mlflow"))
    monkeypatch.chdir(tmp_path / "again")
    second = publish_all(folders[::-1])
    assert described(open_store(STORE), renamer(second)) == before
    assert frame.equals(read_frame(open_store(STORE), "demo"))


def test_a_cut_off_publication_is_completed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = world.build()
    written = MlflowClient.log_artifacts
    calls = []

    def fail_late(self: Any, run_id: str, *rest: Any) -> None:
        calls.append(run_id)
        if len(calls) > 3:
            raise ConnectionError("gone")
        written(self, run_id, *rest)

    monkeypatch.setattr(MlflowClient, "log_artifacts", fail_late)
    first = publish_all(folders)
    assert len(first.pending) == len(folders) - 3
    assert "gone" in first.reason
    monkeypatch.setattr(MlflowClient, "log_artifacts", written)
    second = publish_all(folders)
    assert not second.pending
    assert len(all_runs(open_store(STORE))) == len(second.runs) == len(folders) + 2


def test_rows_of_tables_are_kept_up_to_date(world: World) -> None:
    folders = world.build()
    first = publish_all(folders)
    second = publish_all(folders, rows={"ours": ["main/Renamed"]})
    assert first.runs == second.runs
    assert by_key(open_store(STORE))["systems/ours/seed-0"].data.tags["rows"] == '["main/Renamed"]'


def test_a_retriever_does_not_show_what_another_study_measured_with_its_old_model(world: World) -> None:
    folders = world.build()
    run = world.add("runs/ours/seed-0/other/lucene", {"a": 1}, {"run.trec": "1"}, inputs=("models/ours/seed-0",))
    place = {"system": "ours", "variant": "seed-0", "collection": "other", "engine": "lucene"}
    key = "evaluations/ours/seed-0/other/lucene"
    left = world.add(key, place, {"measures.json": {"nDCG@10": 0.25}}, inputs=("runs/ours/seed-0/other/lucene",))
    publish_all([*folders, run, left])
    publish_all(folders)
    before = by_key(open_store(STORE))
    assert before["systems/ours/seed-0"].data.metrics["other.nDCG_10"] == 0.25
    world.add("models/ours/seed-0", {"trained": "anew"}, {"metrics.jsonl": ""})
    evaluation = world.evaluation("ours", "seed-0", "lucene", 0.8, "models/ours/seed-0")
    publish_all([evaluation, *(folder for folder in folders if folder != evaluation)])
    after = by_key(open_store(STORE))
    parent = after["systems/ours/seed-0"]
    assert parent.data.metrics["pydocs.nDCG_10"] == 0.8
    assert "other.nDCG_10" not in parent.data.metrics
    assert "evaluate other" not in parent.data.tags["mlflow.note.content"]
    # It stays below the retriever that it belongs to.
    assert after[key].data.tags["mlflow.parentRunId"] == before["systems/ours/seed-0"].info.run_id
