"""Runs survive writing and reading; broken files are refused by line."""

from pathlib import Path

import numpy as np
import pytest

from sparsemill.errors import UserError
from sparsemill.retrieval.runs import Hit, RunFile, decode_id, encode_id, read_run, write_run


def test_write_gives_trec_lines(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    write_run(path, {"q1": [Hit("d2", 3.5), Hit("d1", 0.25)], "q2": [], "q3": [Hit("d1", 1.0)]})
    assert path.read_text() == "q1 Q0 d2 1 3.5 sparsemill\nq1 Q0 d1 2 0.25 sparsemill\nq3 Q0 d1 1 1 sparsemill\n"


@pytest.mark.parametrize(
    "identifier", ["a b", "100%", "%20", "tab\there", "é\u3000日", "plain/id#1?x=\"y'", "a\u00a0b", "x\x1fy"]
)
def test_ids_are_encoded_without_whitespace_and_decoded(identifier: str) -> None:
    assert len(encode_id(identifier).split()) == 1
    assert decode_id(encode_id(identifier)) == identifier


def test_only_whitespace_and_percent_are_encoded() -> None:
    assert encode_id("a b%c/é") == "a%20b%25c/é"


def test_float32_scores_and_odd_ids_round_trip_in_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores = np.sort(rng.lognormal(sigma=8, size=500).astype(np.float32))[::-1]
    run = {"q 2": [Hit(f"d {i}%", float(score)) for i, score in enumerate(scores)], "q 1": [Hit("x", -1e-30)]}
    write_run(tmp_path / "run.trec", run)
    read = read_run(tmp_path / "run.trec")
    assert list(read) == ["q 2", "q 1"]
    assert [hit.doc_id for hit in read["q 2"]] == [hit.doc_id for hit in run["q 2"]]
    assert np.array_equal(np.array([hit.score for hit in read["q 2"]], dtype=np.float32), scores)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 Q0 d1 1 0.5", "5 columns"),
        ("q1 Q0 d 1 1 0.5 tag", "7 columns"),
        ("q1 Q0 d1 first 0.5 tag", "not a number"),
        ("q1 Q0 d1 1 high tag", "not a number"),
        ("q1 Q0 d1 1 nan tag", "not finite"),
        ("q1 Q0 d0 2 0.1 tag", "listed twice"),
        ("", "0 columns"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "run.trec"
    path.write_text(f"q1 Q0 d0 1 0.9 tag\n{line}\n")
    with pytest.raises(UserError, match=message) as caught:
        read_run(path)
    assert f"{path}:2:" in str(caught.value)


def test_a_missing_or_binary_run_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such run"):
        read_run(tmp_path / "run.trec")
    (tmp_path / "run.trec").write_bytes(b"q1 Q0 \xff 1 2 t\n")
    with pytest.raises(UserError, match="not UTF-8"):
        read_run(tmp_path / "run.trec")


def test_a_failed_write_leaves_the_old_run(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    write_run(path, {"q": [Hit("d", 1.0)]})
    with pytest.raises(AttributeError):
        write_run(path, {"q": [("d", 1.0)]})  # type: ignore[list-item]
    assert read_run(path) == {"q": [Hit("d", 1.0)]}
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.trec"]


def test_a_run_file_reads_one_query_at_a_time(tmp_path: Path) -> None:
    run = {"q 1": [Hit("a%", 2.5), Hit("b", 1.0)], "q2": [Hit("a%", 0.5)], "é": [Hit("ü", 1.0)]}
    write_run(tmp_path / "run.trec", run)
    file = RunFile(tmp_path / "run.trec")
    assert list(file) == list(run)
    assert dict(file) == run
    assert file.get("q3", ()) == ()
    assert len(file) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q Q0 a 1 2 x\nr Q0 a 1 2 x\nq Q0 b 2 1 x\n", "run.trec:3: query q was there before"),
        ("q Q0 a 1 2 x\nq Q0 a 2 1 x\n", "run.trec:2: document a is listed twice"),
        ("q Q0 a 1 2 x\nq Q0 b 2\n", "run.trec:2: 4 columns"),
    ],
)
def test_a_broken_run_file_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.trec").write_text(text)
    with pytest.raises(UserError, match=message):
        dict(RunFile(tmp_path / "run.trec"))
    with pytest.raises(UserError, match="no such run"):
        RunFile(tmp_path / "other.trec")
