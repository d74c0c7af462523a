"""Scores computed elsewhere, and the one place where a pickle is read."""

import gzip
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sparsemill.errors import UserError
from sparsemill.teachers.convert_scores import convert_scores, main
from sparsemill.teachers.score import Candidates
from sparsemill.teachers.score_files import LAYOUTS, FileScorer, read_rows

QUERIES, DOCUMENTS = ["1", "2", "3"], ["10", "20", "30", "40"]
PAIRS = Candidates(np.array([2, 2, 0, 1], np.int32), np.array([3, 0, 1, 2], np.int32))
GIVEN = {("3", "40"): 0.5, ("3", "10"): -1.25, ("1", "20"): 7.0, ("2", "30"): 0.0, ("2", "40"): 3.0, ("9", "10"): 2.0}
"""More than is asked for, one of them for a query that the collection does not have."""


def rows(layout: str, given: dict[tuple[str, str], float], *, number: bool = False) -> list[dict[str, Any]]:
    kind = int if number else str
    query, document, score, nested = LAYOUTS[layout]
    if not nested:
        return [{query: kind(q), document: kind(d), score: s} for (q, d), s in given.items()]
    found: dict[str, dict[str, Any]] = {}
    for (q, d), s in given.items():
        row = found.setdefault(q, {query: kind(q), document: [], score: []})
        row[document].append(kind(d))
        row[score].append(s)
    return list(found.values())


def write(file: Path, found: list[dict[str, Any]]) -> Path:
    if file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in found))
    else:
        pq.write_table(pa.Table.from_pylist(found), file)
    return file


def scorer(path: Path, layout: str = "pairs") -> FileScorer:
    return FileScorer(path, layout, PAIRS, query_ids=QUERIES, document_ids=DOCUMENTS)


@pytest.mark.parametrize("number", [False, True], ids=["text", "numbers"])
@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_layouts(tmp_path: Path, layout: str, ending: str, number: bool) -> None:
    file = write(tmp_path / f"scores.{ending}", rows(layout, GIVEN, number=number))
    found = scorer(file, layout)
    assert found.score(*PAIRS).tolist() == [0.5, -1.25, 7.0, 0.0]
    assert found.score(PAIRS.queries[1:2], PAIRS.documents[1:2]).tolist() == [-1.25]


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_a_shard_without_queries_needs_no_scores(tmp_path: Path, layout: str) -> None:
    file = write(tmp_path / "scores.jsonl", rows(layout, GIVEN))
    nothing = Candidates(np.empty(0, np.int32), np.empty(0, np.int32))
    found = FileScorer(file, layout, nothing, query_ids=QUERIES, document_ids=DOCUMENTS)
    assert found.score(*nothing).tolist() == []


def test_a_folder_of_files(tmp_path: Path) -> None:
    items = list(GIVEN.items())
    write(tmp_path / "a.parquet", rows("opensearch", dict(items[:3])))
    write(tmp_path / "b.jsonl", rows("opensearch", dict(items[3:])))
    assert scorer(tmp_path, "opensearch").score(*PAIRS).tolist() == [0.5, -1.25, 7.0, 0.0]


def test_missing_pairs_are_counted(tmp_path: Path) -> None:
    file = write(tmp_path / "scores.jsonl", rows("pairs", {("1", "20"): 1.0, ("2", "10"): 1.0}))
    with pytest.raises(UserError, match=r"no score for 3 of 4 candidates \(2 queries\), for example 2 and 30"):
        scorer(file)


