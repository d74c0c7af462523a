"""The consistency filter, candidate lists and their file."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sparsemill.data.candidates import (
    Candidate,
    candidates,
    choose_queries,
    consistent_queries,
    positives,
    read_candidates,
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
    assert consistent_queries(run, relevant, first=first) == kept


def test_filter_that_leaves_nothing_is_an_error() -> None:
    with pytest.raises(UserError, match="none of 1 queries with a positive has one in the miner's top 2"):
        consistent_queries({"q": HITS}, {"q": {"c"}}, first=2)


def test_candidates_are_the_top_and_every_positive() -> None:
    assert candidates(HITS, {"b", "d", "z", "y"}, top=2) == [
        Candidate("y", 0, None, True),
        Candidate("z", 0, None, True),
        Candidate("a", 1, 4.0, False),
        Candidate("b", 2, 3.0, True),
        Candidate("d", 4, 1.5, True),
    ]


def test_query_without_hits_has_its_positives() -> None:
    assert candidates([], {"a"}, top=5) == [Candidate("a", 0, None, True)]


def test_choice_of_queries_depends_on_the_seed_alone() -> None:
    ids = [f"q{n}" for n in range(50)]
    chosen = choose_queries(ids, most=10, seed=1)
    assert len(chosen) == 10
    assert chosen == choose_queries(reversed(ids), most=10, seed=1)
    assert chosen < choose_queries(ids, most=20, seed=1)
    assert chosen != choose_queries(ids, most=10, seed=2)
    assert choose_queries(ids, most=None, seed=1) == set(ids)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    mined = {"q 1": candidates(HITS, {"z"}, top=2), "q2": candidates(HITS, {"a"}, top=3)}
    write_candidates(tmp_path, mined)
    assert read_candidates(tmp_path) == mined
    schema = pq.read_schema(tmp_path / "candidates.parquet")
    types = {field.name: str(field.type) for field in schema}
    assert types == {"query_id": "string", "doc_id": "string", "rank": "int32", "score": "float", "positive": "bool"}


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"candidates\.parquet: no such file"):
        read_candidates(tmp_path)


def _mine(folder: Path, **changes: Any) -> subprocess.CompletedProcess[str]:
    spec = {"split": "train", "top": 2, "filter_top": 2, "max_queries": None, "seed": 0} | changes
    inputs = ["--in", "collection", str(folder / "collection"), "--in", "run", str(folder / "run")]
    command = [sys.executable, str(SCRIPT), "--spec", json.dumps(spec), *inputs, "--out", str(folder / "out")]
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
