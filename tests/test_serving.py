"""Serving: protocol, right answers under many clients, statistics by hand, processes that end with their parent."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from tokenizers import Tokenizer, models, pre_tokenizers

from sparsemill.errors import UserError
from sparsemill.retrieval.described import open_described
from sparsemill.retrieval.exact import build_exact
from sparsemill.retrieval.lucene_impact import build_impact
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.vectors import Shard, write_shard
from sparsemill.serving import address, load, measure
from sparsemill.serving.child import Child
from sparsemill.serving.load import Burst, Target, send
from sparsemill.serving.measure import Cores, Load, Served, report, share_cores
from sparsemill.serving.server import HOST, NOTHING, Asked, Worker, application, read_request, serve, write_reply

WORDS = ["[UNK]", *(f"w{number}" for number in range(40))]


# --- statistics --------------------------------------------------------------------------------------------------


def served(*milliseconds: float, seconds: float = 1.0) -> Served:
    return Served(np.array(milliseconds), seconds)


def test_report_by_hand() -> None:
    found = {
        (NOTHING, 5): served(1, 1, 1, seconds=0.5),
        ("bm25", 5): served(1, 3, 5, seconds=1.5),
        ("system", 5): served(2, 4, 6, seconds=3),
    }
    assert report(found, "system", {"bm25": "bm25"}, engine="lucene") == pytest.approx(
        {
            "lucene:p50/bm25@5-clients": 4 / 3,
            "lucene:p99/bm25@5-clients": 5.96 / 4.96,
            "lucene:throughput/bm25@5-clients": 0.5,
            "lucene:p50-without-fixed/bm25@5-clients": 1.5,
            "lucene:p50_ms@5-clients": 4,
            "lucene:p99_ms@5-clients": 5.96,
            "lucene:throughput@5-clients": 1,
            "lucene:fixed_p50_ms@5-clients": 1,
            "lucene:fixed_p99_ms@5-clients": 1,
            "lucene:fixed_throughput@5-clients": 6,
        }
    )


def test_a_baseline_that_costs_no_more_than_nothing_has_no_ratio_without_it() -> None:
    found = {(NOTHING, 1): served(2), ("bm25", 1): served(2), ("system", 1): served(3)}
    measured = report(found, "system", {"bm25": "bm25"}, engine="lucene")
    assert measured["lucene:p50/bm25@1-clients"] == 1.5
    assert "lucene:p50-without-fixed/bm25@1-clients" not in measured


def test_ratios_stand_first_and_counts_of_clients_ascend() -> None:
    found = {(name, clients): served(1, 2) for clients in (10, 5) for name in (NOTHING, "a", "b")}
    names = list(report(found, "a", {"b": "b"}, engine="exact"))
    ratios = ["/" in name for name in names]
    assert ratios == sorted(ratios, reverse=True)
    assert names.index("exact:p50/b@5-clients") < names.index("exact:p50/b@10-clients")


def test_one_core_is_shared_and_more_are_divided() -> None:
    assert share_cores([3]) == Cores([3], [3])
    assert share_cores([0, 1]) == Cores([0], [1])
    assert share_cores(range(8)) == Cores([0, 1, 2, 3, 4, 5], [6, 7])


# --- protocol ----------------------------------------------------------------------------------------------------


def test_requests_and_replies() -> None:
    assert read_request(b'{"query": "sparse", "k": 3}') == Asked("sparse", 3)
    assert read_request(b'{"query": ""}') == Asked("", 10)
    assert json.loads(write_reply([Hit("d1", 2.5), Hit("d2", 1.0)])) == {"ids": ["d1", "d2"], "scores": [2.5, 1.0]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "expected"),
        (b'{"query": 3}', "expected"),
        (b'{"query": "a", "k": 0}', "k is 0"),
        (b'{"query": "a", "k": true}', "k is True"),
        (b'{"query": "a", "k": 10001}', "k is 10001"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_request(body)


class Running:
    """A server in a thread of this process."""

    def __init__(self, openers: dict[str, Any]) -> None:
        self.worker = Worker(openers)
        self._loop = asyncio.new_event_loop()
        ports: list[int] = []
        ready = threading.Event()

        def told(port: int) -> None:
            ports.append(port)
            ready.set()

        self._task = self._loop.create_task(serve(self.worker, port=0, ready=told))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert ready.wait(10)
        self.port = ports[0]

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)

    def url(self, name: str) -> str:
        return f"http://{HOST}:{self.port}/search/{name}"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(10)
        self.worker.thread.shutdown()


def echo(texts: list[str], k: int) -> list[list[Hit]]:
    """Finds what it is asked for, after a moment that differs from query to query."""
    time.sleep(len(texts[0]) % 3 / 1000)
    if texts[0] == "broken":
        raise ZeroDivisionError("by zero")
    return [[Hit(text, float(len(text)))] * min(k, 2) if text else [] for text in texts]


@pytest.fixture
def server() -> Iterator[Running]:
    running = Running({"echo": lambda: echo})
    yield running
    running.stop()


def post(url: str, *bodies: bytes, clients: int = 1, requests: int | None = None) -> load.Served:
    burst = Burst(clients, requests if requests is not None else len(bodies), 10)
    return asyncio.run(send(Target([url], bodies), burst))


def query(text: str, k: int = 10) -> bytes:
    return json.dumps({"query": text, "k": k}).encode()


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("other", b'{"query": "a"}', "status 404: .*no index 'other'"),
        ("echo", b"no", "status 400: .*not JSON"),
        ("echo", b'{"query": "broken"}', "status 500: .*ZeroDivisionError: by zero"),
        ("echo", b'{"query": "%s"}' % (b"x" * 70_000), "status 413"),
    ],
)
def test_failures_are_told_and_stop_the_client(server: Running, name: str, body: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        post(server.url(name), query("a"), body, clients=2) if name == "echo" else post(server.url(name), body)
    assert len(post(server.url("echo"), query("a")).milliseconds) == 1  # and the server goes on


def test_every_request_is_timed_and_counted(server: Running) -> None:
    found = post(server.url("echo"), query("abc"), query("ab"), clients=3, requests=20)
    assert len(found.milliseconds) == 20
    assert all(time > 0 for time in found.milliseconds)
    assert max(found.milliseconds) / 1000 <= found.seconds


def test_time_ends_a_burst_before_its_requests_do(server: Running) -> None:
    target = Target([server.url("echo")], [query("ab")])
    found = asyncio.run(send(target, Burst(2, 1_000_000, 0.1)))
    assert 2 <= len(found.milliseconds) < 1_000


def test_warm_up_is_not_counted(server: Running) -> None:
    target = Target([server.url("echo")], [query("a")])
    assert len(asyncio.run(send(target, Burst(2, 4, 10, warmup=7))).milliseconds) == 4


def test_an_empty_query_and_nothing_find_nothing(server: Running) -> None:
    async def ask() -> list[Any]:
        import aiohttp

        async with aiohttp.ClientSession() as session:
            replies = []
            for name, text in (("echo", ""), (NOTHING, "abc"), ("echo", "abc")):
                async with session.post(server.url(name), data=query(text)) as response:
                    replies.append(await response.json())
        return replies

    empty, nothing, found = asyncio.run(ask())
    assert empty == nothing == {"ids": [], "scores": []}
    assert found == {"ids": ["abc", "abc"], "scores": [3.0, 3.0]}


def test_two_answers_to_one_query_are_an_error() -> None:
    answers = iter(range(1000))
    running = Running({"moody": lambda: lambda texts, k: [[Hit("d", float(next(answers)))]]})
    try:
        with pytest.raises(UserError, match="two answers to one query"):
            post(running.url("moody"), query("a"), requests=2)
    finally:
        running.stop()


def test_only_this_machine_can_connect_and_a_used_port_is_told(server: Running) -> None:
    with pytest.raises(UserError, match=f"port {server.port} of 127.0.0.1 is in use"):
        asyncio.run(serve(server.worker, port=server.port, ready=lambda port: None))
    assert HOST == "127.0.0.1"


def test_an_engine_that_cannot_be_opened_is_told() -> None:
    def fail() -> Any:
        raise UserError("no index there")

    with pytest.raises(UserError, match="no index there"):
        Worker({"a": fail})


def test_the_routes_are_those_of_the_protocol() -> None:
    routes = [(route.method, route.resource.canonical) for route in application(Worker({})).router.routes()]
    assert routes == [("POST", "/search/{name}")]


# --- real engines, real processes --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def searches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The same random collection in two engines, described."""
    folder = tmp_path_factory.mktemp("serving")
    rng = np.random.default_rng(0)
    matrix = sparse.random(400, len(WORDS), density=0.2, format="csr", dtype=np.float32, rng=rng)
    for name in ("shard", "exact", "lucene", "model"):
        (folder / name).mkdir()
    write_shard(folder / "shard", Shard([f"d{row}" for row in range(400)], matrix))
    build_exact(folder / "exact", [folder / "shard"])
    build_impact(folder / "lucene", [folder / "shard"], vocabulary=WORDS, quantisation=100)
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "model" / "tokenizer.json"))
    weights = {word: float(number % 5) for number, word in enumerate(WORDS)}
    (folder / "model" / "query_weights.json").write_text(json.dumps(weights))
    side = {"model": str(folder / "model"), "queries": {"query_length": 8}, "options": {}}
    return {engine: {"engine": engine, "index": str(folder / engine), **side} for engine in ("lucene", "exact")}


