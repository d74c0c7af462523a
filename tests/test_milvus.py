"""Milvus, live: milvus-lite inside the process, through the same client as a server."""

from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sparse_texts import real_vectors

from sparsemill.errors import UserError
from sparsemill.retrieval.clusters import build_cluster, index_name, open_cluster
from sparsemill.retrieval.exact import ExactIndex, build_exact
from sparsemill.retrieval.milvus import DATABASE, MOST_RESULTS, MilvusConnection, MilvusIndex
from sparsemill.retrieval.vectors import Shard, write_shard
from sparsemill.study.models.engines import MilvusEngine

pytest.importorskip("milvus_lite")

NAME = index_name("test", "indexes/Ours/seed-0/scifact/milvus", "1")
SPEC = {"kind": "milvus"}


def connection(**keys: Any) -> dict[str, Any]:
    return MilvusEngine(kind="milvus", **keys).model_dump()


def build(folder: Path, shards: list[Path], width: int) -> Any:
    folder.mkdir(exist_ok=True)
    vocabulary = [f"t{number}" for number in range(width)]
    return build_cluster(folder, shards, vocabulary=vocabulary, name=NAME, spec=SPEC, connection=connection())


@pytest.fixture
def opened() -> Iterator[list[MilvusIndex]]:
    """Indexes to be closed at the end of a test."""
    indexes: list[MilvusIndex] = []
    yield indexes
    for index in indexes:
        index.close()


@pytest.mark.parametrize("name", ["scifact", "nfcorpus", "cranfield"])
def test_top_1000_of_real_text_is_that_of_the_exact_engine(
    shared: Path, tmp_path: Path, opened: list[MilvusIndex], name: str
) -> None:
    shards, vocabulary, queries, _ = real_vectors(shared, tmp_path, name, queries=8)
    (tmp_path / "exact").mkdir()
    expected = build_exact(tmp_path / "exact", shards)
    assert build(tmp_path / "milvus", shards, len(vocabulary)) == expected
    index = open_cluster(tmp_path / "milvus", SPEC, connection())
    assert isinstance(index, MilvusIndex)
    opened.append(index)
    assert index.statistics() == expected
    exact = ExactIndex(tmp_path / "exact").search(queries, 1000)
    for theirs, ours in zip(index.search(queries, 1000), exact, strict=True):
        np.testing.assert_allclose([hit.score for hit in theirs], [hit.score for hit in ours], rtol=1e-5)
        last = ours[-1].score * (1 + 1e-5)
        assert {hit.doc_id for hit in ours if hit.score > last} <= {hit.doc_id for hit in theirs}


def test_a_second_build_adds_nothing_and_empty_rows_are_kept_apart(tmp_path: Path, opened: list[MilvusIndex]) -> None:
    matrix = sparse.csr_matrix(np.array([[0, 2, 0], [0, 0, 0], [1, 1, 0], [0, 2, 0]], dtype=np.float32))
    (tmp_path / "shard").mkdir()
    write_shard(tmp_path / "shard", Shard(["b c", "none", "ü", "a"], matrix))
    for _ in range(2):
        assert build(tmp_path / "milvus", [tmp_path / "shard"], 3) == (4, 4)
    index = MilvusIndex(tmp_path / "milvus", connection())
    opened.append(index)
    assert index.statistics() == (4, 4)
    queries = sparse.csr_matrix(np.array([[0, 1, 0], [0, 0, 0], [0, 0, 1]], dtype=np.float32))
    assert index.search(queries, 3) == [[("b c", 2.0), ("a", 2.0), ("ü", 1.0)], [], []]
    assert MilvusEngine.MOST_RESULTS == MOST_RESULTS
    with pytest.raises(UserError, match=f"at most {MOST_RESULTS} documents per query, 16385 are wanted"):
        index.search(queries, MOST_RESULTS + 1)
    with pytest.raises(UserError, match="queries have 4 columns, but the index has 3 tokens"):
        index.search(sparse.csr_matrix((1, 4), dtype=np.float32), 3)


def test_a_database_that_is_open_elsewhere_is_waited_for(tmp_path: Path, opened: list[MilvusIndex]) -> None:
    from milvus_lite.db import MilvusLite

    (tmp_path / "shard").mkdir()
    write_shard(tmp_path / "shard", Shard(["a"], sparse.csr_matrix(np.ones((1, 2), dtype=np.float32))))
    build(tmp_path / "milvus", [tmp_path / "shard"], 2)
    other = MilvusLite(str(tmp_path / "milvus" / DATABASE))
    with pytest.raises(UserError, match=r"milvus\.db: milvus-lite cannot open it after 0\.1 s; does another process"):
        MilvusIndex(tmp_path / "milvus", connection(timeout=0.1))
    closing = Timer(1, other.close)
    closing.start()
    opened.append(MilvusIndex(tmp_path / "milvus", connection()))
    closing.join()
    assert opened[0].search(sparse.csr_matrix(np.ones((1, 2), dtype=np.float32)), 3) == [[("a", 2.0)]]


def test_a_database_that_cannot_be_opened_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_text("no database")
    with pytest.raises(UserError, match=r"milvus\.db: milvus-lite cannot open it: .*File exists") as caught:
        MilvusConnection(tmp_path, connection(timeout=3.0))
    assert "\n" not in str(caught.value)


def test_a_server_that_is_down_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "shard").mkdir()
    write_shard(tmp_path / "shard", Shard(["a"], sparse.csr_matrix(np.ones((1, 2), dtype=np.float32))))
    away = connection(address="http://127.0.0.1:9", timeout=1.0)
    with pytest.raises(UserError, match=r"^http://127\.0\.0\.1:9: Milvus: ") as caught:
        build_cluster(tmp_path, [tmp_path / "shard"], vocabulary=["a", "b"], name=NAME, spec=SPEC, connection=away)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["milvus.example", "localhost.example", "127.0.0.1.example"])
def test_a_token_is_not_sent_in_the_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("MILVUS_TOKEN", "root:secret")
    (tmp_path / "cluster.json").write_text(
        '{"kind": "milvus", "index": "x", "vocabulary": [], "documents": 0, "empty": 0}'
    )
    with pytest.raises(UserError, match="a token is sent over https only") as caught:
        MilvusIndex(tmp_path, connection(address=f"http://{host}:19530", timeout=1.0))
    assert "secret" not in str(caught.value)
