"""OpenSearch at the level of its protocol: a fake checks the requests and scores with Lucene's FeatureField."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from fake_opensearch import Cluster, running
from pydantic import ValidationError
from scipy import sparse
from sparse_texts import real_vectors

from sparsemill.errors import UserError
from sparsemill.retrieval import opensearch_build, opensearch_client
from sparsemill.retrieval.clusters import build_cluster, index_name, open_cluster
from sparsemill.retrieval.engine import Statistics
from sparsemill.retrieval.exact import ExactIndex, build_exact
from sparsemill.retrieval.opensearch_bodies import bulk_lines, feature_names, index_body, pipeline_body, query_body
from sparsemill.retrieval.opensearch_build import in_chunks
from sparsemill.retrieval.two_phase import Found, TwoPhase, search_two_phase
from sparsemill.retrieval.vectors import Shard, read_shard, write_shard
from sparsemill.serving.load import Burst, Target, send
from sparsemill.study.models.engines import OpenSearchEngine

pytest.importorskip("opensearchpy")

WORDS = ["a.b", '"', "é", "c"]
VECTORS = sparse.csr_matrix(
    np.array([[1, 0, 0, 0.5], [0, 0, 0, 0], [0, 2, 3, 0], [0, 0, 1, 1]], dtype=np.float32),
)
IDS = ["1", "nothing", "a/b c?*", "é"]
NAME = index_name("test", "indexes/Ours/seed-0/x/os", "one")


def entry(address: str, **keys: Any) -> dict[str, Any]:
    return OpenSearchEngine(kind="opensearch", address=address, retries=3, **keys).model_dump()


def build(
    folder: Path, shards: list[Path], spec: dict[str, Any], *, name: Any = NAME, words: Any = WORDS
) -> Statistics:
    folder.mkdir(exist_ok=True)
    return build_cluster(folder, shards, vocabulary=words, name=name, spec=spec, connection=spec)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    (tmp_path / "shard").mkdir()
    write_shard(tmp_path / "shard", Shard(IDS, VECTORS))
    return tmp_path / "shard"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    for name in ("OPENSEARCH_USER", "OPENSEARCH_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return Cluster()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the client would have waited."""
    waited: list[float] = []
    for module in (opensearch_client, opensearch_build):
        monkeypatch.setattr(module.time, "sleep", waited.append)
    return waited


# --- bodies ------------------------------------------------------------------------------------------------------


def test_bodies_are_those_of_the_documentation() -> None:
    plain = index_body(entry("http://x"))
    assert plain["mappings"]["properties"]["vector"] == {"type": "rank_features"}
    assert plain["settings"]["index"]["sort.field"] == "position"
    seismic = index_body(entry("http://x", field="sparse_vector", query="ann", seismic={"n_postings": 300}))
    assert seismic["settings"]["index"]["sparse"] is True
    assert seismic["mappings"]["properties"]["vector"] == {
        "type": "sparse_vector",
        "method": {
            "name": "seismic",
            "parameters": {
                "n_postings": 300,
                "cluster_ratio": 0.1,
                "summary_prune_ratio": 0.4,
                "approximate_threshold": 1_000_000,
                "quantization_ceiling_ingest": 3.0,
                "quantization_ceiling_search": 16.0,
            },
        },
    }
    assert pipeline_body(entry("http://x")["two_phase"]) == {
        "request_processors": [
            {
                "neural_sparse_two_phase_processor": {
                    "two_phase_parameter": {"prune_ratio": 0.4, "expansion_rate": 5.0, "max_window_size": 10000}
                }
            }
        ]
    }
    assert query_body({"hi": 4.5}, 7)["query"] == {"neural_sparse": {"vector": {"query_tokens": {"hi": 4.5}}}}
    ann = query_body({"10": 4.5}, 7, ann={"top_n": 10, "heap_factor": 1.0})["query"]["neural_sparse"]["vector"]
    assert ann["method_parameters"] == {"k": 7, "top_n": 10, "heap_factor": 1.0}


def test_bulk_lines_bring_every_weight_over_unchanged() -> None:
    random = np.random.default_rng(0)
    matrix = sparse.random(50, 30, density=0.5, format="csr", dtype=np.float32, rng=random)
    matrix.data = (matrix.data * 10.0 ** random.integers(-20, 20, matrix.nnz)).astype(np.float32)
    shard = Shard([f"d{row}" for row in range(50)], matrix)
    names = feature_names("sparse_vector", [""] * 30)
    for row, (doc_id, text) in enumerate(bulk_lines(shard, 100, names)):
        action, source, end = text.split("\n")
        assert (json.loads(action), end) == ({"create": {"_id": doc_id}}, "")
        found = json.loads(source)
        assert (found["position"], found["tokens"]) == (100 + row, len(found["vector"]))
        weights = {int(token): np.float32(weight) for token, weight in found["vector"].items()}
        assert weights == dict(zip(matrix[row].indices.tolist(), matrix[row].data, strict=True))