def texts() -> list[str]:
    rng = np.random.default_rng(1)
    return ["", "unknown", *(" ".join(rng.choice(WORDS[1:], 4)) for _ in range(40))]


def served_hits(port: int, name: str, asked: list[str]) -> list[Any]:
    """Every query from 80 clients at once."""
    import aiohttp

    async def one(session: aiohttp.ClientSession, text: str) -> Any:
        async with session.post(f"http://{HOST}:{port}/search/{name}", data=query(text)) as response:
            assert response.status == 200
            return await response.json()

    async def all_of_them() -> list[Any]:
        connector = aiohttp.TCPConnector(limit=80)
        async with aiohttp.ClientSession(connector=connector) as session:
            return await asyncio.gather(*(one(session, text) for text in asked))

    return asyncio.run(all_of_them())


def test_80_clients_get_the_right_answers(searches: dict[str, dict[str, Any]]) -> None:
    asked = texts() * 3
    with Child("sparsemill.serving.server") as server:
        port = server.ask({"searches": searches, "port": 0, "warmup": texts()[:4]}, timeout=60)["port"]
        for name, described in searches.items():
            alone = open_described(described)
            expected = {text: json.loads(write_reply(alone([text], 10)[0])) for text in texts()}
            assert served_hits(port, name, asked) == [expected[text] for text in asked]
            assert expected[""] == expected["unknown"] == {"ids": [], "scores": []}
            assert len(expected[texts()[2]]["ids"]) == 10


