"""Milvus: exact inner-product search over sparse vectors, on a server or in milvus-lite inside this process.

Requests go through `pymilvus.MilvusClient`, the same for both; it repeats by itself what a busy server rejects.
Milvus' documentation 2.6: "SPARSE_INVERTED_INDEX", "Sparse Vector", "Milvus Limits" (16,384 results per query, 64 MB
per request). Milvus stores no vector without a posting: documents without tokens are counted here and not sent.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from sparsemill.errors import UserError
from sparsemill.progress import Progress
from sparsemill.retrieval.clusters import (
    IndexName,
    Inventory,
    check_width,
    missing_index,
    read_description,
    take_inventory,
    write_description,
)
from sparsemill.retrieval.embedded_milvus import start_embedded
from sparsemill.retrieval.engine import Statistics, check_statistics
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.vectors import Shard, read_shards
from sparsemill.trust import is_private

ID, POSITION, TOKENS, VECTOR = "id", "position", "tokens", "vector"
DATABASE = "milvus.db"
MOST_RESULTS = 16_384
_LONGEST_ID = 512
_QUERIES = 64
_COUNTED = 1000


class MilvusConnection:
    """A connection to a server, or to a database of milvus-lite in the index's folder.

    Args:
        folder: of the index.
        settings: `address`, `credentials`, `database` and `timeout`, as in the config.

    Attributes:
        address: of the server, or the path of the database.
        client: a `pymilvus.MilvusClient`.

    Raises:
        UserError: a package is missing, or nobody answers.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        try:
            import pymilvus
        except ModuleNotFoundError:
            raise UserError("pymilvus is not installed; run `pip install 'sparsemill[milvus]'`") from None
        # They log with a traceback what they raise as well.
        for package in ("pymilvus", "milvus_lite"):
            logging.getLogger(package).setLevel(logging.CRITICAL)
        self._error = pymilvus.MilvusException
        self._lite = not settings["address"]
        self.address: str = str(folder / DATABASE) if self._lite else settings["address"]
        self.timeout: float = settings["timeout"]
        if self._lite:
            start_embedded(self.address, timeout=self.timeout)
        options = {} if self._lite else self._server(settings)
        with self.errors():
            self.client = pymilvus.MilvusClient(self.address, timeout=self.timeout, **options)

    def _server(self, settings: Mapping[str, Any]) -> dict[str, str]:
        token = os.environ.get(f"{settings['credentials']}_TOKEN", "")
        if token and not is_private(self.address):
            raise UserError(f"{self.address}: a token is sent over https only; change the address, or unset the token")
        return {"token": token, "db_name": settings["database"]}

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Tell what Milvus raises in one line.

        Raises:
            UserError: instead of pymilvus' exceptions.
        """
        try:
            yield
        except self._error as error:
            told = " ".join(str(getattr(error, "message", error)).split())[:300]
            raise UserError(f"{self.address}: Milvus: {told}") from None

    def close(self) -> None:
        """Close the connection, and the database of milvus-lite with it."""
        self.client.close()
        if self._lite:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self.address)


def _rows(shard: Shard, first: int) -> Iterator[dict[str, Any]]:
    """Documents with tokens; `first` is the place of the shard's first one in the corpus."""
    shard.matrix.eliminate_zeros()
    columns, weights = shard.matrix.indices, shard.matrix.data
    for row, (start, end) in enumerate(pairwise(shard.matrix.indptr.tolist())):
        doc_id = shard.ids[row]
        if not 0 < len(doc_id.encode()) <= _LONGEST_ID:
            raise UserError(f"document {doc_id[:40]!r}: ids have 1 to {_LONGEST_ID} bytes in Milvus")
        if end > start:
            vector = dict(zip(columns[start:end].tolist(), weights[start:end].tolist(), strict=True))
            yield {ID: doc_id, POSITION: first + row, TOKENS: end - start, VECTOR: vector}


def _create(connection: MilvusConnection, name: str) -> None:
    from pymilvus import DataType

    schema = connection.client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field(ID, DataType.VARCHAR, is_primary=True, max_length=_LONGEST_ID)
    schema.add_field(POSITION, DataType.INT64)
    schema.add_field(TOKENS, DataType.INT64)
    schema.add_field(VECTOR, DataType.SPARSE_FLOAT_VECTOR)
    connection.client.create_collection(name, schema=schema, consistency_level="Strong", timeout=connection.timeout)


def _send(connection: MilvusConnection, name: str, shards: Sequence[Path], size: int, total: int) -> None:
    """Upsert by the document's id, so that a document that is sent again is still there once."""
    progress = Progress("ingest", total, unit="doc")
    first = 0
    for shard in read_shards(shards):
        rows = _rows(shard, first)
        while chunk := list(islice(rows, size)):
            connection.client.upsert(name, chunk, timeout=connection.timeout)
            progress.advance(len(chunk))
        first += len(shard.ids)


def _index(connection: MilvusConnection, name: str) -> None:
    index = connection.client.prepare_index_params()
    options = {"inverted_index_algo": "DAAT_MAXSCORE"}
    index.add_index(VECTOR, index_type="SPARSE_INVERTED_INDEX", index_name=VECTOR, metric_type="IP", params=options)
    connection.client.create_index(name, index)