def test_limits_of_opensearch_are_told_before_it_is_asked() -> None:
    with pytest.raises(UserError, match="a query weight is 65; OpenSearch takes weights up to 64"):
        query_body({"a": 65.0}, 10)
    with pytest.raises(UserError, match="sparse_vector tells 65536 tokens apart, the vocabulary has 65537"):
        feature_names("sparse_vector", [""] * 65_537)
    with pytest.raises(UserError, match="takes ids of 1 to 512 bytes"):
        list(bulk_lines(Shard(["é" * 257], VECTORS[:1]), 0, WORDS))


def test_requests_are_bounded_by_documents_and_by_bytes() -> None:
    lines = [(str(number), "x" * size) for number, size in enumerate([4, 4, 4, 20, 4])]
    ids = [[doc_id for doc_id, _ in chunk] for chunk in in_chunks(lines, documents=2, size=10)]
    assert ids == [["0", "1"], ["2"], ["3"], ["4"]]


def test_names_are_safe_and_differ_where_keys_do() -> None:
    name = str(index_name("sparsemill", "indexes/../Übung*?/Seed-0/" + "x" * 300, "content"))
    assert len(name) <= 150
    assert name.replace("_", "").isalnum()
    assert name == name.lower()
    assert name.isascii()
    assert index_name("a", "Ours", "1").family != index_name("a", "ours", "1").family
    assert index_name("a", "ours", "1").family == index_name("a", "ours", "2").family


# --- ingest ------------------------------------------------------------------------------------------------------


def test_any_token_and_id_comes_back(cluster: Cluster, shard: Path, tmp_path: Path) -> None:
    with running(cluster) as address:
        spec = entry(address)
        assert build(tmp_path / "index", [shard], spec) == (4, 6)
        index = open_cluster(tmp_path / "index", spec, spec)
        assert index.statistics() == (4, 6)
        queries = sparse.csr_matrix(
            np.array([[2, 0, 0, 2], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]], dtype=np.float32)
        )
        found = index.search(queries, 10)
        assert found == [[("1", 3.0), ("é", 2.0)], [("a/b c?*", 2.0)], [], [("a/b c?*", 3.0), ("é", 1.0)]]
        with pytest.raises(UserError, match="queries have 3 columns, but the index has 4 tokens"):
            index.search(queries[:, :3], 10)
    assert cluster.indexes[str(NAME)].merged_to == 1
    assert cluster.indexes[str(NAME)].settings["refresh_interval"] is None


def test_a_second_build_sends_nothing_and_a_broken_one_is_completed(
    cluster: Cluster, shard: Path, tmp_path: Path
) -> None:
    with running(cluster) as address:
        spec = entry(address, bulk_documents=3)
        build(tmp_path / "index", [shard], spec)
        build(tmp_path / "index", [shard], spec)
        assert cluster.bulks == [IDS[:3], IDS[3:]]
        del cluster.indexes[str(NAME)].documents["nothing"]
        assert build(tmp_path / "index", [shard], spec) == (4, 6)
        assert len(cluster.indexes[str(NAME)].documents) == 4


def test_older_versions_are_deleted_and_other_indexes_are_not(cluster: Cluster, shard: Path, tmp_path: Path) -> None:
    newer, other = index_name("test", "indexes/Ours/seed-0/x/os", "two"), index_name("test", "indexes/ours", "one")
    with running(cluster) as address:
        spec = entry(address)
        for name in (NAME, other, newer):
            build(tmp_path / "index", [shard], spec, name=name)
        assert set(cluster.indexes) == {str(newer), str(other)}
        build(tmp_path / "index", [shard], spec, name=NAME)
        open_cluster(tmp_path / "index", spec, spec)
        del cluster.indexes[str(NAME)]
        with pytest.raises(UserError, match=rf"^{address}: there is no index {NAME}; .*--forcerun ingest$"):
            open_cluster(tmp_path / "index", spec, spec)


def test_rejections_are_sent_again_with_growing_waits(
    cluster: Cluster, shard: Path, tmp_path: Path, slept: list[float]
) -> None:
    cluster.failures.extend([("POST", "_bulk", 503), ("POST", "_bulk", 429), ("POST", "_bulk", 502)])
    cluster.rejections.extend([{"1", "é"}, {"é"}])
    with running(cluster) as address:
        assert build(tmp_path / "index", [shard], entry(address)) == (4, 6)
    assert cluster.bulks == [IDS, ["1", "é"], ["é"]]
    assert slept == [0.5, 1.0, 2.0, 0.5, 1.0]


