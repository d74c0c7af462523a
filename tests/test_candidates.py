"""The consistency filter, candidate lists and their file."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from mined import read_candidates

from sparsemill.data.candidates import (
    Candidate,
    candidates,
    choose_queries,
    consistent_queries,
    draw_windows,
    positives,
    write_candidates,
)
from sparsemill.data.collection import Document, Qrel, Query, write_collection
from sparsemill.errors import UserError
from sparsemill.retrieval.runs import Hit, write_run

SCRIPT = Path(__file__).parents[1] / "workflow" / "scripts" / "mine_candidates.py"
HITS = [Hit("a", 4.0), Hit("b", 3.0), Hit("c", 2.0), Hit("d", 1.5)]


def test_positives_are_judged_above_zero() -> None:
    qrels = [Qrel("q1", "a", 1), Qrel("q1", "b", 0), Qrel("q1", "c", 3), Qrel("q2", "a", 0), Qrel("q3", "b", -1)]
    assert positives(qrels) == {"q1": {"a", "c"}}


@pytest.mark.parametrize(
    ("first", "kept"),
    [(1, ["first"]), (2, ["first"]), (3, ["first", "third"]), (None, ["first", "third", "unfound", "unsearched"])],
)
def test_filter_keeps_queries_with_a_positive_in_the_top(first: int | None, kept: list[str]) -> None:
    run = {"first": HITS, "third": HITS, "unfound": HITS}
    relevant = {"first": {"a", "z"}, "third": {"c"}, "unfound": {"z"}, "unsearched": {"a"}}
    assert consistent_queries([run], relevant, first=first) == kept
    assert consistent_queries([{}, run], relevant, first=first) == kept


def test_filter_that_leaves_nothing_is_an_error() -> None:
    with pytest.raises(UserError, match="none of 1 queries with a positive has one in a miner's top 2"):
        consistent_queries([{"q": HITS}], {"q": {"c"}}, first=2)


def test_candidates_are_the_top_and_every_positive() -> None:
    assert candidates([HITS], {"b", "d", "z", "y"}, places=[range(2)]) == [
        Candidate("y", 0, None, True),
        Candidate("z", 0, None, True),
        Candidate("a", 1, 4.0, False),
        Candidate("b", 2, 3.0, True),
        Candidate("d", 4, 1.5, True),
    ]


def test_query_without_hits_has_its_positives() -> None:
    assert candidates([[]], {"a"}, places=[range(5)]) == [Candidate("a", 0, None, True)]


def test_miners_are_united_by_rank_and_remembered() -> None:
    other = [Hit("c", 9.0), Hit("e", 8.0), Hit("a", 7.0), Hit("f", 6.0)]
    # a: ranks 1 and 3; b: 2, 0; c: 3, 1; e: 0, 2; d (4, 0) and f (0, 4) are beyond the top 2, f is judged
    assert candidates([HITS, other], {"f", "z"}, places=[range(2), range(2)]) == [
        Candidate("z", 0, None, True, (0, 0)),
        Candidate("a", 1, 4.0, False, (1, 3)),
        Candidate("c", 1, 9.0, False, (3, 1)),
        Candidate("b", 2, 3.0, False, (2, 0)),
        Candidate("e", 2, 8.0, False, (0, 2)),
        Candidate("f", 4, 6.0, True, (0, 4)),
    ]


def test_a_miner_twice_finds_what_it_finds_once() -> None:
    once = candidates([HITS], {"b", "y"}, places=[range(3)])
    twice = candidates([HITS, HITS], {"b", "y"}, places=[range(3)] * 2)
    assert [candidate._replace(ranks=()) for candidate in twice] == once


LONG = [Hit(f"d{place}", 1000.0 - place) for place in range(1000)]


def test_windows_draw_halves_from_near_and_from_far() -> None:
    windows = [(50, 50), (1000, 50)]
    drawn = draw_windows(LONG, {"d3", "d700"}, windows=windows, query_id="q", seed=0)
    assert len(drawn) == 49 + 50  # d3 is a positive
    assert set(range(50)) - drawn == {3}
    assert 700 not in drawn
    far = sorted(drawn - set(range(50)))
    assert len(far) == 50
    assert far[0] >= 50
    assert 350 < sum(far) / 50 < 700  # spread over 50 to 999, not the first of them


def test_windows_depend_on_seed_and_query_alone() -> None:
    def draw(query: str = "q", seed: int = 0) -> set[int]:
        return draw_windows(LONG, set(), windows=[(1000, 20)], query_id=query, seed=seed)

    assert draw() == draw()
    assert len({frozenset(draw()), frozenset(draw(seed=1)), frozenset(draw(query="r"))}) == 3


def test_windows_take_all_of_few_hits() -> None:
    assert draw_windows(HITS, {"b"}, windows=[(2, 2), (100, 50)], query_id="q", seed=0) == {0, 2, 3}
    assert draw_windows([], {"b"}, windows=[(2, 2)], query_id="q", seed=0) == set()


def test_rows_are_written_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mined = {f"q{number}": candidates([HITS], {"a"}, places=[range(4)]) for number in range(5)}
    assert write_candidates(tmp_path, iter(mined.items())) == 20
    whole = read_candidates(tmp_path)
    monkeypatch.setattr("sparsemill.data.candidates._ROW_GROUP", 3)
    write_candidates(tmp_path, mined)
    assert read_candidates(tmp_path) == whole == mined
    assert pq.ParquetFile(tmp_path / "candidates.parquet").num_row_groups == 7


def test_choice_of_queries_depends_on_the_seed_alone() -> None:
    ids = [f"q{n}" for n in range(50)]
    chosen = choose_queries(ids, most=10, seed=1)
    assert len(chosen) == 10
    assert chosen == choose_queries(reversed(ids), most=10, seed=1)
    assert chosen < choose_queries(ids, most=20, seed=1)
    assert chosen != choose_queries(ids, most=10, seed=2)
    assert choose_queries(ids, most=None, seed=1) == set(ids)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    mined = {
        "q 1": candidates([HITS], {"z"}, places=[range(2)]),
        "q2": candidates([HITS, HITS[1:]], {"a"}, places=[range(3), range(3)]),
    }
    write_candidates(tmp_path, mined)
    assert read_candidates(tmp_path) == mined
    schema = pq.read_schema(tmp_path / "candidates.parquet")
    types = {field.name: str(field.type) for field in schema}
    ranks = types.pop("ranks")
    assert types == {"query_id": "string", "doc_id": "string", "rank": "int32", "score": "float", "positive": "bool"}
    assert ranks.startswith("list<")


def _mine(folder: Path, *, inputs: Sequence[str] = ("run",), **changes: Any) -> subprocess.CompletedProcess[str]:
    spec = {"split": "train", "top": 2, "filter_top": 2, "max_queries": None, "seed": 0} | changes
    given = ["--in", "collection", str(folder / "collection"), "--in", "run", *(str(folder / name) for name in inputs)]
    command = [sys.executable, str(SCRIPT), "--spec", json.dumps(spec), *given, "--out", str(folder / "out")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def mining(tmp_path: Path) -> Path:
    """Three training queries: q2 and q1 have their positive at rank 1 and 2, q3 at rank 3."""
    for name in ("collection", "run"):
        (tmp_path / name).mkdir()
    documents = [Document(name, "", name) for name in "abcd"]
    queries = [Query(name, name) for name in ("q3", "q2", "q1", "q0")]
    train = [Qrel("q1", "b", 1), Qrel("q2", "a", 2), Qrel("q3", "c", 1), Qrel("q0", "a", 0)]
    write_collection(tmp_path / "collection", documents, queries, {"train": train, "dev": [Qrel("q0", "a", 0)]})
    write_run(tmp_path / "run" / "run.trec", dict.fromkeys(("q3", "q2", "q1"), HITS))
    return tmp_path


def test_command_line_filters_and_sorts(mining: Path) -> None:
    result = _mine(mining)
    assert result.returncode == 0, result.stderr
    assert list(read_candidates(mining / "out").items()) == [
        ("q1", [Candidate("a", 1, 4.0, False), Candidate("b", 2, 3.0, True)]),
        ("q2", [Candidate("a", 1, 4.0, True), Candidate("b", 2, 3.0, False)]),
    ]
    assert json.loads((mining / "out" / "manifest.json").read_text())["facts"] == {
        "queries_judged": 4,
        "queries_before_filter": 3,
        "queries_after_filter": 2,
        "queries": 2,
        "candidates": 4,
    }


def test_command_line_unites_miners_and_draws_windows(mining: Path) -> None:
    (mining / "other").mkdir()
    write_run(mining / "other" / "run.trec", {"q3": [Hit("c", 1.0)]})
    result = _mine(mining, filter_top=1, windows=[{"top": 2, "keep": 1}], inputs=("run", "other"))
    assert result.returncode == 0, result.stderr
    found = read_candidates(mining / "out")
    assert list(found) == ["q2", "q3"]  # q1 has its positive at rank 2 of one miner only
    assert found["q3"][0] == Candidate("c", 1, 1.0, True, (3, 1))
    assert found["q3"][1].doc_id in "ab"
    assert len(found["q3"]) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "dev"}, "no query of split 'dev' is judged above 0"),
        ({"split": "test"}, "no split 'test'; its splits are: dev, train"),
    ],
    ids=["no positive", "no split"],
)
def test_command_line_tells_mistakes_in_one_line(mining: Path, changes: dict[str, str], message: str) -> None:
    result = _mine(mining, **changes)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 2  # what was started, and what is wrong
