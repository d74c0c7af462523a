"""OpenSearch on real text: a fake that scores with Lucene's FeatureField ranks as the exact engine does."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from fake_opensearch import Cluster, running
from ingested import build, entry
from scipy import sparse
from sparse_texts import real_vectors
from two_phase_oracle import search_two_phase

from sparsemill.errors import UserError
from sparsemill.retrieval.clusters import open_cluster
from sparsemill.retrieval.exact import ExactIndex, build_exact
from sparsemill.retrieval.two_phase import Found, TwoPhase
from sparsemill.retrieval.vectors import Shard, read_shard, write_shard

pytest.importorskip("opensearchpy")


class World(NamedTuple):
    """A real collection in the fake and in the exact engine."""

    address: str
    folder: Path
    queries: Any
    documents: Any
    exact: list[list[Any]]
    cut: list[list[Any]]


@contextmanager
def served(shared: Path, folder: Path, collection: str) -> Iterator[World]:
    shards, words, queries, documents = real_vectors(shared, folder, collection, queries=12)
    with running(Cluster()) as address:
        spec = entry(address)
        statistics = build(folder / "index", shards, spec, words=words)
        for name, part in (("exact", None), ("cut", feature_values)):
            places = shards if part is None else [rewritten(shard, folder / f"cut-{shard.name}") for shard in shards]
            (folder / name).mkdir()
            assert build_exact(folder / name, places) == statistics
        found = [ExactIndex(folder / name).search(queries, 1000) for name in ("exact", "cut")]
        yield World(address, folder, queries, documents, *found)


@pytest.fixture(scope="module")
def world(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with served(shared, tmp_path_factory.mktemp("world"), "cranfield") as found:
        yield found


def feature_values(weights: np.ndarray) -> np.ndarray:
    """What FeatureField keeps of float32 weights: sign, exponent and 8 bits, nine significant bits in all."""
    return (weights.view(np.int32) >> 15 << 15).view(np.float32)


def rewritten(shard: Path, folder: Path) -> Path:
    ids, matrix = read_shard(shard)
    matrix.data = feature_values(matrix.data)
    folder.mkdir()
    write_shard(folder, Shard(ids, matrix))
    return folder


def check_ranking(found: list[Any], expected: list[Any], *, tolerance: float = 2e-6) -> None:
    """Equal scores rank by rank, and the same documents where scores are not tied with the last one."""
    np.testing.assert_allclose([hit.score for hit in found], [hit.score for hit in expected], rtol=tolerance)
    last = expected[-1].score * (1 + tolerance)
    assert {hit.doc_id for hit in expected if hit.score > last} <= {hit.doc_id for hit in found}


def test_scores_are_the_exact_engines_up_to_nine_significant_bits(world: World) -> None:
    check_nine_bits(world)


@pytest.mark.parametrize("collection", ["scifact", "nfcorpus"])
def test_so_they_are_on_other_collections(shared: Path, tmp_path: Path, collection: str) -> None:
    with served(shared, tmp_path, collection) as other:
        check_nine_bits(other)


def check_nine_bits(world: World) -> None:
    found = open_cluster(world.folder / "index", entry(world.address), entry(world.address)).search(world.queries, 1000)
    for theirs, cut, exact in zip(found, world.cut, world.exact, strict=True):
        assert len(theirs) == len(exact) > 500
        # The very ranking of vectors cut to nine bits ...
        check_ranking(theirs, cut)
        # ... and of the vectors themselves within the 2^-8 that the cut takes at most.
        scores = {hit.doc_id: hit.score for hit in exact}
        for hit in theirs:
            full = scores.get(hit.doc_id, exact[-1].score)
            assert hit.score <= full * (1 + 1e-6)
            assert hit.doc_id not in scores or hit.score >= full * (1 - 2**-8 - 1e-6)


def test_equal_scores_are_in_the_order_of_the_corpus(world: World) -> None:
    frequent = int(world.documents.getnnz(axis=0).argmax())
    ones = sparse.csr_matrix((np.float32([1.0]), ([0], [frequent])), shape=(1, world.queries.shape[1]))
    (found,) = open_cluster(world.folder / "index", entry(world.address), entry(world.address)).search(ones, 1000)
    (expected,) = ExactIndex(world.folder / "cut").search(ones, 1000)
    assert len({hit.score for hit in found}) < len(found)
    assert found == expected


def test_two_phases_are_those_of_the_pure_function(world: World) -> None:
    settings = TwoPhase(prune_ratio=0.6, expansion_rate=2.0, max_window_size=200)
    spec = entry(world.address, query="two_phase", two_phase=settings._asdict())
    found = open_cluster(world.folder / "index", spec, spec).search(world.queries, 100)
    documents = world.documents.copy()
    documents.data = feature_values(documents.data)
    index = ExactIndex(world.folder / "cut")
    numbers = {doc_id: number for number, doc_id in enumerate((world.folder / "cut" / "ids.txt").read_text().split())}

    def first(queries: Any, window: int) -> list[Found]:
        hits = index.search(queries, window)
        places = [np.array([numbers[hit.doc_id] for hit in one]) for one in hits]
        return [Found(place, np.float32([hit.score for hit in one])) for place, one in zip(places, hits, strict=True)]

    def rescore(query: Any, kept: np.ndarray) -> np.ndarray:
        return (query @ documents[kept].T).toarray()[0]

    expected = search_two_phase(world.queries, 100, settings, first=first, rescore=rescore)
    for theirs, ours in zip(found, expected, strict=True):
        np.testing.assert_allclose([hit.score for hit in theirs], ours.scores, rtol=2e-6)
    assert found != [hits[:100] for hits in world.cut]
    with pytest.raises(UserError, match="101 documents x expansion_rate 2 are more than max_window_size 200"):
        open_cluster(world.folder / "index", spec, spec).search(world.queries, 101)
