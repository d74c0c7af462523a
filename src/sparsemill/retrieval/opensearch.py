"""Search in OpenSearch: exact, two-phase and approximate `neural_sparse` queries with the tokens' weights."""

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sparsemill.errors import UserError
from sparsemill.files import canonical_json, text_hash
from sparsemill.retrieval.clusters import check_width, missing_index, read_description
from sparsemill.retrieval.engine import Statistics
from sparsemill.retrieval.opensearch_bodies import feature_names, pipeline_body, query_body
from sparsemill.retrieval.opensearch_build import count
from sparsemill.retrieval.opensearch_client import Connection
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.two_phase import TwoPhase, window_size


class OpenSearchIndex:
    """An OpenSearch index open for search; queries are CSR [queries, vocabulary] of float weights.

    One request per query; several threads may search at once. Scores are those of OpenSearch, whose `rank_features`
    weights have nine significant bits. Ties are in the order of the corpus within a shard.

    Args:
        folder: what `build_opensearch` filled.
        spec: `query` (exact, two_phase or ann), and `two_phase` and `ann` with its parameters.
        connection: see `Connection`.

    Raises:
        UserError: the cluster cannot be reached, or the index is not there.
    """

    def __init__(self, folder: Path, spec: Mapping[str, Any], connection: Mapping[str, Any]) -> None:
        described = read_description(folder, "opensearch")
        self._index: str = described["index"]
        self._names = feature_names(described["field"], described["vocabulary"])
        self._connection = Connection(connection)
        if not self._connection.call(lambda client: client.indices.exists(index=self._index)):
            raise missing_index(self._index, self._connection.address)
        self._two_phase: TwoPhase | None = None
        self._ann: Mapping[str, Any] | None = spec["ann"] if spec["query"] == "ann" else None
        # Never the results of some shards only.
        self._options: dict[str, Any] = {"allow_partial_search_results": "false"}
        if spec["query"] == "two_phase":
            self._two_phase = TwoPhase(**spec["two_phase"])
            self._options["search_pipeline"] = self._make_pipeline(spec["two_phase"], connection["prefix"])

    def _make_pipeline(self, two_phase: Mapping[str, Any], prefix: str) -> str:
        """Put the search pipeline; putting the same one again changes nothing."""
        body = pipeline_body(two_phase)
        name = f"{prefix}_two_phase_{text_hash(canonical_json(body))}"
        self._connection.call(lambda client: client.search_pipeline.put(id=name, body=body))
        return name

    def search(self, queries: Any, k: int) -> list[list[Hit]]:
        """The k best documents of each row; see `Engine.search`.

        Raises:
            UserError: the matrix has another vocabulary size than the index, a weight is above 64, or the cluster
                refuses.
        """
        return [[] if body is None else self._search(body) for body in self._bodies(queries, k)]

    def _bodies(self, queries: Any, k: int) -> Iterator[dict[str, Any] | None]:
        """The request of each row; None for a row without tokens."""
        check_width(queries, len(self._names))
        if self._two_phase is not None:
            window_size(k, self._two_phase)
        columns, weights = queries.indices.tolist(), queries.data.tolist()
        for start, end in pairwise(queries.indptr.tolist()):
            pairs = zip(columns[start:end], weights[start:end], strict=True)
            tokens = {self._names[column]: weight for column, weight in pairs if weight > 0}
            yield query_body(tokens, k, ann=self._ann) if tokens else None

    def target(self, queries: Any, k: int) -> dict[str, Any]:
        """The requests of `search` for a load generator, which sends them itself.

        Returns:
            Fields of `sparsemill.serving.load.Target`, bodies as text. Queries without tokens are left out. `headers`
            may hold the password: to be handed over, and written nowhere.
        """
        bodies = [json.dumps(body) for body in self._bodies(queries, k) if body is not None]
        url = f"{self._connection.url}/{self._index}/_search?{urlencode(self._options)}"
        # Answers say how long they took, so that they are not repeatable.
        asked = {"urls": [url], "bodies": bodies, "headers": self._connection.headers(), "repeatable": False}
        return asked | self._connection.trust

    def _search(self, body: dict[str, Any]) -> list[Hit]:
        answer = self._connection.call(lambda client: client.search(index=self._index, body=body, params=self._options))
        if answer["timed_out"]:
            raise UserError(f"{self._connection.address}: a search was cut short by a time limit of the cluster")
        return [Hit(hit["_id"], hit["_score"]) for hit in answer["hits"]["hits"]]

    def statistics(self) -> Statistics:
        """Counts of the whole index."""
        return count(self._connection, self._index)
