"""Queries as search sees them: looked up without torch, or encoded, with the vectors that the saved model gives."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers.sparse_encoder import SparseEncoder
from tiny import TOKENS, rows, save_language_model, texts

from sparsemill.data.collection import Query
from sparsemill.errors import UserError
from sparsemill.models.encode import encode_texts, load_encoder
from sparsemill.models.encoder import build_encoder, query_weights, save_encoder
from sparsemill.models.siamese import build_siamese
from sparsemill.retrieval.exact import build_exact
from sparsemill.retrieval.lucene_impact import build_impact
from sparsemill.retrieval.queries import open_queries
from sparsemill.retrieval.query_encoder import QueryEncoder
from sparsemill.retrieval.retriever import open_search, retrieve
from sparsemill.retrieval.vectors import Shard, quantise, write_shard
from sparsemill.tables.tokens import Tokens

TEXTS = ["bal dom kix", "", "bal bal BAL nor", "pal", "[CLS] lum [SEP] [PAD] zz", "bal dom kix lum mer nor pax rul"]
ENCODER: dict[str, Any] = {"device": "cpu", "precision": "fp32", "tokens": 32, "prune": {}}
SPEC: dict[str, Any] = {"query_length": 8, "encoder": ENCODER}


@pytest.fixture(scope="module", params=["lexical", "splade"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    start, other = save_language_model(folder / "start"), save_language_model(folder / "other", seed=2)
    lexical = request.param == "lexical"
    save_encoder(build_siamese(start, other, lexical=lexical, query_length=8, document_length=24), folder, None)
    return folder


def test_equal_those_of_the_saved_model(model: Path) -> None:
    found = rows(open_queries(model, SPEC).encode(TEXTS))
    opened = SparseEncoder(str(model / "model"), device="cpu")
    expected = rows(opened.encode_query(TEXTS))
    expected[1] = 0  # an empty text has no tokens, whatever [CLS] and [SEP] say
    assert np.allclose(found, expected, atol=1e-5)
    assert found[[0, 2, 5]].any(1).all()
    assert not found[:, :5].any()
    assert not np.allclose(found[0], rows(opened.encode_document(TEXTS))[0], atol=1e-3)


def test_are_pruned(model: Path) -> None:
    full = open_queries(model, SPEC).encode(TEXTS)
    found = open_queries(model, SPEC | {"encoder": ENCODER | {"prune": {"max_ratio": None, "top_k": 2}}}).encode(TEXTS)
    assert np.diff(found.indptr).tolist() == [min(2, size) for size in np.diff(full.indptr)]


def test_a_length_above_the_positions_is_refused(model: Path) -> None:
    with pytest.raises(UserError, match=r"query_length: 10000 tokens, but the model reads at most 64"):
        open_queries(model, SPEC | {"query_length": 10_000})


def test_a_siamese_model_has_no_table(model: Path) -> None:
    with pytest.raises(UserError, match=r"query_weights\.json"):
        open_queries(model, {"query_length": 8})


def test_a_table_is_looked_up(tmp_path: Path) -> None:
    start = save_language_model(tmp_path / "start")
    weights = query_weights(start, None)
    save_encoder(build_encoder(start, weights, query_length=8, document_length=24), tmp_path, weights)
    assert isinstance(open_queries(tmp_path, {"query_length": 8}), QueryEncoder)


def test_torch_is_not_loaded_for_a_table() -> None:
    code = "import sys, sparsemill.retrieval.queries, sparsemill.retrieval.retriever; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_engines_agree_on_real_valued_query_weights(model: Path, tmp_path: Path) -> None:
    """Lucene's impacts are integers on both sides: its scores are those of the exact engine on rounded weights."""
    encoder = load_encoder(model, length=24, device="cpu")
    documents = encode_texts(encoder, texts(), task="document", length=24, tokens=64, precision="fp32")
    scale = 40
    ids = [f"d{row}" for row in range(len(texts()))]
    for name, matrix in (("real", documents), ("rounded", quantise(documents, scale).astype(np.float32))):
        (tmp_path / name).mkdir()
        write_shard(tmp_path / name, Shard(ids, matrix))
    for name in ("lucene", "exact"):
        (tmp_path / name).mkdir()
    build_impact(tmp_path / "lucene", [tmp_path / "real"], vocabulary=TOKENS, quantisation=scale)
    build_exact(tmp_path / "exact", [tmp_path / "rounded"])

    class Rounded:
        def encode(self, chosen: Any) -> Any:
            return quantise(open_queries(model, SPEC).encode(chosen), scale).astype(np.float32)

    queries = [Query(str(row), text) for row, text in enumerate(TEXTS)]
    lucene, exact = (
        retrieve(open_search(engine, tmp_path / engine, queries=side), queries, depth=10, drop_self_hits=False)
        for engine, side in (("lucene", open_queries(model, SPEC)), ("exact", Rounded()))
    )
    assert any(lucene.values())
    for query, hits in lucene.items():
        expected = exact[query]
        assert [hit.doc_id for hit in hits] == [hit.doc_id for hit in expected]
        assert np.allclose([hit.score * scale**2 for hit in hits], [hit.score for hit in expected], rtol=1e-6)


def test_search_without_queries_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a model's folder is needed"):
        open_search("exact", tmp_path)


def test_explained_tokens_are_own_ones_first(model: Path) -> None:
    tokens = Tokens(model, open_queries(model, SPEC))
    weights = tokens.weigh("kix dom bal")
    own = [token for token in tokens.split("kix dom bal") if token in weights]
    assert list(weights)[: len(own)] == own
    rest = list(weights.values())[len(own) :]
    assert rest == sorted(rest, reverse=True)
