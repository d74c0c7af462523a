"""Curves that stream while training runs, and a store out of reach."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tracked import CURVE, STORE, TRAINING, World, all_runs, by_key, live, publish_all, unreachable, verified

from sparsemill import manifest
from sparsemill.errors import UserError
from sparsemill.files import canonical_json, text_hash, write_json
from sparsemill.job import Job, main
from sparsemill.tracking.live import LiveRun, open_stream
from sparsemill.tracking.report import main as log_html
from sparsemill.tracking.store import create_store, open_store


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


def test_an_equal_training_keeps_its_run(world: World) -> None:
    key = "models/ours/seed-0"
    folders = world.build()
    first = publish_all(folders)
    again = live()
    records = [record | {"time": record["time"] + 3600} for record in CURVE]
    for record in records:
        again.log(record)
    again.close()
    path = Path("results") / key / "metrics.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    described = manifest.read(path.parent)
    options = {name: described[name] for name in ("stage", "key", "spec", "inputs", "facts")}
    manifest.write(path.parent, manifest.build(path.parent, **options, started=1.7e9 + 3600))
    assert publish_all(folders).runs[key] == first.runs[key]
    store = open_store(STORE)
    assert all_runs(store)[again.run_id].data.tags["superseded_by"] == by_key(store)[key].info.run_id


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
    job = Job("finetune", "models/ours/seed-0", spec, {}, out, Path("state"), 1)
    monkeypatch.setenv("SPARSEMILL_STORE", str(STORE))
    stream = open_stream(job)
    stream(CURVE[0])
    at_exit[0]()
    run = next(iter(all_runs(open_store(STORE)).values()))
    assert (run.info.run_name, run.info.status) == ("finetune ours seed-0", "FAILED")
    assert run.data.metrics == {"loss": 1.0, "flops": 0.1}
    assert run.data.tags["spec_hash"] == text_hash(canonical_json(spec))
    monkeypatch.setenv("SPARSEMILL_STORE", "")
    open_stream(job)(CURVE[1])
    assert len(at_exit) == 1


def test_a_study_may_keep_its_runs_in_the_shared_experiment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr("atexit.register", at_exit.append)
    monkeypatch.setenv("SPARSEMILL_STORE", str(STORE))
    create_store(STORE, {"uri": "", "experiments": ["shared"], "root": "results/mlflow"})
    key = "models/ours/seed-0"
    open_stream(Job("finetune", key, dict(TRAINING), {}, Path("out"), Path("state"), 1))(CURVE[0])
    at_exit[0]()
    assert by_key(open_store(STORE))[key].data.metrics == {"loss": 1.0, "flops": 0.1}
    Path("report.html").write_text("<html>")
    assert log_html(["report.html", "--results", str(STORE.parent)]) == 0
    assert "report" in by_key(open_store(STORE))


def test_the_experiment_that_mlflow_makes_is_refused(world: World) -> None:
    with pytest.raises(UserError, match="MLflow keeps 'Default' for itself"):
        create_store(STORE, {"uri": "", "experiments": ["Default"], "root": "results/mlflow"})


@pytest.mark.parametrize(("broken", "status"), [(False, "FINISHED"), (True, "FAILED")])
def test_a_run_ends_as_its_training_did(
    world: World, monkeypatch: pytest.MonkeyPatch, broken: bool, status: str
) -> None:
    """Also where the artefact of an earlier training is there."""
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr("atexit.register", at_exit.append)
    key = "models/ours/seed-0"
    world.build()
    out = Path("results") / key

    def train(job: Job) -> None:
        open_stream(job)(CURVE[0])
        if broken:
            raise UserError("no more")

    monkeypatch.setenv("SPARSEMILL_STORE", str(STORE))
    arguments = ["--spec", json.dumps(TRAINING), "--out", str(out), "--key", key]
    assert main("finetune", train, argv=arguments) == (2 if broken else 0)
    at_exit[0]()
    (run,) = all_runs(open_store(STORE)).values()
    assert run.info.status == status


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