def test_two_servers_give_one_answer(searches: dict[str, dict[str, Any]]) -> None:
    small = Load(clients=[1, 4], requests=30, seconds=5, rounds=2, warmup=3)
    cores = measure.available_cores()[:1]
    found = measure.measure(searches, texts(), k=5, load=small, cores=Cores(cores * 2, cores))
    assert set(found) == {(name, clients) for name in (NOTHING, "lucene", "exact") for clients in (1, 4)}
    assert all(len(one.milliseconds) == 60 and one.throughput > 0 for one in found.values())


def test_a_server_that_cannot_open_its_index_says_why(searches: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    broken = {"exact": {**searches["exact"], "index": str(tmp_path)}}
    with pytest.raises(UserError, match=str(tmp_path)):
        measure.measure(broken, ["a"], k=1, load=Load([1], 1, 1, 1, 0), cores=Cores([0], []))


def test_a_server_that_dies_is_told(searches: dict[str, dict[str, Any]]) -> None:
    with Child("sparsemill.serving.server") as server:
        port = server.ask({"searches": {}, "port": 0, "warmup": []}, timeout=60)["port"]
        killer = threading.Timer(0.3, os.kill, (server.pid, signal.SIGKILL))
        killer.start()
        target = {"nothing": {"urls": [f"http://{HOST}:{port}/search/nothing"], "bodies": [query("a").decode()]}}
        with pytest.raises(UserError, match=r"(?i)disconnected|connect|reset"):
            measure.ask(target, load=Load([4], 1_000_000, 30, 1, 0))
        with pytest.raises(UserError, match="the server ended with status -9"):
            server.ask({}, timeout=10)


def test_a_child_that_says_nothing_is_told() -> None:
    with Child("sparsemill.serving.load") as client, pytest.raises(UserError, match="did not answer within 0 s"):
        client.ask({"targets": {}}, timeout=0.001)


def test_a_port_in_use_is_told_by_the_process_too() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        with Child("sparsemill.serving.server") as server, pytest.raises(UserError, match="is in use"):
            server.ask({"searches": {}, "port": taken.getsockname()[1], "warmup": []}, timeout=60)


# Jobs that a shell starts in the background ignore Ctrl-C, and so would their children.
PARENT = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from sparsemill.serving.child import Child
from sparsemill.errors import UserError
with Child("sparsemill.serving.server") as server, Child("sparsemill.serving.load") as client:
    server.ask({"searches": {}, "port": 0, "warmup": []}, timeout=60)
    client.ask({"targets": {}}, timeout=60)
    print(server.pid, client.pid, flush=True)
    time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{pid}/stat").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_children_end_with_their_parent(signal_number: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    assert all(map(alive, pids))
    parent.send_signal(signal_number)
    assert parent.wait(20) != 0
    deadline = time.monotonic() + 10
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(alive, pids))


