"""OpenSearch at the level of its protocol: ingest, retries, connections and requests, checked by a fake."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_opensearch import Cluster, running
from ingested import IDS, NAME, VECTORS, build, entry
from pydantic import ValidationError
from scipy import sparse

from sparsemill.errors import UserError
from sparsemill.retrieval import opensearch_build, opensearch_client
from sparsemill.retrieval.clusters import index_name, open_cluster
from sparsemill.retrieval.opensearch import OpenSearchIndex
from sparsemill.retrieval.opensearch_client import Connection
from sparsemill.retrieval.vectors import Shard, write_shard
from sparsemill.serving.load import Burst, Target, send

pytest.importorskip("opensearchpy")


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


def test_a_build_that_was_cut_short_while_it_merged_is_finished(
    cluster: Cluster, shard: Path, tmp_path: Path, slept: list[float]
) -> None:
    with running(cluster) as address:
        spec = entry(address)
        for broken in (("POST", "_forcemerge"), ("PUT", "_settings")):
            cluster.failures.append((*broken, 500))
            with pytest.raises(UserError, match="answered 500"):
                build(tmp_path / "index", [shard], spec)
        cluster.failures.append(("POST", "_forcemerge", 504))  # of a proxy that waits less long than a merge takes
        assert build(tmp_path / "index", [shard], spec) == (4, 6)
    assert cluster.bulks == [IDS]
    assert slept == [0.5]
    assert cluster.indexes[str(NAME)].merged_to == 1
    assert cluster.indexes[str(NAME)].settings["refresh_interval"] is None


def test_requests_whose_answers_are_lost_are_done_once(
    cluster: Cluster, shard: Path, tmp_path: Path, slept: list[float]
) -> None:
    older = index_name("test", "indexes/Ours/seed-0/x/os", "older")
    with running(cluster) as address:
        spec = entry(address)
        build(tmp_path / "index", [shard], spec, name=older)
        cluster.lost.extend([("PUT", str(NAME), 503), ("POST", "_bulk", 504), ("DELETE", str(older), 504)])
        assert build(tmp_path / "index", [shard], spec) == (4, 6)
    assert set(cluster.indexes) == {str(NAME)}
    assert not cluster.lost
    assert slept == [0.5, 0.5, 0.5]


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


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("http://search", "http://search:9200"),
        ("https://search/os/", "https://search:443/os"),
        ("http://search:80/os", "http://search:80/os"),
    ],
)
def test_load_is_sent_where_searches_are(
    monkeypatch: pytest.MonkeyPatch, shard: Path, tmp_path: Path, address: str, url: str
) -> None:
    with running(Cluster()) as other:
        build(tmp_path / "index", [shard], entry(other))
    asked: list[str] = []

    def answer(self: Connection, request: Any, **_: Any) -> bool:
        node = self._client.transport.get_connection()
        asked.append(node.host + node.url_prefix)
        return True

    monkeypatch.setattr(Connection, "call", answer)
    index = OpenSearchIndex(tmp_path / "index", entry(address), entry(address))
    target = index.target(sparse.csr_matrix(np.eye(4, dtype=np.float32)), 1)
    assert set(asked) == {url}
    assert target["urls"][0].startswith(f"{url}/{NAME}/_search?")


@pytest.mark.parametrize("password", ["geh:é im", "密码"])
def test_a_password_may_have_any_letters(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    monkeypatch.setenv("OPENSEARCH_USER", "admin")
    monkeypatch.setenv("OPENSEARCH_PASSWORD", password)
    with running(Cluster(password=password)) as address:
        assert Connection(entry(address)).call(lambda client: client.info())["cluster_name"] == "fake"


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_file_without_certificates_is_named(shard: Path, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "authority.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"^{path}: cannot be read as certificates"):
        build(tmp_path / "index", [shard], entry("https://127.0.0.1:9", ca_file=str(path)))
    with pytest.raises(UserError, match="no OpenSearch answers there"):
        build(tmp_path / "index", [shard], entry("https://127.0.0.1:9", ca_file=str(path), verify=False))


def test_certificates_are_checked_unless_the_config_says_otherwise() -> None:
    assert entry("https://x")["verify"] is True
    with pytest.raises(ValidationError, match="should match pattern"):
        entry("https://user:password@x")
    with pytest.raises(ValidationError, match="query: ann does not go with field: rank_features"):
        entry("http://x", query="ann")


# --- search ------------------------------------------------------------------------------------------------------


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
        spec = entry(address, query="two_phase", ca_file="authority.pem", verify=False)
        build(tmp_path / "index", [shard], spec)
        target = open_cluster(tmp_path / "index", spec, spec).target(queries, 10)
        request = Target(**target | {"bodies": [body.encode() for body in target["bodies"]]})
        before = len(cluster.log)
        served = asyncio.run(send(request, Burst(clients=2, requests=6, seconds=30)))
        assert len(served.milliseconds) == len(cluster.log) - before - 2 == 6  # each client warms up once
    assert len(target["bodies"]) == 2
    assert (request.ca_file, request.verify) == ("authority.pem", False)
