"""Publishing into a real SQLite store, and reading back."""

import io
import json
import logging
import runpy
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from sparsemill import manifest
from sparsemill.errors import UserError
from sparsemill.files import canonical_json, text_hash, write_json
from sparsemill.job import Job, main
from sparsemill.tables.collect import FILES, collect
from sparsemill.tracking.live import LiveRun, open_stream
from sparsemill.tracking.publish import Publication, publish
from sparsemill.tracking.read import read_frame
from sparsemill.tracking.report import log_report
from sparsemill.tracking.store import Store, client_of, create_store, open_store
from sparsemill.tracking.verify import verify

SPEC = {"experiment": "demo", "engines": {"ours": "lucene"}, "rows": {"ours": ["main/Ours"]}}
SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"
STORE = Path("results/tracking/store")
TRAINING = {"learning_rate": 1e-5, "regulariser": {"lambda_d": 0.02}, "seed": 0, "stage_version": 1}
ASSUMED = {"regulariser.warmup_steps": "the released code"}
CURVE = [{"step": step, "time": 1.7e9 + step / 3, "loss": 1 / step, "flops": 0.1 * step} for step in (1, 2, 3)]


class World:
    """A small results folder with a collection, a trained system and BM25."""

    def __init__(self) -> None:
        self.contents: dict[str, str] = {}

    def add(
        self, key: str, spec: dict[str, Any], files: dict[str, Any], *, inputs: tuple[str, ...] = (), **facts: Any
    ) -> Path:
        """Write an artefact; text files as they are, others as JSON."""
        folder = Path("results") / key
        shutil.rmtree(folder, ignore_errors=True)
        for name, value in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            text = value if isinstance(value, str | bytes) else json.dumps(value)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        described = manifest.build(
            folder,
            stage=key.split("/", maxsplit=1)[0],
            key=key,
            spec=spec,
            inputs={name: self.contents[name] for name in inputs},
            facts={"queries": 7, **facts},
            started=1.7e9,
        )
        manifest.write(folder, described | {"wall_seconds": 2.5, "peak_memory_mib": 100})
        self.contents[key] = described["content"]
        return folder

    def evaluation(self, system: str, variant: str, engine: str, ndcg: float, *inputs: str) -> Path:
        """An evaluation on `pydocs`."""
        place = {"system": system, "variant": variant, "collection": "pydocs", "engine": engine}
        values = {"nDCG@10": ndcg, "R(rel=2)@100": 1 / 3, "latency/BM25": 1.0}
        return self.add(
            f"evaluations/{system}/{variant}/pydocs/{engine}", place, {"measures.json": values}, inputs=inputs
        )

    def per_query(self, system: str, values: list[float]) -> Path:
        """An evaluation on `pydocs` with its per-query values."""
        place = {"system": system, "variant": "fixed", "collection": "pydocs", "engine": "lucene"}
        rows = [(f"q{number}", "nDCG@10", value) for number, value in enumerate(values)]
        buffer = io.BytesIO()
        pd.DataFrame(rows, columns=["query_id", "measure", "value"]).to_parquet(buffer)
        files = {"measures.json": {"nDCG@10": sum(values) / len(values)}, "per_query.parquet": buffer.getvalue()}
        return self.add(f"evaluations/{system}/fixed/pydocs/lucene", place, files)

    def model(self) -> Path:
        """A trained system with curves and a file above the upload limit."""
        lines = "".join(json.dumps(record) + "\n" for record in CURVE)
        files = {"metrics.jsonl": lines, "model/weights": "x" * 300_000, "query_weights.json": {"a": 1.0}}
        return self.add("models/ours/seed-0", TRAINING, files, inputs=("collections/pydocs",), assumed=ASSUMED)

    def build(self) -> list[Path]:
        """All artefacts, in no useful order."""
        collection = self.add("collections/pydocs", {"kind": "pydocs"}, {"corpus.parquet": "c"})
        model = self.model()
        place = {"system": "ours", "variant": "seed-0", "collection": "pydocs", "engine": ""}
        values = {"FLOPS": 0.1 + 0.2, "tokens/doc": 50.5, "documents": 10, "postings": 505}
        sparsity = self.add(
            "sparsity/ours/seed-0/pydocs", place, {"sparsity.json": values}, inputs=("models/ours/seed-0",)
        )
        table = self.add(
            "tables/main", {"table": "main"}, {"table.md": "| a |\n", "table.csv": "system,nDCG@10\nours,0.5\n"}
        )
        evaluations = [
            self.evaluation("ours", "seed-0", "lucene", 0.7123456789012345, "models/ours/seed-0", "collections/pydocs"),
            self.evaluation("ours", "seed-0", "exact", 0.72),
            self.evaluation("bm25", "fixed", "lucene", 0.5),
        ]
        return [table, sparsity, *evaluations, model, collection]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's empty tables; making one takes seconds."""
    path: Path = tmp_path_factory.mktemp("store") / "mlflow.db"
    client_of(f"sqlite:///{path}")
    return path


