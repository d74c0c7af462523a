"""What OpenSearch is sent: bodies, lines of documents, their bounds, and names of indexes."""

import json

import numpy as np
import pytest
from ingested import VECTORS, WORDS, entry
from scipy import sparse

from sparsemill.errors import UserError
from sparsemill.retrieval.clusters import index_name
from sparsemill.retrieval.opensearch_bodies import bulk_lines, feature_names, index_body, pipeline_body, query_body
from sparsemill.retrieval.opensearch_build import in_chunks
from sparsemill.retrieval.vectors import Shard

pytest.importorskip("opensearchpy")


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