def test_a_score_that_contradicts_itself_or_is_no_number(tmp_path: Path) -> None:
    same = rows("pairs", GIVEN)
    assert scorer(write(tmp_path / "same.jsonl", same + same)).score(*PAIRS).tolist() == [0.5, -1.25, 7.0, 0.0]
    other = {"query_id": "1", "doc_id": "20", "score": 7.5}
    for number, found in enumerate(([*same, other], [other, *same])):
        with pytest.raises(UserError, match="score of 1 and 20 is there twice, with different values"):
            scorer(write(tmp_path / f"{number}.jsonl", found))
    (tmp_path / "apart").mkdir()
    write(tmp_path / "apart" / "a.jsonl", same)
    write(tmp_path / "apart" / "b.jsonl", [other])
    with pytest.raises(UserError, match="there twice"):
        scorer(tmp_path / "apart")
    with pytest.raises(UserError, match="score of 3 and 40 is not finite"):
        scorer(write(tmp_path / "nan.parquet", rows("pairs", GIVEN | {("3", "40"): float("nan")})))
    both = [*same, other, {"query_id": "2", "doc_id": "30", "score": float("inf")}]
    with pytest.raises(UserError, match="score of 1 and 20 is there twice"):
        scorer(write(tmp_path / "both.parquet", both))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"query_id": "1", "doc_id": "2"}\n', r":1: not a JSON object with query_id, doc_id, score \('score'\)"),
        ('{"query_id": "1", "doc_id": "2", "score": 1}\nnothing\n', ":2: not a JSON object"),
        ("[1]\n", ":1: not a JSON object"),
        ('{"query_id": "1", "doc_id": "2", "score": "good"}\n', "of another type than the layout's"),
        ('{"query_id": "1", "doc_id": ["2"], "score": 1}\n', "of another type than the layout's"),
        ('{"query_id": "1", "doc_id": "2", "score": true}\n', "of another type than the layout's"),
        (f'{{"query_id": {2**80}, "doc_id": "2", "score": 1}}\n', "of types that do not go together"),
        ('{"query_id": "1", "doc_id": "\xff", "score": 1}\n', ":1: not a JSON object"),
        ('{"query_id": "1", "doc_id": "\\ud800", "score": 1}\n', "of types that do not go together"),
        ("[" * 100_000, ":1: not a JSON object"),
    ],
)
def test_broken_lines(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "scores.jsonl").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=message) as error:
        list(read_rows(tmp_path / "scores.jsonl", "pairs"))
    assert "\n" not in str(error.value)


def test_blank_lines_are_passed_over(tmp_path: Path) -> None:
    file = write(tmp_path / "scores.jsonl", rows("pairs", GIVEN))
    file.write_text("\r\n" + file.read_text().replace("\n", "\r\n\r\n"))
    assert scorer(file).score(*PAIRS).tolist() == [0.5, -1.25, 7.0, 0.0]


def test_broken_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        list(read_rows(tmp_path / "none", "pairs"))
    (tmp_path / "text.parquet").write_text("nothing")
    with pytest.raises(UserError, match="not Parquet"):
        list(read_rows(tmp_path / "text.parquet", "pairs"))
    with pytest.raises(UserError, match="no column docs; this layout has query, docs, scores"):
        list(read_rows(write(tmp_path / "a.parquet", [{"query": "1", "scores": [1.0]}]), "opensearch"))
    uneven = write(tmp_path / "b.parquet", [{"query": "1", "docs": ["2", "3"], "scores": [1.0]}])
    with pytest.raises(UserError, match="query 1: docs and scores are not of one length"):
        list(read_rows(uneven, "opensearch"))


# --- the pickle ---------------------------------------------------------------------------------------------------

SCORES = {1: {20: 7.0, 30: 2**24 + 1}, 2: {30: 0.0}, 3: {40: 0.5, 10: -1.25}}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["scores.pkl", "scores.pkl.gz"])
def test_a_pickle_of_scores(tmp_path: Path, name: str, protocol: int, capsys: pytest.CaptureFixture[str]) -> None:
    data = pickle.dumps(SCORES, protocol=protocol)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    target = tmp_path / "scores.parquet"
    assert main([str(tmp_path / name), str(target)]) == 0
    assert capsys.readouterr().out == f"{target}: 5 scores\n"
    # 2 and 40 is not among them
    pairs = Candidates(PAIRS.queries[:3], PAIRS.documents[:3])
    found = FileScorer(target, "msmarco_hard_negatives", pairs, query_ids=QUERIES, document_ids=DOCUMENTS)
    assert found.score(*pairs).tolist() == [0.5, -1.25, 7.0]


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/should-not-be-there",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Evil(), r"refused: it names \w+.system"),
        ({1: {2: np.float32(1)}}, r"refused: it names numpy"),
        ({1: {2: "good"}}, "found str"),
        ({1: {2: True}}, "found bool"),
        ({1: [2, 3]}, "found int -> list"),
        ({1.5: {2: 3}}, "found float -> dict"),
        ({}, "found dict of 0"),
        ({1: {2: 10**400}}, "Parquet cannot hold"),
        ({1: {"\ud800": 1.0}}, "Parquet cannot hold"),
        ([1, 2], "found list of 2"),
    ],
)
def test_anything_else_is_refused(
    tmp_path: Path, content: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scores.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match=message) as error:
        convert_scores(tmp_path / "scores.pkl", tmp_path / "scores.parquet")
    assert "\n" not in str(error.value)
    assert main([str(tmp_path / "scores.pkl"), str(tmp_path / "scores.parquet")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores.pkl"]
    assert not Path("/tmp/should-not-be-there").exists()


@pytest.mark.parametrize("data", [b"", b"nothing", b"\x80\x04."])
def test_no_pickle(tmp_path: Path, data: bytes) -> None:
    for name in ("scores.pkl", "scores.pkl.gz"):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match="no pickle of scores"):
            convert_scores(tmp_path / name, tmp_path / "scores.parquet")