def test_a_cluster_that_stays_busy_ends_in_one_line(
    cluster: Cluster, shard: Path, tmp_path: Path, slept: list[float]
) -> None:
    cluster.rejections.extend([{"é"}] * 4)
    with running(cluster) as address:
        with pytest.raises(UserError, match="1 documents are still rejected after 3 tries"):
            build(tmp_path / "index", [shard], entry(address))
        cluster.failures.extend([("POST", "_bulk", 503)] * 4)
        with pytest.raises(UserError, match=r"answered 503: too busy$"):
            build(tmp_path / "index", [shard], entry(address))
    assert not (tmp_path / "index" / "cluster.json").exists()


def test_what_the_server_refuses_is_told_in_its_words(cluster: Cluster, shard: Path, tmp_path: Path) -> None:
    broken = entry("http://127.0.0.1:1", field="sparse_vector", query="ann")
    broken["seismic"]["cluster_ratio"] = 2.0
    told = r"answered 400: invalid parameter \[cluster_ratio\]: 2\.0$"
    with running(cluster) as address, pytest.raises(UserError, match=told):
        build(tmp_path / "index", [shard], broken | {"address": address})


# --- connection --------------------------------------------------------------------------------------------------


def test_a_cluster_that_is_down_is_told_in_one_line(shard: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^http://127\.0\.0\.1:9: no OpenSearch answers there; start it, or correct"):
        build(tmp_path / "index", [shard], entry("http://127.0.0.1:9"))


def test_credentials_come_from_the_environment(shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(Cluster(password="secret")) as address:
        spec = entry(address, credentials="MINE")
        monkeypatch.setenv("MINE_USER", "admin")
        with pytest.raises(UserError, match="of MINE_USER and MINE_PASSWORD only one is set"):
            build(tmp_path / "index", [shard], spec)
        monkeypatch.setenv("MINE_PASSWORD", "wrong")
        with pytest.raises(UserError, match=r"answered 401: Unauthorized$"):
            build(tmp_path / "index", [shard], spec)
        monkeypatch.setenv("MINE_PASSWORD", "secret")
        assert build(tmp_path / "index", [shard], spec) == (4, 6)
    for path in (tmp_path / "index").rglob("*"):
        assert "secret" not in path.read_text()
    with pytest.raises(UserError, match="a password is sent over https only"):
        build(tmp_path / "index", [shard], entry("http://search.example:9200", credentials="MINE"))


def test_certificates_are_checked_unless_the_config_says_otherwise() -> None:
    assert entry("https://x")["verify"] is True
    with pytest.raises(ValidationError, match="should match pattern"):
        entry("https://user:password@x")
    with pytest.raises(ValidationError, match="query: ann does not go with field: rank_features"):
        entry("http://x", query="ann")


# --- search of real text -----------------------------------------------------------------------------------------


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


def test_an_approximate_query_on_a_small_segment_is_exact(cluster: Cluster, shard: Path, tmp_path: Path) -> None:
    with running(cluster) as address:
        spec = entry(address, field="sparse_vector", query="ann")
        assert build(tmp_path / "index", [shard], spec) == (4, 6)
        queries = sparse.csr_matrix(np.array([[2, 0, 0, 2]], dtype=np.float32))
        assert open_cluster(tmp_path / "index", spec, spec).search(queries, 10) == [[("1", 3.0), ("é", 2.0)]]
    assert set(cluster.indexes[str(NAME)].documents["1"]["vector"]) == {"0", "3"}


def test_a_load_generator_gets_the_requests_of_search(
    cluster: Cluster, shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = sparse.csr_matrix(np.array([[2, 0, 0, 2], [0, 0, 0, 0], [0, 1, 0, 0]], dtype=np.float32))
    cluster.password = "secret"
    monkeypatch.setenv("OPENSEARCH_USER", "admin")
    monkeypatch.setenv("OPENSEARCH_PASSWORD", "secret")
    with running(cluster) as address:
        spec = entry(address, query="two_phase")
        build(tmp_path / "index", [shard], spec)
        target = open_cluster(tmp_path / "index", spec, spec).target(queries, 10)
        request = Target(**target | {"bodies": [body.encode() for body in target["bodies"]]})
        before = len(cluster.log)
        served = asyncio.run(send(request, Burst(clients=2, requests=6, seconds=30)))
        assert len(served.milliseconds) == len(cluster.log) - before == 6
    assert len(target["bodies"]) == 2
