"""BM25 vectors give Lucene's BM25 scores."""

import json
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from sparsemill.data.collection import Document
from sparsemill.retrieval.bm25_vectors import build_bm25_vectors, quantised_length
from sparsemill.retrieval.jvm import java
from sparsemill.retrieval.lucene_bm25 import LuceneBm25, build_bm25
from sparsemill.teachers.embed import embed_bm25


def test_lengths_are_quantised_as_lucene_does() -> None:
    lengths = np.array([*range(300), 1000, 4095, 65537, 10**6, 2**31 - 1])
    small = java("org.apache.lucene.util.SmallFloat")
    expected = [small.byte4ToInt(small.intToByte4(int(length))) for length in lengths]
    assert quantised_length(lengths).tolist() == expected
    assert quantised_length(np.array([0, 23, 24, 39, 40, 41, 42])).tolist() == [0, 23, 24, 39, 40, 40, 42]


def test_scores_by_hand() -> None:
    vectors = build_bm25_vectors(["cats cats dog", "dog", "", "the"], total=4, k1=1.0, b=0.5)
    assert vectors.vocabulary == {"cat": 0, "dog": 1}
    # Two documents have terms; their average length is 2.
    norm_first, norm_second = 0.5 + 0.5 * 3 / 2, 0.5 + 0.5 * 1 / 2
    expected = [[2 / (2 + norm_first), 1 / (1 + norm_first)], [0, 1 / (1 + norm_second)], [0, 0], [0, 0]]
    np.testing.assert_allclose(vectors.documents.toarray(), expected, rtol=1e-6)
    queries = vectors.encode_queries(["dog dogs bird", "", "cat"])
    idf_dog, idf_cat = math.log(1 + 0.5 / 2.5), math.log(1 + 1.5 / 1.5)
    np.testing.assert_allclose(queries.toarray(), [[0, 2 * idf_dog], [0, 0], [idf_cat, 0]], rtol=1e-6)
    assert queries.dtype == vectors.documents.dtype == np.float32


def test_no_documents_with_terms() -> None:
    vectors = build_bm25_vectors(["", "the"], total=2)
    assert (vectors.encode_queries(["cat"]) @ vectors.documents.T).toarray().tolist() == [[0, 0]]


def test_memory_is_that_of_the_terms() -> None:
    """Texts come one by one, and a term of a document takes 25 bytes; in lists it took 30, beside the texts."""
    documents, terms = 2000, 150
    texts = (" ".join(f"t{(row + term) % 999}" for term in range(terms)) for row in range(documents))
    build_bm25_vectors(["t1"], total=1)
    tracemalloc.start()
    vectors = build_bm25_vectors(texts, total=documents)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert vectors.documents.nnz == documents * terms
    assert peak < 27 * documents * terms


@pytest.mark.parametrize("keys", [{}, {"fields": "multifield"}, {"analyzer": "standard"}])
def test_scores_equal_lucenes_on_real_text(shared: Path, tmp_path: Path, keys: dict[str, str]) -> None:
    collection = shared / "data" / "collections" / "scifact"
    with (collection / "corpus.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][:1500]
    documents = [Document(row["_id"], row["title"], row["text"]) for row in rows]
    documents.insert(700, Document("empty", "", ""))
    with (collection / "queries.jsonl").open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file][:100]
    build_bm25(tmp_path, documents, total=len(documents), **keys)
    found = LuceneBm25(tmp_path, k1=0.9, b=0.4, **keys).search(texts, 100)
    embedded = embed_bm25({"kind": "bm25", **keys}, texts, lambda: documents, total=len(documents))
    scores = (embedded.queries[0] @ embedded.documents[0].T).toarray()
    place = {document.id: row for row, document in enumerate(documents)}
    for row, hits in zip(scores, found, strict=True):
        ours = [row[place[hit.doc_id]] for hit in hits]
        assert ours == pytest.approx([hit.score for hit in hits], abs=1e-4)
        assert np.sort(row)[::-1][: len(hits)] == pytest.approx([hit.score for hit in hits], abs=1e-4)
