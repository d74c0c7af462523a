"""Serving in processes of its own: right answers under many clients, and children that end with their parent."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import query
from scipy import sparse
from tokenizers import Tokenizer, models, pre_tokenizers

from sparsemill.errors import UserError
from sparsemill.retrieval.described import open_described
from sparsemill.retrieval.exact import build_exact
from sparsemill.retrieval.lucene_impact import build_impact
from sparsemill.retrieval.vectors import Shard, write_shard
from sparsemill.serving import measure
from sparsemill.serving.child import Child
from sparsemill.serving.measure import Cores, Load
from sparsemill.serving.server import HOST, NOTHING, write_reply

WORDS = ["[UNK]", *(f"w{number}" for number in range(40))]


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
        # Which of aiohttp's errors it is depends on what the client was doing.
        broken = rf"{port}/search/nothing: \w*(Connect|Disconnect|ClientOS)\w*Error"
        with pytest.raises(UserError, match=broken):
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