# --- any server at an address ------------------------------------------------------------------------------------


def command_line(folder: Path, server: Running, *names: str) -> list[str]:
    """`--ask` for each name, with requests of its own."""
    arguments = ["--clients", "2", "--requests", "5", "--rounds", "1", "--warmup", "1"]
    for name in names:
        (folder / f"{name}.jsonl").write_bytes(query(name) + b"\n\n" + query("a") + b"\n")
        arguments += ["--ask", name, server.url(NOTHING if name == NOTHING else "echo"), str(folder / f"{name}.jsonl")]
    return arguments


def test_a_server_at_an_address(tmp_path: Path, server: Running, capsys: pytest.CaptureFixture[str]) -> None:
    assert address.main(command_line(tmp_path, server, "nothing", "bm25", "ours")) == 0
    measured = json.loads(capsys.readouterr().out)
    assert measured["bm25:p99/bm25@2-clients"] == 1
    assert measured["ours:throughput@2-clients"] > 0
    assert "/" in next(iter(measured))


def test_what_is_missing_at_an_address(tmp_path: Path, server: Running, capsys: pytest.CaptureFixture[str]) -> None:
    assert address.main(command_line(tmp_path, server, "nothing", "ours")) == 2
    assert "error: --ask: there is no bm25" in capsys.readouterr().err
    arguments = command_line(tmp_path, server, "nothing", "bm25")
    assert address.main([*arguments, "--credentials", "NOBODY"]) == 2
    assert "the environment has no NOBODY_USER" in capsys.readouterr().err
    (tmp_path / "bm25.jsonl").write_text("\n")
    assert address.main(arguments) == 2
    assert "bm25.jsonl: holds no request" in capsys.readouterr().err
    (tmp_path / "bm25.jsonl").unlink()
    assert address.main(arguments) == 2
    assert "bm25.jsonl: No such file" in capsys.readouterr().err
