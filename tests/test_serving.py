"""Serving in this process: statistics by hand, protocol, requests, and any server at an address."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import Running, echo, post, query

from sparsemill.errors import UserError
from sparsemill.retrieval.runs import Hit
from sparsemill.serving import address, load
from sparsemill.serving.load import Burst, Target, send
from sparsemill.serving.measure import Cores, Served, report, share_cores
from sparsemill.serving.server import HOST, NOTHING, Asked, Worker, application, read_request, serve, write_reply

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


@pytest.mark.parametrize(("baseline", "system"), [(2, 3), (3, 2), (4, 1)])
def test_where_one_side_costs_no_more_than_nothing_there_is_no_ratio_without_it(baseline: int, system: int) -> None:
    found = {(NOTHING, 1): served(2), ("bm25", 1): served(baseline), ("system", 1): served(system)}
    measured = report(found, "system", {"bm25": "bm25"}, engine="lucene")
    assert measured["lucene:p50/bm25@1-clients"] == system / baseline
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


@pytest.fixture
def server() -> Iterator[Running]:
    running = Running({"echo": lambda: echo})
    yield running
    running.stop()


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


@pytest.mark.parametrize("warmup", [0, 1, 9])
def test_every_client_has_a_connection_before_time_is_taken(server: Running, warmup: int) -> None:
    target = Target([server.url("echo")], [query("a")])
    opened: list[int] = []
    loop = load._loop

    async def counted(session: Any, target: Target, burst: Burst, seen: dict[int, bytes]) -> Any:
        found = await loop(session, target, burst, seen)
        opened.append(len(session.connector._conns) and sum(map(len, session.connector._conns.values())))
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(load, "_loop", counted)
        asyncio.run(send(target, Burst(6, 12, 10, warmup=warmup)))
    assert opened == [6, 6]


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


def test_a_line_ends_at_a_line_feed_alone(tmp_path: Path, server: Running) -> None:
    arguments = command_line(tmp_path, server, "nothing", "bm25")
    text = json.dumps({"query": "wing\u2028lift\u0085drag"}, ensure_ascii=False)
    (tmp_path / "bm25.jsonl").write_text(f"{text}\n", encoding="utf-8")
    assert address.main(arguments) == 0


def test_what_is_missing_at_an_address(tmp_path: Path, server: Running, capsys: pytest.CaptureFixture[str]) -> None:
    assert address.main(command_line(tmp_path, server, "nothing", "ours")) == 2
    assert "error: --ask: there is no bm25" in capsys.readouterr().err
    arguments = command_line(tmp_path, server, "nothing", "bm25")
    assert address.main([*arguments, "--credentials", "NOBODY"]) == 2
    assert "the environment has no NOBODY_USER" in capsys.readouterr().err
    assert address.main([*arguments, *arguments[-4:]]) == 2
    assert "error: --ask: a name is given twice" in capsys.readouterr().err
    away = ["--ask", "ours", "http://search.example:9200/_search", str(tmp_path / "bm25.jsonl")]
    assert address.main([*arguments, *away, "--credentials", "NOBODY"]) == 2
    told = "error: --ask: http://search.example:9200/_search: a password is sent over https only"
    assert told in capsys.readouterr().err
    (tmp_path / "bm25.jsonl").write_text("\n")
    assert address.main(arguments) == 2
    assert "bm25.jsonl: holds no request" in capsys.readouterr().err
    (tmp_path / "bm25.jsonl").unlink()
    assert address.main(arguments) == 2
    assert "bm25.jsonl: No such file" in capsys.readouterr().err
    (tmp_path / "bm25.jsonl").write_bytes(b'{"query": "\xe9"}\n')
    assert address.main(arguments) == 2
    assert "bm25.jsonl: not UTF-8; convert the file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "values", "told"),
    [
        ("--clients", "0 -3 1.5 x", "is no whole number above 0"),
        ("--requests", "0", "is no whole number above 0"),
        ("--rounds", "0", "is no whole number above 0"),
        ("--warmup", "-1", "is no whole number from 0 on"),
        ("--seconds", "0 -1 nan inf x", "is no number above 0"),
    ],
)
def test_amounts_that_make_no_sense(
    option: str, values: str, told: str, capsys: pytest.CaptureFixture[str], server: Running, tmp_path: Path
) -> None:
    asked = command_line(tmp_path, server, "nothing", "bm25")
    for value in values.split():
        with pytest.raises(SystemExit, match="2"):
            address.main([*asked, f"{option}={value}"])
        assert capsys.readouterr().err.splitlines()[-1].endswith(f"error: argument {option}: {value!r} {told}")


def test_no_warm_up_is_an_amount(server: Running, tmp_path: Path) -> None:
    assert address.main([*command_line(tmp_path, server, "nothing", "bm25"), "--warmup", "0"]) == 0
