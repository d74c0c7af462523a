"""Every engine finds the same for real learned sparse queries: SPLADE++ ED and SPLADE-v3 on TREC DL 2019 and 2020."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from real_vectors import IMPACT, RealVectors, read_real_vectors

from sparsemill.retrieval.exact import ExactIndex, Postings, build_exact
from sparsemill.retrieval.lucene_impact import LuceneImpact, build_impact
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.vectors import Shard, quantise, write_shard

DEPTH = 1000
Found = list[list[Hit]]


@pytest.fixture(scope="module")
def real(shared: Path) -> RealVectors:
    return read_real_vectors(shared, documents=6000, queries=43)


@pytest.fixture(scope="module")
def expected(real: RealVectors) -> Found:
    """By brute force, in whole numbers: score descending, ties in the order of the corpus."""
    documents, queries = (quantise(matrix, IMPACT).astype(np.int64) for matrix in (real.documents, real.queries))
    scores = (queries @ documents.T).toarray()
    assert scores.max() < 2**24  # so float32 holds every sum exactly
    order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    return [
        [Hit(real.ids[document], float(row[document])) for document in best if row[document] > 0]
        for row, best in zip(scores, order, strict=True)
    ]


def lucene(folder: Path, real: RealVectors) -> Found:
    write_shard(folder, Shard(real.ids, real.documents))
    (folder / "index").mkdir()
    build_impact(folder / "index", [folder], vocabulary=real.vocabulary, quantisation=IMPACT)
    return LuceneImpact(folder / "index").search(real.queries, DEPTH)


def exact(folder: Path, real: RealVectors, *, postings: Postings = "float32") -> Found:
    documents, queries = (quantise(matrix, IMPACT).astype(np.float32) for matrix in (real.documents, real.queries))
    write_shard(folder, Shard(real.ids, documents))
    (folder / "index").mkdir()
    build_exact(folder / "index", [folder], postings=postings)
    return ExactIndex(folder / "index").search(queries, DEPTH)


@pytest.mark.parametrize("engine", [exact, lucene])
def test_the_first_thousand_of_real_queries(
    real: RealVectors, expected: Found, tmp_path: Path, engine: Callable[[Path, RealVectors], Found]
) -> None:
    found = engine(tmp_path, real)
    assert len(found) == len(expected) == 4 * 43
    assert sum(len(hits) == DEPTH for hits in expected) > 100
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == theirs


def test_the_form_of_three_bytes_finds_nearly_the_same(real: RealVectors, expected: Found, tmp_path: Path) -> None:
    """Weights in 255 steps of their token's largest."""
    found = exact(tmp_path, real, postings="blocked")
    shared = [
        len({hit.doc_id for hit in ours} & {hit.doc_id for hit in theirs}) / len(theirs)
        for ours, theirs in zip(found, expected, strict=True)
    ]
    assert np.mean(shared) > 0.99
