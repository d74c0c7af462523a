"""A tracking server by its address: down, up, and behind a password."""

import base64
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tracked import SPEC, STORE, World, script, spec_hashes

from sparsemill.tracking.live import LiveRun
from sparsemill.tracking.publish import publish
from sparsemill.tracking.retry import due_attempt
from sparsemill.tracking.store import create_store, open_store

TABLE = {
    "caption": "Main",
    "rows": [{"system": "bm25"}, {"system": "ours", "compare": ["bm25"]}],
    "columns": [{"measure": "nDCG@10", "collection": "pydocs"}],
}
ENGINES = {"ours": "lucene", "bm25": "lucene"}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path, *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server is not up after {seconds} s: {log.read_text()[-2000:]}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """The address of a server that is down, and what starts it; it ends, with its children, after the test."""
    port, folder, started = free_port(), tmp_path / "server", []
    folder.mkdir()
    url = f"http://127.0.0.1:{port}"
    options = {
        "--host": "127.0.0.1",
        "--port": str(port),
        "--backend-store-uri": f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination": str(folder / "artifacts"),
        "--workers": "1",
    }
    command = [sys.executable, "-m", "mlflow", "server", *(word for item in options.items() for word in item)]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}

    def start() -> None:
        log = folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=out, cwd=folder, env=environment, start_new_session=True
            )
        started.append(process)
        wait_until_healthy(url, process, log, seconds=300)

    yield url, start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)  # a session of its own: the process and its children
        process.wait()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """An empty working folder; nothing waits long for a server that is down."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return World()


@pytest.mark.slow
def test_a_server_that_was_down_is_caught_up_with(
    world: World, server: tuple[str, Callable[[], None]], caplog: pytest.LogCaptureFixture
) -> None:
    url, start = server
    values = {"bm25": [0.1, 0.2, 0.3, 0.1], "ours": [0.3, 0.6, 0.5, 0.4]}
    folders = [world.per_query(system, found) for system, found in values.items()]
    world.add("collections/pydocs", {}, {})
    folders.append(world.model())
    keys = spec_hashes(folders[:2])
    create_store(STORE, {"uri": url, "experiments": ["demo"], "root": "results/mlflow"})
    tests = {"table": TABLE, "engines": ENGINES}
    assert script("collect_results", {}, "tidy", evaluation=folders[:2]) == 0
    assert script("test_significance", tests, "tests", evaluations=folders[:2]) == 0
    # Down: jobs go on, one warning, and the next run publishes again.
    caplog.clear()
    with caplog.at_level(logging.WARNING, "sparsemill.tracking"):
        assert script("publish", SPEC, "published", store=STORE, artefacts=folders) == 0
    assert [record.getMessage()[:60] for record in caplog.records if record.name == "sparsemill.tracking"] == [
        "tracking: 3 of 3 artefacts are not in MLflow (MlflowExceptio"
    ]
    assert LiveRun.start(STORE, experiment="demo", key="k", run_name="n", spec={}) is None
    assert due_attempt(Path("results/published"), {"SPARSEMILL_INVOCATION": "next"}) == "next"
    source = {"mlflow": {"experiment": "demo", "keys": keys}}
    assert script("collect_results", source, "from_mlflow/tidy", store=STORE) == 2
    # Up: everything is there, and the tables are those of the files.
    start()
    live = LiveRun.start(STORE, experiment="demo", key="models/ours/seed-0", run_name="n", spec={})
    assert live is not None
    live.close("KILLED")
    assert script("publish", SPEC, "published", store=STORE, artefacts=folders) == 0
    receipts = json.loads(Path("results/published/receipts.json").read_text())
    assert not receipts["pending"]
    assert due_attempt(Path("results/published"), {"SPARSEMILL_INVOCATION": "next"}) == ""
    assert script("collect_results", source, "from_mlflow/tidy", store=STORE) == 0
    assert script("test_significance", tests | source, "from_mlflow/tests", store=STORE) == 0
    for name in ("tidy/results.csv", "tests/significance.json"):
        assert Path("results/from_mlflow", name).read_bytes() == Path("results", name).read_bytes()
    run = open_store(STORE).client.get_run(receipts["runs"]["models/ours/seed-0"]["run_id"])
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    assert not list(Path("results/mlflow").rglob("*.parquet"))


class Recorder(BaseHTTPRequestHandler):
    """Refuses everything and remembers who asked."""

    seen: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        """Keep the credentials."""
        self.seen.append(self.headers["Authorization"])
        self.send_error(401)

    def log_message(self, *ignored: Any) -> None:
        """Say nothing."""


def test_credentials_come_from_the_environment_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), Recorder) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{listener.server_port}"
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
        create_store(STORE, {"uri": url, "experiments": ["demo"], "root": "results/mlflow"})
        publication = publish([world.per_query("bm25", [0.5])], STORE, SPEC)
        listener.shutdown()
    assert set(Recorder.seen) == {"Basic " + base64.b64encode(b"me:secret").decode()}
    assert len(publication.pending) == 1
    assert "secret" not in publication.reason + (STORE / "store.json").read_text()
