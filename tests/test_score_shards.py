"""Scores of candidates: shards of whole queries, pairs by their ids, and the files."""

import errno
import os
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from random_vectors import matrices
from score_tables import Pairs, read_scores, write_scores

from sparsemill.data.candidates import Candidate, write_candidates
from sparsemill.errors import UserError
from sparsemill.teachers import score
from sparsemill.teachers.cache import EmbeddingCache
from sparsemill.teachers.score import (
    Candidates,
    EmbeddingScorer,
    indices,
    read_candidates,
    read_score_blocks,
    score_candidates,
    shard_bounds,
)


@pytest.mark.parametrize(("count", "shards"), [(10, 1), (10, 3), (2, 5), (0, 2), (12, 4)])
def test_shards_cover_everything_evenly(count: int, shards: int) -> None:
    bounds = [shard_bounds(count, shard=shard, shards=shards) for shard in range(shards)]
    assert [item for start, end in bounds for item in range(start, end)] == list(range(count))
    sizes = [end - start for start, end in bounds]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("shard", "shards"), [(3, 3), (-1, 3), (0, 0)])
def test_a_shard_that_is_not_there_is_refused(shard: int, shards: int) -> None:
    with pytest.raises(ValueError, match=f"shard {shard} of {shards}"):
        shard_bounds(10, shard=shard, shards=shards)


QUERY_IDS = [f"q{row}" for row in range(5)]
DOCUMENT_IDS = [f"d{row}" for row in range(9)]


def read(folder: Path, shard: int, shards: int) -> Candidates:
    return read_candidates(folder, shard=shard, shards=shards, query_ids=QUERY_IDS, document_ids=DOCUMENT_IDS)


@pytest.mark.parametrize("group", [1, 2, 7, 1 << 20])
def test_shards_hold_whole_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    monkeypatch.setattr(score, "ROW_GROUP", group)
    mined = {f"q{row}": [Candidate(f"d{rank}", rank, 1.0, rank == 1) for rank in range(1, row + 2)] for row in range(5)}
    write_candidates(tmp_path, mined)
    parts = [read(tmp_path, shard, 2) for shard in range(2)]
    assert [sorted(set(part.queries.tolist())) for part in parts] == [[0, 1], [2, 3, 4]]
    whole = read(tmp_path, 0, 1)
    assert whole.queries.tolist() == [row for row in range(5) for _ in range(row + 1)]
    assert whole.documents.tolist() == [rank for row in range(5) for rank in range(1, row + 2)]
    for place in range(2):
        assert np.concatenate([part[place] for part in parts]).tolist() == whole[place].tolist()
    assert len(read(tmp_path, 6, 9).queries) in (0, 4)


def test_ids_are_looked_up_for_the_shard_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up reads all ids of the collection, seconds for MS MARCO's, even if it is of nothing."""
    looked_up: list[int] = []

    def counted(values: Any, ids: pa.Array, *, source: object, kind: str) -> Any:
        if kind == "document":
            looked_up.append(len(values))
        return indices(values, ids, source=source, kind=kind)

    monkeypatch.setattr(score, "ROW_GROUP", 2)
    monkeypatch.setattr(score, "indices", counted)
    write_candidates(tmp_path, {f"q{row}": [Candidate(f"d{row}", 1, 1.0, True)] * 2 for row in range(5)})
    assert read(tmp_path, 1, 5).documents.tolist() == [1, 1]
    assert looked_up == [2]


def test_candidates_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_candidates(tmp_path, {"q0": [Candidate("d1", 1, 1.0, True)], "q9": [Candidate("d1", 1, 1.0, True)]})
    with pytest.raises(UserError, match="query 'q9' is not in the collection"):
        read(tmp_path, 0, 1)
    write_candidates(tmp_path, {"q0": [Candidate("d10", 1, 1.0, True)]})
    with pytest.raises(UserError, match="document 'd10' is not in the collection"):
        read(tmp_path, 0, 1)
    columns = {"query_id": ["q0", "q1", "q0"], "doc_id": ["d1"] * 3}
    pq.write_table(pa.table(columns), tmp_path / "candidates.parquet")
    with pytest.raises(UserError, match="rows of a query are apart"):
        read(tmp_path, 0, 1)


@pytest.mark.parametrize("block", [1, 2, 3, 1000])
def test_pair_scores_by_id_whatever_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(EmbeddingScorer, "BLOCK", block)
    monkeypatch.setattr(score, "ROW_GROUP", 2)
    queries, documents = matrices()
    pairs = Candidates(np.array([2, 2, 0, 4, 0], np.int32), np.array([8, 0, 8, 3, 3], np.int32))
    file = tmp_path / "scores.parquet"
    scorer = EmbeddingScorer(EmbeddingCache(queries, documents))
    score_candidates(pairs, scorer, file, query_ids=QUERY_IDS, document_ids=DOCUMENT_IDS, block=block)
    ids, found = read_scores([tmp_path])
    assert ids == Pairs(["q2", "q2", "q0", "q4", "q0"], ["d8", "d0", "d8", "d3", "d3"])
    assert np.allclose(found, [queries[q] @ documents[d] for q, d in zip(*pairs, strict=True)], atol=1e-5)
    assert pq.ParquetFile(file).metadata.num_row_groups == 3


