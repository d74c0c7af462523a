"""Every engine finds the same for real learned sparse queries: SPLADE++ ED and SPLADE-v3 on TREC DL 2019 and 2020."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_opensearch import Cluster, running
from real_vectors import IMPACT, RealVectors, read_real_vectors

from sparsemill.retrieval.clusters import build_cluster, index_name, open_cluster
from sparsemill.retrieval.exact import ExactIndex, Postings, build_exact
from sparsemill.retrieval.lucene_impact import LuceneImpact, build_impact
from sparsemill.retrieval.milvus import MilvusIndex
from sparsemill.retrieval.recall import recall
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.seismic_index import SeismicIndex, build_seismic
from sparsemill.retrieval.vectors import Shard, quantise, write_shard
from sparsemill.study.models.engines import MilvusEngine, OpenSearchEngine

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


def test_milvus_finds_the_same(real: RealVectors, expected: Found, tmp_path: Path) -> None:
    """Ties at the end of the list are broken in an order of its own."""
    pytest.importorskip("milvus_lite")
    documents, queries = (quantise(matrix, IMPACT).astype(np.float32) for matrix in (real.documents, real.queries))
    write_shard(tmp_path, Shard(real.ids, documents))
    (tmp_path / "index").mkdir()
    spec = MilvusEngine(kind="milvus").model_dump()
    name = index_name("test", "indexes/real/fixed/dl/milvus", "1")
    options = {"vocabulary": real.vocabulary, "name": name, "spec": spec, "connection": spec}
    build_cluster(tmp_path / "index", [tmp_path], **options)
    index = MilvusIndex(tmp_path / "index", spec)
    found = index.search(queries, DEPTH)
    index.close()
    check_but_for_ties(found, expected)


def check_but_for_ties(found: Found, expected: Found) -> None:
    """The same scores at every rank, and the same documents but for those that tie with the last."""
    for ours, theirs in zip(found, expected, strict=True):
        assert [hit.score for hit in ours] == [hit.score for hit in theirs]
        last = theirs[-1].score if theirs else 0
        assert {hit for hit in ours if hit.score > last} == {hit for hit in theirs if hit.score > last}


def test_opensearch_finds_the_same_in_nine_bits(real: RealVectors, tmp_path: Path) -> None:
    """FeatureField keeps nine significant bits of a document's weight; a query's may be 64 at most."""
    pytest.importorskip("opensearchpy")
    documents, queries = real.documents.copy(), real.queries[::4]
    documents.data = (documents.data.view(np.int32) >> 15 << 15).view(np.float32)
    write_shard(tmp_path, Shard(real.ids, documents))
    scores = (queries.astype(np.float64) @ documents.T.astype(np.float64)).toarray()
    (tmp_path / "index").mkdir()
    with running(Cluster()) as address:
        spec = OpenSearchEngine(kind="opensearch", address=address).model_dump()
        name = index_name("test", "indexes/real/fixed/dl/os", "1")
        options = {"vocabulary": real.vocabulary, "name": name, "spec": spec, "connection": spec}
        build_cluster(tmp_path / "index", [tmp_path], **options)
        found = open_cluster(tmp_path / "index", spec, spec).search(queries, DEPTH)
    for row, hits in zip(scores, found, strict=True):
        best = np.sort(row[row > 0])[::-1][:DEPTH]
        np.testing.assert_allclose([hit.score for hit in hits], best, rtol=1e-5)
        place = {name: number for number, name in enumerate(real.ids)}
        np.testing.assert_allclose([row[place[hit.doc_id]] for hit in hits], best, rtol=1e-5)


def test_seismic_finds_nearly_all_of_the_best(real: RealVectors, expected: Found, tmp_path: Path) -> None:
    write_shard(tmp_path, Shard(real.ids, quantise(real.documents, IMPACT).astype(np.float32)))
    (tmp_path / "index").mkdir()
    build_seismic(tmp_path / "index", [tmp_path], {"n_postings": 300, "centroid_fraction": 0.1, "summary_energy": 0.4})
    queries = quantise(real.queries, IMPACT).astype(np.float32)
    found = SeismicIndex(tmp_path / "index", query_cut=100, heap_factor=0.1).search(queries, 10)
    assert recall(found, [hits[:10] for hits in expected]) >= 0.98
