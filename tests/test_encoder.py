"""The saved retriever: sentence-transformers opens it, and queries need no model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers.sparse_encoder import SparseEncoder
from tiny import SPECIAL, TOKENS, WORDS, idf_table, rows, save_language_model, texts
from tokenizers import Tokenizer

from sparsemill.errors import UserError
from sparsemill.files import read_json, write_json
from sparsemill.models.encoder import build_encoder, query_weights, save_encoder
from sparsemill.models.head import attach_head, detach_head
from sparsemill.retrieval.query_encoder import QueryEncoder

QUERIES = ["bal dom kix", "bal bal BAL nor", "[CLS] lum [SEP] [MASK] zz", "bal dom kix lum mer nor", "[UNK]", "pal?"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    start = save_language_model(folder / "start")
    write_json(folder / "idf.json", idf_table())
    weights = query_weights(start, folder / "idf.json")
    encoder = build_encoder(start, weights, query_length=4, document_length=12).eval()
    attach_head(encoder)
    np.save(folder / "documents.npy", rows(encoder.encode_document(texts())))
    detach_head(encoder)
    save_encoder(encoder, folder, weights)
    return folder


@pytest.fixture(scope="module")
def loaded(saved: Path) -> SparseEncoder:
    return SparseEncoder(str(saved / "model"), device="cpu")


def test_query_weights_are_idf_or_one_and_zero_for_special_tokens(tmp_path: Path) -> None:
    start = save_language_model(tmp_path / "start")
    write_json(tmp_path / "idf.json", idf_table())
    weighted, binary = query_weights(start, tmp_path / "idf.json"), query_weights(start, None)
    assert list(weighted) == list(binary) == TOKENS
    assert all(weighted[token] == binary[token] == 0 for token in SPECIAL)
    assert all(weighted[token] == idf_table()[token] for token in TOKENS[5:])
    assert set(binary.values()) == {0.0, 1.0}


def test_an_idf_table_with_gaps_is_a_users_mistake(tmp_path: Path) -> None:
    start = save_language_model(tmp_path / "start")
    write_json(tmp_path / "idf.json", {token: 1.0 for token in TOKENS if token not in ("bal", "dom")})
    with pytest.raises(UserError, match=r"no IDF for 2 tokens of .*, the first is 'bal'"):
        query_weights(start, tmp_path / "idf.json")


def test_saved_model_gives_the_vectors_of_training(saved: Path, loaded: SparseEncoder) -> None:
    expected = np.load(saved / "documents.npy")
    assert np.allclose(rows(loaded.encode_document(texts())), expected, atol=1e-5)
    assert loaded.similarity_fn_name == "dot"


def test_special_tokens_are_inactive_on_both_sides(loaded: SparseEncoder) -> None:
    assert not rows(loaded.encode_document([*texts(), "[CLS] [SEP] [MASK] [UNK]"]))[:, :5].any()
    assert not rows(loaded.encode_query(QUERIES))[:, :5].any()


def test_queries_equal_those_of_the_encoder_without_torch(saved: Path, loaded: SparseEncoder) -> None:
    expected = rows(QueryEncoder(saved, query_length=4).encode(QUERIES))
    assert np.array_equal(rows(loaded.encode_query(QUERIES)), expected)
    assert [int((row > 0).sum()) for row in expected] == [3, 2, 1, 4, 0, 1]


def test_query_vectors_by_hand(loaded: SparseEncoder) -> None:
    row = rows(loaded.encode_query(["dom bal bal kix lum"]))[0]
    found = {TOKENS[column]: row[column] for column in row.nonzero()[0]}
    # four tokens are kept, before repeated ones are merged
    assert found == {token: np.float32(idf_table()[token]) for token in ("bal", "dom", "kix")}


def test_queries_need_no_transformer(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = SparseEncoder(str(saved / "model"), device="cpu")

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("the document route was called")

    monkeypatch.setattr(loaded[0].sub_modules["document"][0], "forward", refuse)
    assert rows(loaded.encode_query(QUERIES)).any()
    with pytest.raises(AssertionError, match="document route"):
        loaded.encode_document(["bal"])


def test_similarity_is_the_weighted_dot_product(loaded: SparseEncoder) -> None:
    queries, documents = loaded.encode_query(["bal dom"]), loaded.encode_document(texts(5))
    scores = loaded.similarity(queries, documents)
    assert np.allclose(scores.numpy(), rows(queries) @ rows(documents).T, atol=1e-4)


def test_files_beside_the_model(saved: Path) -> None:
    tokenizer = json.loads((saved / "tokenizer.json").read_text())
    assert tokenizer["truncation"] is tokenizer["padding"] is None
    assert Tokenizer.from_file(str(saved / "tokenizer.json")).get_vocab() == {t: i for i, t in enumerate(TOKENS)}
    assert read_json(saved / "query_weights.json") == query_weights(saved / "start", saved / "idf.json")


def test_document_length_is_kept_in_the_saved_model(loaded: SparseEncoder) -> None:
    long, cut = " ".join(WORDS), " ".join(WORDS[:10])
    vectors = rows(loaded.encode_document([long, cut]))
    assert np.allclose(vectors[0], vectors[1], atol=1e-5)


def test_a_padded_vocabulary_is_refused(tmp_path: Path) -> None:
    """Padding is cut when the backbone is prepared; sentence-transformers could not load such a model again."""
    start = save_language_model(tmp_path / "start", vocabulary=len(TOKENS) + 11)
    with pytest.raises(UserError, match="has 100 tokens, its tokenizer 89"):
        build_encoder(start, query_weights(start, None), query_length=8, document_length=24)


def test_query_weights_are_not_trained(loaded: SparseEncoder) -> None:
    weight = loaded[0].sub_modules["query"][0].weight
    assert not weight.requires_grad
    assert torch.equal(weight[:5], torch.zeros(5))