def _make_searchable(connection: MilvusConnection, name: str) -> None:
    """Flush, index and load; none of them has a time limit, because they grow with the collection."""
    connection.client.flush(name)
    if not connection.client.list_indexes(name):
        _index(connection, name)
    connection.client.load_collection(name)


def count(connection: MilvusConnection, name: str, positions: int) -> Statistics:
    """Documents of a loaded collection and the sum of their tokens.

    Args:
        connection: to the collection's server.
        name: of the collection.
        positions: documents of the corpus; Milvus adds nothing up, so their tokens are read, some places at a time.
    """
    postings = 0
    for start in range(0, positions, _COUNTED):
        part = f"{POSITION} >= {start} and {POSITION} < {start + _COUNTED}"
        rows = connection.client.query(name, filter=part, output_fields=[TOKENS], timeout=connection.timeout)
        postings += sum(row[TOKENS] for row in rows)
    counted = connection.client.query(name, filter="", output_fields=["count(*)"], timeout=connection.timeout)
    return Statistics(counted[0]["count(*)"], postings)


def _ingest(connection: MilvusConnection, name: str, shards: Sequence[Path], inventory: Inventory, size: int) -> None:
    positions, postings = inventory.statistics
    stored = Statistics(positions - inventory.empty, postings)
    if connection.client.has_collection(name, timeout=connection.timeout):
        _make_searchable(connection, name)
        if count(connection, name, positions) == stored:
            return
    else:
        _create(connection, name)
    _send(connection, name, shards, size, stored.documents)
    _make_searchable(connection, name)
    check_statistics(count(connection, name, positions), stored)


def build_milvus(
    folder: Path,
    shards: Sequence[Path],
    *,
    vocabulary: Sequence[str],
    name: IndexName,
    connection: Mapping[str, Any],
) -> Statistics:
    """See `sparsemill.retrieval.clusters.build_cluster`."""
    inventory = take_inventory(shards, len(vocabulary))
    server = MilvusConnection(folder, connection)
    try:
        with server.errors():
            _ingest(server, str(name), shards, inventory, connection["bulk_documents"])
            for other in server.client.list_collections():
                if other.startswith(f"{name.family}_") and other != str(name):
                    server.client.drop_collection(other)
    finally:
        server.close()
    more = {"documents": inventory.statistics.documents, "empty": inventory.empty}
    write_description(folder, "milvus", name, vocabulary, **more)
    return inventory.statistics


class MilvusIndex:
    """A Milvus collection open for search; queries are CSR [queries, vocabulary] of float weights.

    Equal scores are in the order of the corpus, except that Milvus chooses among those at rank k.

    Args:
        folder: what `build_milvus` filled.
        connection: see `MilvusConnection`.

    Raises:
        UserError: the server cannot be reached, or the collection is not there.
    """

    def __init__(self, folder: Path, connection: Mapping[str, Any]) -> None:
        described = read_description(folder, "milvus")
        self._name: str = described["index"]
        self._vocabulary = len(described["vocabulary"])
        self._documents: int = described["documents"]
        self._empty: int = described["empty"]
        self._server = MilvusConnection(folder, connection)
        with self._server.errors():
            if not self._server.client.has_collection(self._name, timeout=self._server.timeout):
                raise missing_index(self._name, self._server.address)
            self._server.client.load_collection(self._name)

    def search(self, queries: Any, k: int) -> list[list[Hit]]:
        """The k best documents of each row; see `Engine.search`.

        Raises:
            UserError: the matrix has another vocabulary size than the index, or k is beyond Milvus' limit.
        """
        check_width(queries, self._vocabulary)
        if k > MOST_RESULTS:
            raise UserError(f"Milvus gives at most {MOST_RESULTS} documents per query, {k} are wanted; lower `depth`")
        columns, weights = queries.indices.tolist(), queries.data.tolist()
        found: list[list[Hit]] = [[] for _ in range(queries.shape[0])]
        asked = {}
        for row, (start, end) in enumerate(pairwise(queries.indptr.tolist())):
            pairs = zip(columns[start:end], weights[start:end], strict=True)
            if tokens := {column: weight for column, weight in pairs if weight > 0}:
                asked[row] = tokens
        rows = list(asked)
        for first in range(0, len(rows), _QUERIES):
            part = rows[first : first + _QUERIES]
            for row, hits in zip(part, self._search([asked[row] for row in part], k), strict=True):
                found[row] = hits
        return found

    def _search(self, queries: list[dict[int, float]], k: int) -> list[list[Hit]]:
        with self._server.errors():
            answers = self._server.client.search(
                self._name,
                queries,
                anns_field=VECTOR,
                limit=k,
                output_fields=[POSITION],
                search_params={"metric_type": "IP"},
                timeout=self._server.timeout,
            )
        ranked = [sorted(hits, key=lambda hit: (-hit["distance"], hit["entity"][POSITION])) for hits in answers]
        return [[Hit(hit[ID], hit["distance"]) for hit in hits if hit["distance"] > 0] for hits in ranked]

    def statistics(self) -> Statistics:
        """Counts of the whole index, documents without tokens included."""
        with self._server.errors():
            found = count(self._server, self._name, self._documents)
        return Statistics(found.documents + self._empty, found.postings)

    def close(self) -> None:
        """Close the connection."""
        self._server.close()
