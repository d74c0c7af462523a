"""A small OpenSearch on 127.0.0.1: the requests of its published API that the engine sends, checked and answered.

`rank_features` are Lucene's FeatureField and `neural_sparse` is a BooleanQuery of its linear queries, as in OpenSearch
(its RankFeaturesFieldMapper and its plugin neural-search); the second phase is Lucene's QueryRescorer. What the
documentation of version 3.3 does not allow is answered as OpenSearch answers, with an error.
"""

import base64
import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from fake_index import LUCENE, Index, Refused, demand, failed, linear

from sparsemill.retrieval.jvm import java

RESULT_WINDOW = 10_000


class Cluster:
    """State of the fake.

    Attributes:
        failures: (method, part of the path, status) of requests that will fail, each once, in order.
        lost: (method, part of the path, status) of requests that will be done and answered so, likewise.
        rejections: ids that the next bulk requests reject.
        log: method and path of every request.
        bulks: ids of every bulk request.
    """

    def __init__(self, password: str | None = None) -> None:
        self.indexes: dict[str, Index] = {}
        self.pipelines: dict[str, dict[str, Any]] = {}
        self.failures: deque[tuple[str, str, int]] = deque()
        self.lost: deque[tuple[str, str, int]] = deque()
        self.rejections: deque[set[str]] = deque()
        self.password = password
        self.log: list[str] = []
        self.bulks: list[list[str]] = []

    def answer(self, method: str, path: str, query: dict[str, str], text: str) -> Any:
        done = self.carry_out(method, path, query, text)
        if self.lost and self.lost[0][0] == method and self.lost[0][1] in path:
            raise Refused(self.lost.popleft()[2], "timeout_exception", "the answer came too late")
        return done

    def carry_out(self, method: str, path: str, query: dict[str, str], text: str) -> Any:
        self.log.append(f"{method} {path}")
        if self.failures and self.failures[0][0] == method and self.failures[0][1] in path:
            raise Refused(self.failures.popleft()[2], "circuit_breaking_exception", "too busy")
        parts = [unquote(part) for part in path.strip("/").split("/") if part]
        match method, parts:
            case "GET", []:
                return {"version": {"number": "3.3.0", "distribution": "opensearch"}, "cluster_name": "fake"}
            case "PUT", ["_search", "pipeline", name]:
                return self.put_pipeline(name, json.loads(text))
            case "PUT", [name]:
                demand(name not in self.indexes, f"index [{name}] exists", "resource_already_exists_exception")
                self.indexes[name] = Index(name, json.loads(text))
                return {"acknowledged": True, "shards_acknowledged": True, "index": name}
            case "HEAD", [name]:
                return self.index(name) and None
            case "GET", [pattern]:
                demand(pattern.endswith("*"), "only patterns here")
                return {name: {} for name in self.indexes if name.startswith(pattern[:-1])}
            case "DELETE", [name]:
                del self.indexes[self.index(name) and name]
                return {"acknowledged": True}
            case "POST", [name, "_bulk"]:
                return self.bulk(self.index(name), text)
            case "POST", [name, "_refresh"]:
                self.index(name).refresh()
                return {"_shards": {"total": 1, "successful": 1, "failed": 0}}
            case "POST", [name, "_forcemerge"]:
                demand(set(query) <= {"max_num_segments"}, f"unrecognized parameter {sorted(query)}")
                self.index(name).merged_to = int(query["max_num_segments"])
                return {"_shards": {"total": 1, "successful": 1, "failed": 0}}
            case "PUT", [name, "_settings"]:
                self.index(name).settings |= json.loads(text)["index"]
                return {"acknowledged": True}
            case "POST", [name, "_search"]:
                return self.search(self.index(name), query, json.loads(text))
        raise Refused(400, "illegal_argument_exception", f"no handler found for uri [{path}] and method [{method}]")

    def index(self, name: str) -> Index:
        if name not in self.indexes:
            raise Refused(404, "index_not_found_exception", f"no such index [{name}]")
        return self.indexes[name]

    def put_pipeline(self, name: str, body: dict[str, Any]) -> Any:
        (processor,) = body["request_processors"]
        settings = processor["neural_sparse_two_phase_processor"]["two_phase_parameter"]
        demand(set(settings) <= {"prune_ratio", "expansion_rate", "max_window_size"}, "unknown parameter")
        demand(0 <= settings["prune_ratio"] < 1, "Illegal prune_ratio")
        demand(settings["expansion_rate"] >= 1, "expansion_rate must >= 1.0")
        demand(settings["max_window_size"] >= 50, "max_window_size must >= 50")
        self.pipelines[name] = settings
        return {"acknowledged": True}

    def bulk(self, index: Index, text: str) -> Any:
        demand(text.endswith("\n"), "The bulk request must be terminated by a newline [\\n]")
        lines = [json.loads(line) for line in text.splitlines()]
        rejected = self.rejections.popleft() if self.rejections else set()
        items = []
        for action, source in zip(lines[::2], lines[1::2], strict=True):
            demand(set(action) == {"create"} and set(action["create"]) == {"_id"}, "Malformed action/metadata line")
            doc_id = action["create"]["_id"]
            full = failed(429, "opensearch_rejected_execution_exception", "rejected execution")
            items.append({"create": full if doc_id in rejected else index.create(doc_id, source)})
        self.bulks.append([action["create"]["_id"] for action in lines[::2]])
        return {"took": 1, "errors": any("error" in item["create"] for item in items), "items": items}

    def search(self, index: Index, query: dict[str, str], body: dict[str, Any]) -> Any:
        known = {"allow_partial_search_results", "search_pipeline"}
        demand(set(query) <= known, f"unrecognized parameter {sorted(query)}")
        known = {"size", "_source", "track_total_hits", "query", "aggs"}
        demand(set(body) <= known, f"unknown key in {sorted(body)}", "parsing_exception")
        demand(0 <= body["size"] <= RESULT_WINDOW, "Result window is too large")
        answer: dict[str, Any] = {"took": 1, "timed_out": False, "_shards": {"total": 1, "failed": 0}}
        if "aggs" in body:
            (name, aggregation), *_ = body["aggs"].items()
            field = aggregation["sum"]["field"]
            demand(index.properties[field]["type"] in ("integer", "long"), "cannot be aggregated")
            total = {"value": len(index.visible), "relation": "eq"}
            value = float(sum(source[field] for _, source in index.visible))
            return answer | {"hits": {"total": total, "hits": []}, "aggregations": {name: {"value": value}}}
        if body["query"] == {"match_none": {}}:
            return answer | {"hits": {"hits": [], "max_score": None}}
        (kind, fields), *more = body["query"].items()
        demand(kind == "neural_sparse" and not more, f"unknown query [{kind}]", "parsing_exception")
        ((field, inner),) = fields.items()
        demand(set(inner) <= {"query_tokens", "method_parameters"}, "query does not support this field")
        two_phase = self.pipelines[query["search_pipeline"]] if "search_pipeline" in query else None
        found = self.neural_sparse(index, field, inner, body["size"], two_phase)
        hits = [{"_index": "i", "_id": index.visible[number][0], "_score": score} for number, score in found]
        return answer | {"hits": {"hits": hits, "max_score": hits[0]["_score"] if hits else None}}

    def neural_sparse(
        self, index: Index, field: str, inner: dict[str, Any], size: int, two_phase: dict[str, Any] | None
    ) -> list[tuple[int, float]]:
        tokens, mapping = inner["query_tokens"], index.properties[field]
        demand(tokens and all(isinstance(weight, float | int) for weight in tokens.values()), "no query_tokens")
        if mapping["type"] == "sparse_vector":
            demand(two_phase is None, "Two phase search processor is not compatible with [seismic] field for now")
            demand(set(inner["method_parameters"]) <= {"k", "top_n", "heap_factor", "filter"}, "unknown field")
            demand(all(token.isdecimal() for token in tokens), "Query tokens should be valid integer")
            # Below the threshold a segment is searched as one of rank_features; above it this fake knows no answer.
            threshold = mapping["method"]["parameters"].get("approximate_threshold", 1_000_000)
            demand(len(index.visible) < threshold, "not implemented")
        else:
            demand(mapping["type"] == "rank_features", "[neural_sparse] query only works on [rank_features] fields")
            demand("method_parameters" not in inner, "method_parameters only works on [sparse_vector] fields")
        if not index.visible:
            return []
        searcher = index.open()
        if two_phase is None:
            top = searcher.search(linear(tokens), size)
        else:
            window = int(np.float32(size) * np.float32(two_phase["expansion_rate"]))
            demand(window <= two_phase["max_window_size"], f"window size should be less, but get the value of {window}")
            cut = np.float32(two_phase["prune_ratio"]) * np.float32(max(tokens.values()))
            high = {token: weight for token, weight in tokens.items() if np.float32(weight) >= cut}
            low = {token: weight for token, weight in tokens.items() if token not in high}
            top = searcher.search(linear(high), window)
            top = java(f"{LUCENE}.search.QueryRescorer").rescore(searcher, top, linear(low), 1.0, window)
        # All hits in one call, as JSON; object by object costs more than the search.
        found = json.loads(java("com.fasterxml.jackson.databind.ObjectMapper")().writeValueAsString(top))["scoreDocs"]
        return [(hit["doc"], float(np.float32(hit["score"]))) for hit in found[:size]]


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            address = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(address.query, keep_blank_values=True).items()}
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            try:
                self._check(text)
                status, body = 200, cluster.answer(self.command, address.path, query, text)
            except Refused as refused:
                status, body = refused.status, refused.body
            payload = b"" if self.command == "HEAD" else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def _check(self, text: str) -> None:
            if cluster.password is not None:
                expected = "Basic " + base64.b64encode(f"admin:{cluster.password}".encode()).decode()
                if self.headers.get("Authorization") != expected:
                    raise Refused(401, "security_exception", "Unauthorized")
            kind = self.headers.get("Content-Type", "").split(";")[0]
            demand(not text or kind in ("application/json", "application/x-ndjson"), f"Content-Type [{kind}]")

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 (http.server calls them so)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    return Handler


@contextmanager
def running(cluster: Cluster) -> Iterator[str]:
    """Serve in one thread, since Java is called from it; yields the address."""

    def serve() -> None:
        server.serve_forever(poll_interval=0.05)
        import jnius

        jnius.detach()

    server = HTTPServer(("127.0.0.1", 0), _handler(cluster))
    thread = threading.Thread(target=serve)
    java("java.lang.Object")  # started by the main thread
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
