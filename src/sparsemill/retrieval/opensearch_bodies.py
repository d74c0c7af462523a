"""Request bodies of OpenSearch, as its documentation of version 3.3 has them; each function names the page.

Documents have four parts: the id (`_id`), `vector`, `position` in the corpus and the number of `tokens`, which sum up
to the postings, since a `rank_features` field cannot be aggregated.

`rank_features` ("Rank field types") keeps positive weights with nine significant bits: 2^-8 of a weight at most is cut
off, never added. Tokens are names there; OpenSearch takes them as they are, also with dots (Elasticsearch does not).
`sparse_vector` ("Sparse vector", from 3.3) has whole numbers for tokens, kept modulo 65,536.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sparsemill.errors import UserError
from sparsemill.retrieval.vectors import Shard

VECTOR, POSITION, TOKENS = "vector", "position", "tokens"
LARGEST_QUERY_WEIGHT = 64.0
"""Of a linear query on Lucene's FeatureField, which `neural_sparse` becomes."""
_LONGEST_ID = 512
_TOKEN_NUMBERS = 65_536

Body = dict[str, Any]


def feature_names(field: str, vocabulary: Sequence[str]) -> list[str]:
    """Key of each token in documents and queries.

    Raises:
        UserError: more tokens than `sparse_vector` can tell apart.
    """
    if field == "rank_features":
        return list(vocabulary)
    if len(vocabulary) > _TOKEN_NUMBERS:
        raise UserError(
            f"sparse_vector tells {_TOKEN_NUMBERS} tokens apart, the vocabulary has {len(vocabulary)}; "
            "take field: rank_features"
        )
    return [str(number) for number in range(len(vocabulary))]


def index_body(spec: Mapping[str, Any]) -> Body:
    """Body of "Create index".

    `rank_features`: "Neural sparse search using raw vectors", with "Index sorting" by the place in the corpus, which
    orders ties. `sparse_vector`: "Neural sparse ANN search".
    """
    index: Body = {
        "number_of_shards": spec["shards"],
        "number_of_replicas": spec["replicas"],
        "refresh_interval": "-1",
    }
    mappings: Body = {"dynamic": "strict", "properties": {POSITION: {"type": "long"}, TOKENS: {"type": "integer"}}}
    if spec["field"] == "rank_features":
        index |= {"sort.field": POSITION, "sort.order": "asc"}
        mappings["_source"] = {"excludes": [VECTOR]}
        mappings["properties"][VECTOR] = {"type": "rank_features"}
    else:
        parameters = {key: value for key, value in spec["seismic"].items() if value is not None}
        index["sparse"] = True
        method = {"name": "seismic", "parameters": parameters}
        mappings["properties"][VECTOR] = {"type": "sparse_vector", "method": method}
    return {"settings": {"index": index}, "mappings": mappings}


def bulk_lines(shard: Shard, first: int, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Id and two lines of "Bulk API" per document: `create` fails where the id is there, so nothing is sent twice.

    Nine digits bring every float32 weight over unchanged.

    Args:
        shard: without stored zeros.
        first: place of its first document in the corpus.
        names: see `feature_names`.

    Raises:
        UserError: an id is empty or too long.
    """
    keys = [f"{json.dumps(name)}:" for name in names]
    bounds, columns, weights = (
        part.tolist() for part in (shard.matrix.indptr, shard.matrix.indices, shard.matrix.data)
    )
    for row, doc_id in enumerate(shard.ids):
        if not 0 < len(doc_id.encode()) <= _LONGEST_ID:
            raise UserError(f"document {doc_id[:40]!r}: OpenSearch takes ids of 1 to {_LONGEST_ID} bytes")
        span = slice(bounds[row], bounds[row + 1])
        pairs = zip(columns[span], weights[span], strict=True)
        vector = ",".join([f"{keys[column]}{weight:.9g}" for column, weight in pairs])
        counts = f'"{POSITION}":{first + row},"{TOKENS}":{span.stop - span.start}'
        yield doc_id, f'{{"create":{{"_id":{json.dumps(doc_id)}}}}}\n{{{counts},"{VECTOR}":{{{vector}}}}}\n'


def statistics_body() -> Body:
    """Body of "Search" with a "Sum aggregation" over the documents' numbers of tokens."""
    return {"size": 0, "track_total_hits": True, "aggs": {"postings": {"sum": {"field": TOKENS}}}}


def pipeline_body(two_phase: Mapping[str, Any]) -> Body:
    """Body of "Neural sparse query two-phase processor" (from 2.15)."""
    return {"request_processors": [{"neural_sparse_two_phase_processor": {"two_phase_parameter": dict(two_phase)}}]}


def query_body(tokens: Mapping[str, float], k: int, *, ann: Mapping[str, Any] | None = None) -> Body:
    """Body of "Neural sparse query" by raw vectors.

    Args:
        tokens: key -> weight, at least one.
        k: documents.
        ann: `top_n` and `heap_factor` of an approximate query; None: an exact one.

    Raises:
        UserError: a weight is beyond what OpenSearch takes.
    """
    if max(tokens.values()) > LARGEST_QUERY_WEIGHT:
        raise UserError(
            f"a query weight is {max(tokens.values()):g}; OpenSearch takes weights up to {LARGEST_QUERY_WEIGHT:g}"
        )
    query: Body = {"query_tokens": dict(tokens)}
    if ann is not None:
        query["method_parameters"] = {"k": k, **ann}
    return {"size": k, "_source": False, "track_total_hits": False, "query": {"neural_sparse": {VECTOR: query}}}
