"""Indexes that live on a cluster: how they are named, described in the index's folder, built and opened.

The folder of such an index holds `cluster.json`: the engine, the name of the index, the vocabulary and the counts.
Where the cluster is (the connection) comes from the config at each use, so that moving it makes nothing anew.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sparsemill.errors import UserError
from sparsemill.files import read_json, text_hash, write_json
from sparsemill.retrieval.engine import Engine, Statistics
from sparsemill.retrieval.vectors import check_distinct, read_shards

CLUSTER = "cluster.json"
KINDS = ("opensearch", "milvus")
_SLUG = 80


class IndexName(NamedTuple):
    """Name of an index on a cluster: `<family>_<content>`.

    Attributes:
        family: the same for every version of one artefact's index.
        content: hash of what the index is made from.
    """

    family: str
    content: str

    def __str__(self) -> str:
        return f"{self.family}_{self.content}"


def index_name(prefix: str, key: str, content: str) -> IndexName:
    """A name that every cluster takes: lower-case letters, digits and `_`, at most 150 characters.

    Args:
        prefix: lower-case letters and digits.
        key: of the artefact; keys that look alike once simplified still differ by a hash.
        content: what the index is made from, any text.
    """
    slug = re.sub("[^a-z0-9]+", "_", key.lower()).strip("_")[:_SLUG]
    return IndexName(f"{prefix}_{slug}_{text_hash(key)}", text_hash(content))


class Inventory(NamedTuple):
    """What shards of vectors hold: checked before anything is sent."""

    statistics: Statistics
    empty: int


def take_inventory(shards: Sequence[Path], vocabulary: int) -> Inventory:
    """Count documents and postings, one shard in memory at a time.

    Raises:
        UserError: a shard is broken or has another vocabulary, or a document id is there twice.
    """
    ids: list[str] = []
    postings = empty = 0
    for shard in read_shards(shards, vocabulary=vocabulary):
        shard.matrix.eliminate_zeros()
        ids.extend(shard.ids)
        postings += shard.matrix.nnz
        empty += int((shard.matrix.getnnz(axis=1) == 0).sum())
    check_distinct(ids)
    return Inventory(Statistics(len(ids), postings), empty)


def write_description(folder: Path, kind: str, name: IndexName, vocabulary: Sequence[str], **more: Any) -> None:
    """Write `cluster.json`."""
    described = {"kind": kind, "index": str(name), "vocabulary": list(vocabulary), **more}
    write_json(folder / CLUSTER, described)


def read_description(folder: Path, kind: str) -> dict[str, Any]:
    """Read `cluster.json`.

    Raises:
        UserError: there is none, or it is of another kind of cluster.
    """
    if not (folder / CLUSTER).is_file():
        raise UserError(
            f"{folder}: nothing was ingested for it; run "
            f"`snakemake --cores all --configfile MINE.yaml -- {folder}/manifest.json`"
        )
    described: dict[str, Any] = read_json(folder / CLUSTER)
    if described["kind"] != kind:
        raise UserError(f"{folder}: an index of {described['kind']}, not of {kind}; build the index again")
    return described


def connection_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Where the cluster is, from the facts that a stage was given.

    Raises:
        UserError: they do not say.
    """
    if "connection" not in facts:
        raise UserError("--facts: `connection` is missing; it says where the cluster is, as an entry of `engines` does")
    connection: dict[str, Any] = facts["connection"]
    return connection


def missing_index(name: str, address: str) -> UserError:
    """The error of a search whose index is not on the cluster."""
    return UserError(
        f"{address}: there is no index {name}; was the address changed, or the index deleted? "
        "Ingest again: snakemake --forcerun ingest"
    )


def check_width(queries: Any, vocabulary: int) -> None:
    """Refuse queries of another model.

    Raises:
        UserError: the matrix has another vocabulary size than the index.
    """
    if queries.shape[1] != vocabulary:
        raise UserError(
            f"queries have {queries.shape[1]} columns, but the index has {vocabulary} tokens; "
            "search with the model that the index was made with"
        )


def build_cluster(
    folder: Path,
    shards: Sequence[Path],
    *,
    vocabulary: Sequence[str],
    name: IndexName,
    spec: Mapping[str, Any],
    connection: Mapping[str, Any],
) -> Statistics:
    """Ingest shards of vectors and compare the counts of the cluster with the vectors.

    An index of that name that is complete is left as it is; one that is not is completed. Older versions of the
    family are deleted afterwards.

    Args:
        folder: an empty folder for the description.
        shards: folders of vectors, in the order of the corpus.
        vocabulary: token of each column.
        name: see `index_name`.
        spec: `kind` and what else an entry of `engines` says about the index.
        connection: what it says about the address.

    Raises:
        UserError: the cluster cannot be reached or refuses, or the vectors are broken.
        RuntimeError: the index holds other numbers of documents or postings than the vectors.
    """
    if spec["kind"] == "opensearch":
        from sparsemill.retrieval.opensearch_build import build_opensearch

        return build_opensearch(folder, shards, vocabulary=vocabulary, name=name, spec=spec, connection=connection)
    from sparsemill.retrieval.milvus import build_milvus

    return build_milvus(folder, shards, vocabulary=vocabulary, name=name, connection=connection)


def open_cluster(folder: Path, spec: Mapping[str, Any], connection: Mapping[str, Any]) -> Engine[Any]:
    """Open an index that `build_cluster` made.

    Args:
        folder: with its description.
        spec: `kind` and what else an entry of `engines` says about queries.
        connection: what it says about the address.

    Raises:
        UserError: the cluster cannot be reached, or the index is not there.
    """
    if spec["kind"] == "opensearch":
        from sparsemill.retrieval.opensearch import OpenSearchIndex

        return OpenSearchIndex(folder, spec, connection)
    from sparsemill.retrieval.milvus import MilvusIndex

    return MilvusIndex(folder, connection)
