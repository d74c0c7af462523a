"""The stage encode_corpus: shards, and the memory that they take."""

import importlib.util
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from sparsemill.data.collection import Document, write_collection
from sparsemill.job import main
from sparsemill.models import encode
from sparsemill.retrieval.vectors import IDS

SCRIPT = Path(__file__).resolve().parent.parent / "workflow" / "scripts" / "encode_corpus.py"


def run_shard(folder: Path, collection: Path, shard: int, shards: int) -> list[str]:
    """Ids of the shard."""
    located = importlib.util.spec_from_file_location("encode_corpus", SCRIPT)
    assert located is not None
    assert located.loader is not None
    module = importlib.util.module_from_spec(located)
    located.loader.exec_module(module)
    spec = {"device": "cpu", "precision": "fp32", "encode_length": 8, "encode_tokens": 64}
    spec |= {"shard": shard, "shards": shards}
    inputs = ["--in", "collection", str(collection), "--in", "model", str(folder)]
    arguments = ["--spec", json.dumps(spec), "--out", str(folder / str(shard)), *inputs]
    assert main("encode_corpus", module.run, argv=arguments) == 0
    return (folder / str(shard) / IDS).read_text().split()


@pytest.fixture
def collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """20,000 documents of 1,000 characters; the encoder gives empty vectors."""
    monkeypatch.setattr(encode, "load_encoder", lambda *_, **__: None)
    monkeypatch.setattr(encode, "encode_texts", lambda _, texts, **__: sparse.csr_matrix((len(texts), 3)))
    folder = tmp_path / "collection"
    folder.mkdir()
    texts: Any = (Document(f"d{number}", "", f"{number:01000}") for number in range(20_000))
    write_collection(folder, texts, [], {})
    return folder


def traced_shard(tmp_path: Path, collection: Path, shard: int, shards: int) -> tuple[list[str], int]:
    """Ids of the shard, and the peak of the memory that Python took, without what the first run imports."""
    run_shard(tmp_path, collection, 19, 20)
    tracemalloc.start()
    ids = run_shard(tmp_path, collection, shard, shards)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return ids, peak


def test_a_shard_takes_the_memory_of_its_own_documents(tmp_path: Path, collection: Path) -> None:
    ids, peak = traced_shard(tmp_path, collection, 18, 20)
    assert ids == [f"d{number}" for number in range(18_000, 19_000)]
    assert peak < 12 * 2**20


def test_a_text_is_held_once(tmp_path: Path, collection: Path) -> None:
    ids, peak = traced_shard(tmp_path, collection, 0, 1)
    assert len(ids) == 20_000
    assert peak < 1.5 * 20_000 * 1000


def test_vectors_that_are_not_pruned_are_not_copied(
    tmp_path: Path, collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = sparse.random(1000, 10_000, density=0.2, format="csr", dtype=np.float32, rng=np.random.default_rng(0))
    monkeypatch.setattr(encode, "encode_texts", lambda *_, **__: vectors)
    _, peak = traced_shard(tmp_path, collection, 18, 20)
    assert peak < 8 * vectors.nnz


def test_shards_cover_the_collection_in_order(tmp_path: Path, collection: Path) -> None:
    shards = [run_shard(tmp_path, collection, shard, 3) for shard in range(3)]
    assert [one for ids in shards for one in ids] == [f"d{number}" for number in range(20_000)]
