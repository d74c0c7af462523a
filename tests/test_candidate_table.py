"""Candidates as flat arrays, and texts behind a memory map."""

import errno
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from score_tables import Pairs, write_scores

from sparsemill.data.candidates import Candidate, write_candidates
from sparsemill.errors import UserError
from sparsemill.training import candidate_table
from sparsemill.training.candidate_table import CandidateTable, Lists, read_table
from sparsemill.training.data import CandidateTargets, SetData
from sparsemill.training.schedule import Record
from sparsemill.training.texts import open_texts

MINED = {
    "q2": [Candidate("c", 0, None, True), Candidate("a", 1, 2.0, False), Candidate("b", 2, 1.0, True)],
    "q0": [Candidate("b", 1, 1.0, True)],
    "q1": [Candidate("a", 1, 1.0, True), Candidate("d", 2, 1.0, False), Candidate("b", 3, 1.0, False)],
}


def read(folder: Path, *, dropped: list[int] | None = None, negatives: bool = True) -> CandidateTable:
    marks = None if dropped is None else np.isin(np.arange(7), dropped)
    ids = {"query_ids": pa.array(["q0", "q1", "q2"]), "document_ids": pa.array(["a", "b", "c", "d"])}
    return read_table(folder, **ids, negatives=negatives, dropped=marks)


@pytest.fixture
def mined(tmp_path: Path) -> Path:
    write_candidates(tmp_path, MINED)
    return tmp_path


def test_table_by_hand(mined: Path) -> None:
    table = read(mined, negatives=False)
    assert table.queries.tolist() == [2, 0, 1]
    assert table.offsets.tolist() == [0, 3, 4, 7]
    assert table.documents.tolist() == [2, 0, 1, 1, 0, 3, 1]
    assert table.positive.tolist() == [True, False, True, True, True, False, False]
    assert table.kept.all()
    assert list(Lists(table, "positives")) == [[2, 1], [1], [0]]
    assert list(Lists(table, "negatives", shift=10)) == [[10], [], [13, 11]]
    assert (table.queries.dtype, table.documents.dtype, table.positive.dtype) == (np.int32, np.int32, bool)


@pytest.mark.parametrize("block", [1, 2, 3, 5])
def test_blocks_change_nothing(mined: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    whole = read(mined)
    monkeypatch.setattr(candidate_table, "BLOCK", block)
    for name in ("queries", "offsets", "documents", "positive", "kept"):
        assert np.array_equal(getattr(read(mined), name), getattr(whole, name))


def test_dropped_rows_and_bare_queries_are_left_out(mined: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = read(mined, dropped=[5])
    assert table.queries.tolist() == [2, 1]
    assert table.offsets.tolist() == [0, 3, 5]
    assert table.documents.tolist() == [2, 0, 1, 0, 1]
    assert table.kept.tolist() == [True, True, True, False, True, False, True]
    assert "1 of 3 queries have no negatives" in caplog.text
    assert list(Lists(table, "left_out", shift=10)) == [[], [13]]
    assert read(mined, dropped=[1, 5]).queries.tolist() == [1]
    assert list(Lists(read(mined), "left_out")) == [[], []]


def test_marks_of_another_file_are_refused(mined: Path) -> None:
    with pytest.raises(UserError, match="7 rows, but 6 are marked"):
        read_table(
            mined,
            query_ids=pa.array(["q0", "q1", "q2"]),
            document_ids=pa.array(["a", "b", "c", "d"]),
            negatives=True,
            dropped=np.zeros(6, dtype=bool),
        )


def test_unknown_ids_are_refused(mined: Path) -> None:
    with pytest.raises(UserError, match="document 'd' is not in the collection"):
        read_table(
            mined, query_ids=pa.array(["q0", "q1", "q2"]), document_ids=pa.array(["a", "b", "c"]), negatives=True
        )
    with pytest.raises(UserError, match="query 'q1' is not in the collection"):
        read_table(mined, query_ids=pa.array(["q0", "q2"]), document_ids=pa.array(["a", "b", "c", "d"]), negatives=True)


def test_scattered_rows_are_refused(mined: Path) -> None:
    file = mined / "candidates.parquet"
    pq.write_table(pq.read_table(file).take([0, 3, 1, 2, 4, 5, 6]), file)
    with pytest.raises(UserError, match="rows of a query are apart"):
        read(mined)
    pq.write_table(pq.read_table(file).slice(0, 0), file)
    with pytest.raises(UserError, match="holds no candidates"):
        read(mined)


def targets(folder: Path, rows: list[tuple[str, str, float]], table: CandidateTable) -> CandidateTargets:
    pairs = Pairs([row[0] for row in rows], [row[1] for row in rows])
    write_scores(folder / "scores.parquet", pairs, np.array([row[2] for row in rows], dtype=np.float32))
    lists = (Lists(table, kind) for kind in ("positives", "negatives", "left_out"))
    data = SetData([], [], table.queries, *lists, table)
    return CandidateTargets(data, folder)


ROWS = [(query, candidate.doc_id) for query, found in MINED.items() for candidate in found]


def test_targets_follow_the_rows_that_are_kept(mined: Path) -> None:
    scores = [(*pair, float(number)) for number, pair in enumerate(ROWS)]
    found = targets(mined, scores, read(mined, dropped=[5]))
    # q2 (row 0 of the table): c 0, a 1, b 2; q1 (row 1): a 4, b 6
    assert found.rows([Record(0, (1, 0)), Record(1, (0, 1))]).tolist() == [[2, 1], [4, 6]]
    with pytest.raises(ValueError, match="no candidate of its query"):
        found.rows([Record(1, (0, 3))])


@pytest.mark.parametrize("rows", [ROWS[:-1], [*ROWS[:-1], ("q1", "c")], [*ROWS[:-2], ROWS[-1], ROWS[-2]]])
def test_targets_of_other_pairs_are_refused(mined: Path, rows: list[tuple[str, str]]) -> None:
    with pytest.raises(UserError, match="scores other pairs than"):
        targets(mined, [(*pair, 0.0) for pair in rows], read(mined))


@pytest.mark.parametrize("kept", [True, False])
def test_texts_come_back(tmp_path: Path, kept: bool) -> None:
    words = ["", "one two", "déjà vu 日本", "", "x" * 1000]
    folder = tmp_path / "kept" / "texts" if kept else None
    texts = open_texts(iter(words), folder)
    assert list(texts) == texts[:] == words
    assert texts[1:3] == words[1:3]
    assert len(texts) == 5
    for index in (-1, 5):
        with pytest.raises(IndexError):
            texts[index]
    if folder:
        assert list(open_texts(iter(["never read"]), folder)) == words
    assert list(open_texts([], None)) == []


def test_texts_take_a_number_each_while_they_are_written() -> None:
    count = 100_000
    tracemalloc.start()
    texts = open_texts(("ab" for _ in range(count)), None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert texts[count - 1] == "ab"
    assert peak < 20 * count


def test_texts_that_cannot_be_written_leave_nothing(tmp_path: Path) -> None:
    def words() -> Iterator[str]:
        yield "one"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        open_texts(words(), tmp_path / "kept" / "texts")
    assert not list((tmp_path / "kept").iterdir())
