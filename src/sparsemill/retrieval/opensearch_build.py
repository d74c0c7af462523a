"""Ingest into OpenSearch: bounded bulk requests, sent again after rejections; what is there already is not sent twice.

opensearch-py's own bulk helper waits after 429 only; here 502 to 504 of a request or a single document count too.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sparsemill.errors import UserError
from sparsemill.progress import Progress
from sparsemill.retrieval.clusters import IndexName, Inventory, take_inventory, write_description
from sparsemill.retrieval.engine import Statistics, check_statistics
from sparsemill.retrieval.opensearch_bodies import bulk_lines, feature_names, index_body, statistics_body
from sparsemill.retrieval.opensearch_client import RETRIED, Connection, waits
from sparsemill.retrieval.vectors import read_shards

_EXISTS = 409
_MERGE_SECONDS = 86_400.0

Lines = list[tuple[str, str]]
"""Id and text of each document."""


def in_chunks(lines: Iterable[tuple[str, str]], *, documents: int, size: float) -> Iterator[Lines]:
    """Cut a stream of documents into requests.

    Args:
        lines: id and text of each document.
        documents: in one request, at most.
        size: bytes of one request, at most; a larger document goes alone.
    """
    chunk: Lines = []
    filled = 0
    for doc_id, text in lines:
        length = len(text.encode())
        if chunk and (len(chunk) == documents or filled + length > size):
            yield chunk
            chunk, filled = [], 0
        chunk.append((doc_id, text))
        filled += length
    if chunk:
        yield chunk


def _bulk(client: Any, *, index: str, body: str) -> Any:
    return client.bulk(body=body, index=index)


def _delete(client: Any, *, index: str) -> Any:
    return client.indices.delete(index=index)


def send_chunk(connection: Connection, index: str, chunk: Lines) -> int:
    """Send one bulk request, and again what was rejected for now; returns how many documents were new.

    Raises:
        UserError: a document is refused, or still rejected after the last try.
    """
    created, pending = 0, chunk
    for wait in [*waits(connection.retries), None]:
        request = partial(_bulk, index=index, body="".join([text for _, text in pending]))
        answer = connection.call(request)
        rejected: Lines = []
        for line, item in zip(pending, answer["items"], strict=True):
            result = item["create"]
            if result["status"] in RETRIED:
                rejected.append(line)
            elif result["status"] != _EXISTS and not 200 <= result["status"] < 300:
                told = result.get("error", {}).get("reason", "no reason given")
                raise UserError(f"{connection.address}: document {line[0]!r} is refused: {' '.join(told.split())}")
            else:
                created += result["status"] != _EXISTS
        if not rejected:
            return created
        if wait is not None:
            time.sleep(wait)
        pending = rejected
    raise UserError(
        f"{connection.address}: {len(pending)} documents are still rejected after {connection.retries} tries; "
        "run again when the cluster has less to do, or lower `bulk_documents`"
    )


def count(connection: Connection, index: str) -> Statistics:
    """Documents of an index and their tokens, as of the last refresh.

    Raises:
        UserError: the cluster cannot be reached, or the index is not there.
    """
    answer = connection.call(lambda client: client.search(index=index, body=statistics_body()))
    return Statistics(answer["hits"]["total"]["value"], int(answer["aggregations"]["postings"]["value"]))


def _documents(shards: Sequence[Path], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    first = 0
    for shard in read_shards(shards, vocabulary=len(names)):
        shard.matrix.eliminate_zeros()
        yield from bulk_lines(shard, first, names)
        first += len(shard.ids)


def _ingest(
    connection: Connection, index: str, lines: Iterator[tuple[str, str]], total: int, settings: Mapping[str, Any]
) -> None:
    progress = Progress("ingest", total, unit="doc")
    size = settings["bulk_mib"] * 2**20
    for chunk in in_chunks(lines, documents=settings["bulk_documents"], size=size):
        send_chunk(connection, index, chunk)
        progress.advance(len(chunk))


def _finish(connection: Connection, index: str, segments: int | None) -> None:
    if segments is not None:
        options = {"max_num_segments": segments, "request_timeout": _MERGE_SECONDS}
        connection.call(lambda client: client.indices.forcemerge(index=index, params=options))
    body = {"index": {"refresh_interval": None}}
    connection.call(lambda client: client.indices.put_settings(index=index, body=body))
    connection.call(lambda client: client.indices.refresh(index=index))


def _delete_older(connection: Connection, name: IndexName) -> None:
    pattern = f"{name.family}_*"
    found = connection.call(lambda client: client.indices.get(index=pattern, ignore_unavailable=True))
    for index in found:
        if index != str(name):
            connection.call(partial(_delete, index=index), ignore=(404,))


def _create(connection: Connection, index: str, body: Mapping[str, Any]) -> None:
    def there() -> bool:
        return bool(connection.call(lambda client: client.indices.exists(index=index)))

    if there():
        return
    try:
        connection.call(lambda client: client.indices.create(index=index, body=body))
    except UserError:
        # Where the answer to the first try was lost, the second one is refused.
        if not there():
            raise


def _complete(connection: Connection, index: str, inventory: Inventory) -> bool:
    if not connection.call(lambda client: client.indices.exists(index=index)):
        return False
    connection.call(lambda client: client.indices.refresh(index=index))
    return count(connection, index) == inventory.statistics


def build_opensearch(
    folder: Path,
    shards: Sequence[Path],
    *,
    vocabulary: Sequence[str],
    name: IndexName,
    spec: Mapping[str, Any],
    connection: Mapping[str, Any],
) -> Statistics:
    """See `sparsemill.retrieval.clusters.build_cluster`."""
    names = feature_names(spec["field"], vocabulary)
    inventory = take_inventory(shards, len(names))
    cluster, index = Connection(connection), str(name)
    if not _complete(cluster, index, inventory):
        _create(cluster, index, index_body(spec))
        total = inventory.statistics.documents
        _ingest(cluster, index, _documents(shards, names), total, connection)
    # Also where the documents are complete: the build that sent them may have been cut short since.
    _finish(cluster, index, spec["segments"])
    found = count(cluster, index)
    check_statistics(found, inventory.statistics)
    _delete_older(cluster, name)
    write_description(folder, "opensearch", name, vocabulary, field=spec["field"])
    return found