def test_files_of_scores_are_what_they_were(tmp_path: Path) -> None:
    """One table written at once: the bytes do not depend on how the pairs came."""
    count = 5000
    ids = [f"q{row // 7}" for row in range(count)], [f"d{row * 31 % 997}" for row in range(count)]
    scores = np.random.default_rng(0).normal(size=count).astype(np.float32)
    columns = {"query_id": ids[0], "doc_id": ids[1], "score": pa.array(scores, pa.float32())}
    pq.write_table(pa.table(columns), tmp_path / "whole.parquet")
    with score.ScoreWriter(tmp_path / "parts.parquet") as writer:
        for start, end in pairwise([0, 1, 13, 2048, 2048, count]):
            part = slice(start, end)
            writer.write(pa.array(ids[0])[part], pa.array(ids[1])[part], scores[part])
    assert (tmp_path / "parts.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


@pytest.mark.parametrize("group", [1, 2, 3, 4, 100])
def test_blocks_of_scores_hold_whole_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    folders = []
    for number, queries in enumerate(("aaab", "bbc", "", "dddd")):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        pairs = Pairs(list(queries), [str(row) for row in range(len(queries))])
        write_scores(folders[-1] / "scores.parquet", pairs, np.arange(len(queries), dtype=np.float32))
    monkeypatch.setattr(score, "ROW_GROUP", group)
    blocks = [block["query_id"].to_pylist() for block in read_score_blocks(folders)]
    assert [query for block in blocks for query in block] == list("aaabbbcdddd")
    assert all(len({number for number, block in enumerate(blocks) if query in block}) == 1 for query in "abcd")


def test_scores_that_were_kept_are_not_computed_again(tmp_path: Path) -> None:
    from functools import partial

    from sparsemill.teachers.blocks import kept

    class Once:
        calls = 0

        def score(self, queries: Any, documents: Any) -> Any:
            Once.calls += 1
            if Once.calls == 3:
                raise KeyboardInterrupt
            return (queries * 10 + documents).astype(np.float32)

    pairs = Candidates(np.array([0, 1, 2, 3, 4], np.int32), np.array([5, 4, 3, 2, 1], np.int32))
    (tmp_path / "state").mkdir()
    options: Any = {"query_ids": QUERY_IDS, "document_ids": DOCUMENT_IDS, "block": 2}
    keep = partial(kept, tmp_path / "state")
    with pytest.raises(KeyboardInterrupt):
        score_candidates(pairs, Once(), tmp_path / "scores.parquet", kept=keep, **options)
    score_candidates(pairs, Once(), tmp_path / "scores.parquet", kept=keep, **options)
    assert Once.calls == 4
    assert read_scores([tmp_path])[1].tolist() == [5, 14, 23, 32, 41]


def test_a_block_that_does_not_fit_on_the_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sparsemill.teachers import blocks

    def full(folder: Path, name: str, matrix: Any) -> None:
        (folder / f"{name}.npy").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(blocks, "save_matrix", full)
    with pytest.raises(OSError, match="No space left"):
        blocks.kept(tmp_path, "scores-000000", lambda: np.zeros(3, np.float32))
    assert not list(tmp_path.iterdir())


def test_what_a_resumed_run_reads_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a machine that loses power may leave an empty file under that name."""
    from sparsemill.teachers.blocks import kept
    from sparsemill.training.texts import open_texts

    flushed: list[str] = []
    flush = os.fsync

    def inodes() -> dict[int, str]:
        return {path.stat().st_ino: path.name for path in tmp_path.rglob("*")}

    def counted(handle: int) -> None:
        assert not (tmp_path / "block").exists()
        assert not (tmp_path / "texts").exists()
        flushed.append(inodes()[os.fstat(handle).st_ino])
        flush(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", counted)
        kept(tmp_path, "block", lambda: np.zeros(3, np.float32))
    assert flushed == ["block.npy"]
    (tmp_path / "block").rename(tmp_path / "other")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", counted)
        assert list(open_texts(["one"], tmp_path / "texts")) == ["one"]
    assert flushed[1:] == ["offsets.npy", "texts.utf8"]


def test_scores_survive_their_file(tmp_path: Path) -> None:
    pairs, scores = Pairs(["q", "q"], ["a", "b"]), np.array([0.1, 1e-30], dtype=np.float32)
    write_scores(tmp_path / "scores.parquet", pairs, scores)
    again, values = read_scores([tmp_path, tmp_path])
    assert again == Pairs(["q", "q"] * 2, ["a", "b"] * 2)
    assert np.array_equal(values, np.tile(scores, 2))
    assert pq.read_schema(tmp_path / "scores.parquet").field("score").type == pa.float32()


def test_a_score_that_is_not_finite_is_told(tmp_path: Path) -> None:
    """A NaN is above no limit and below none, so that what reads it would take it for an ordinary score."""
    pairs = Candidates(np.array([0, 0], np.int32), np.array([1, 0], np.int32))
    scorer = SimpleNamespace(score=lambda queries, documents: np.array([1.0, np.nan], np.float32))
    with pytest.raises(UserError, match=r"scores\.parquet: .*q and a.* nan; check the teacher"):
        score_candidates(pairs, scorer, tmp_path / "scores.parquet", query_ids=["q"], document_ids=["a", "b"])