@pytest.fixture
def world(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world in an empty working folder with a fresh store."""
    monkeypatch.chdir(tmp_path)
    Path("results/mlflow").mkdir(parents=True)
    shutil.copy(migrated, "results/mlflow/mlflow.db")
    create_store(STORE, {"uri": "", "experiments": ["demo"], "root": "results/mlflow"})
    return World()


def publish_all(folders: list[Path], **changes: Any) -> Publication:
    return publish(folders, STORE, {**SPEC, "upload_mib": 0.1, **changes})


def all_runs(store: Store) -> dict[str, Any]:
    runs = store.client.search_runs(list(store.experiments.values()), max_results=500)
    return {run.info.run_id: run for run in runs}


def by_key(store: Store) -> dict[str, Any]:
    return {run.data.tags["key"]: run for run in all_runs(store).values() if "superseded_by" not in run.data.tags}


def described(store: Store, rename: Callable[[str], str]) -> dict[str, Any]:
    """Everything in a store but run ids."""
    return {
        run.data.tags["key"]: (
            run.info.run_name,
            run.info.status,
            run.info.start_time,
            run.info.end_time,
            run.data.params,
            {
                name: [(m.step, m.timestamp, m.value) for m in store.client.get_metric_history(run.info.run_id, name)]
                for name in run.data.metrics
            },
            {name: rename(value) for name, value in run.data.tags.items()},
            [(i.dataset.name, i.dataset.digest, i.tags[0].value) for i in run.inputs.dataset_inputs],
            sorted(entry.path for entry in store.client.list_artifacts(run.info.run_id)),
        )
        for run in all_runs(store).values()
    }


def renamer(publication: Publication) -> Callable[[str], str]:
    keys = {receipt.run_id: key for key, receipt in publication.runs.items()}

    def rename(text: str) -> str:
        for run_id, key in keys.items():
            text = text.replace(run_id, key)
        return text

    return rename


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


def live(spec: dict[str, Any] = TRAINING) -> LiveRun:
    run = LiveRun.start(STORE, experiment="demo", key="models/ours/seed-0", run_name="ours seed-0 training", spec=spec)
    assert run is not None
    return run


def test_a_live_run_is_resumed_and_adopted(world: World) -> None:
    killed = live()
    killed.log(CURVE[0])
    killed.log(CURVE[1])
    killed.close("KILLED")
    resumed = live()
    assert resumed.run_id == killed.run_id
    for record in CURVE[1:]:
        resumed.log(record | {"time": 1.8e9})
    resumed.close()
    folders = world.build()
    publication = publish_all(folders)
    assert publication.runs["models/ours/seed-0"].run_id == killed.run_id
    store = open_store(STORE)
    run = by_key(store)["models/ours/seed-0"]
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "finetune ours seed-0"
    assert run.data.tags["content"] == world.contents["models/ours/seed-0"]
    assert [p.step for p in store.client.get_metric_history(run.info.run_id, "loss")] == [1, 2, 3]
    assert run.data.metrics["wall_seconds"] == 2.5
    assert len(all_runs(store)) == len(folders) + 2


@pytest.mark.parametrize("other", ["spec", "values"])
def test_a_live_run_of_another_training_is_superseded(world: World, other: str) -> None:
    stray = live({**TRAINING, "learning_rate": 1.0} if other == "spec" else TRAINING)
    stray.log(CURVE[0] | {"loss": 9.0 if other == "values" else 1.0})
    stray.close()
    publication = publish_all(world.build())
    store = open_store(STORE)
    assert publication.runs["models/ours/seed-0"].run_id != stray.run_id
    assert all_runs(store)[stray.run_id].data.tags["superseded_by"] == publication.runs["models/ours/seed-0"].run_id


def test_live_failures_are_one_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    run = live()
    with caplog.at_level(logging.WARNING, "sparsemill.tracking"):
        for _ in range(3):
            run.log({"time": 0.0, "loss": 1.0})
        run.close()
    assert len(caplog.records) == 1


def test_a_training_job_streams_into_the_run_that_publish_adopts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr("atexit.register", at_exit.append)
    spec = dict(TRAINING)
    out = Path("results/models/ours/seed-0")
    job = Job("finetune", "models/ours/seed-0", spec, {"store": [STORE]}, out, Path("state"), 1)
    stream = open_stream(job)
    stream(CURVE[0])
    at_exit[0]()
    run = next(iter(all_runs(open_store(STORE)).values()))
    assert (run.info.run_name, run.info.status) == ("finetune ours seed-0", "FAILED")
    assert run.data.metrics == {"loss": 1.0, "flops": 0.1}
    assert run.data.tags["spec_hash"] == text_hash(canonical_json(spec))
    job.inputs = {}
    open_stream(job)(CURVE[1])
    assert len(at_exit) == 1


def unreachable() -> None:
    create_store(STORE, {"uri": "http://127.0.0.1:9", "experiments": ["demo"], "root": "results/mlflow"})


def test_an_unreachable_server_is_a_warning(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folders = world.build()
    unreachable()
    caplog.clear()
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, "sparsemill.tracking"):
        publication = publish_all(folders)
    assert time.monotonic() - start < 20
    assert len(caplog.records) == 1
    assert not publication.runs
    assert len(publication.pending) == len(folders)
    assert LiveRun.start(STORE, experiment="demo", key="k", run_name="n", spec={}) is None
    write_json(Path("results/published/receipts.json"), publication.as_json())
    report = verified(world, folders)
    assert report["equal"] is None
    # The next publish, with the store back, catches up.
    create_store(STORE, {"uri": "", "experiments": ["demo"], "root": "results/mlflow"})
    assert not publish_all(folders).pending


def render(frame: Any, folder: Path) -> dict[str, str]:
    return {"table.txt": frame.to_csv(index=False)}


def verified(world: World, folders: list[Path]) -> dict[str, Any]:
    kinds = {"evaluations": "evaluation", "sparsity": "sparsity"}
    chosen = [folder for folder in folders if folder.parts[1] in kinds]
    grouped = {kind: [f for f in chosen if kinds[f.parts[1]] == kind] for kind in FILES}
    frame = collect(grouped)
    tidy = Path("results/tables/tidy")
    tidy.mkdir(parents=True, exist_ok=True)
    frame.to_parquet(tidy / "results.parquet")
    inputs = {str(number): manifest.read(folder)["content"] for number, folder in enumerate(chosen)}
    manifest.write(
        tidy, manifest.build(tidy, stage="t", key="tables/tidy", spec={}, inputs=inputs, facts={}, started=0)
    )
    table = Path("results/rendered")
    table.mkdir(exist_ok=True)
    if not (table / "table.txt").exists():
        (table / "table.txt").write_text(frame.to_csv(index=False))
    return verify(
        tidy=tidy,
        store_folder=STORE,
        published=Path("results/published"),
        experiment="demo",
        tables=[table],
        render=render,
    )


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
    with pytest.raises(UserError, match=r"R\(rel=2\)@100|latency/BM25|nDCG@10.*MLflow nothing"):
        verified(world, folders)


def script(name: str, spec: dict[str, Any], out: str, **inputs: Path | list[Path]) -> int:
    """Run a stage's command line in this process."""
    run = runpy.run_path(str(SCRIPTS / f"{name}.py"))["run"]
    arguments = ["--spec", json.dumps(spec), "--out", f"results/{out}", "--key", out]
    for key, paths in inputs.items():
        arguments += ["--in", key, *map(str, paths if isinstance(paths, list) else [paths])]
    return main(name, run, argv=arguments)


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


def test_tables_from_a_store_that_was_moved_are_those_from_files(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"bm25": [0.1, 0.2, 0.3, 0.1], "ours": [0.3, 0.6, 0.5, 0.4]}
    folders = [world.per_query(system, found) for system, found in values.items()]
    keys = [folder.relative_to("results").as_posix() for folder in folders]
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
    lacking = {"mlflow": {"experiment": "demo", "keys": [*keys, "evaluations/ours/seed-1/pydocs/lucene"]}}
    assert script("collect_results", lacking, "tidy", store=STORE) == 2
    next(Path("results/mlflow/artifacts").rglob("per_query.parquet")).unlink()
    assert script("test_significance", spec | source, "tests", store=STORE) == 2


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
