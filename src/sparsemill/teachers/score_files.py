"""Scores computed elsewhere: Parquet or JSONL files in the layouts of public data sets, looked up for candidates."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sparsemill.errors import UserError
from sparsemill.files import visible_files
from sparsemill.teachers.score import Candidates, Indices, Scores

BLOCK = 1 << 14
"""Rows read at once; a row may hold some hundred scores."""


class Layout(NamedTuple):
    """Names of the columns; `nested`: a row is a query with lists of documents and scores."""

    query: str
    document: str
    score: str
    nested: bool


LAYOUTS = {
    "pairs": Layout("query_id", "doc_id", "score", nested=False),
    "msmarco_hard_negatives": Layout("query_id", "doc_ids", "scores", nested=True),
    "opensearch": Layout("query", "docs", "scores", nested=True),
}


class Rows(NamedTuple):
    """Flat columns of ids (Arrow strings) and scores."""

    queries: Any
    documents: Any
    scores: NDArray[np.float32]


def score_paths(path: Path) -> list[Path]:
    """The file, or the Parquet and JSONL files of a folder.

    Raises:
        UserError: there are none.
    """
    files = [path] if path.is_file() else visible_files(path, "*.parquet", "*.jsonl")
    if not files:
        raise UserError(f"{path}: no such file, and no folder with .parquet or .jsonl files")
    return files


def _json_rows(file: Path, layout: Layout) -> Iterator[pa.RecordBatch]:
    names = [layout.query, layout.document, layout.score]
    with file.open("rb") as lines:
        found: list[dict[str, Any]] = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                found.append({name: row[name] for name in names})
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UserError(f"{file}:{number}: not a JSON object with {', '.join(names)} ({error})") from None
            if len(found) == BLOCK:
                yield _batch(file, found)
                found = []
        if found:
            yield _batch(file, found)


def _batch(file: Path, found: list[dict[str, Any]]) -> pa.RecordBatch:
    try:
        return pa.RecordBatch.from_pylist(found)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError) as error:
        raise UserError(
            f"{file}: ids or scores of types that do not go together: {str(error).splitlines()[0]}"
        ) from None


def _parquet_rows(file: Path, layout: Layout) -> Iterator[pa.RecordBatch]:
    names = [layout.query, layout.document, layout.score]
    try:
        with pq.ParquetFile(file) as source:
            missing = [name for name in names if name not in source.schema_arrow.names]
            if missing:
                raise UserError(f"{file}: no column {missing[0]}; this layout has {', '.join(names)}")
            yield from source.iter_batches(BLOCK, columns=names, use_threads=False)
    except pa.ArrowInvalid as error:
        raise UserError(f"{file}: not Parquet: {str(error).splitlines()[0]}") from None


def _flat(file: Path, batch: pa.RecordBatch, layout: Layout) -> Rows:
    queries, documents, scores = (batch[name] for name in (layout.query, layout.document, layout.score))
    try:
        if layout.nested:
            lengths, others = pc.list_value_length(documents), pc.list_value_length(scores)
            if not lengths.equals(others):
                query = queries.filter(pc.fill_null(pc.not_equal(lengths, others), True))[0]
                raise UserError(f"{file}: query {query}: {layout.document} and {layout.score} are not of one length")
            queries = queries.take(pc.list_parent_indices(documents))
            documents, scores = pc.list_flatten(documents), pc.list_flatten(scores)
        if pa.types.is_boolean(scores.type):
            raise pa.ArrowTypeError("a score is true or false")
        columns = [queries.cast(pa.string()), documents.cast(pa.string()), scores.cast(pa.float32())]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise UserError(
            f"{file}: ids or scores of another type than the layout's: {str(error).splitlines()[0]}"
        ) from None
    return Rows(columns[0], columns[1], columns[2].to_numpy(zero_copy_only=False))


def read_rows(path: Path, layout: str) -> Iterator[Rows]:
    """The scores of a file or folder, block by block.

    Args:
        path: a `.parquet` or `.jsonl` file, or a folder of them.
        layout: a key of `LAYOUTS`; ids may be numbers.

    Raises:
        UserError: no file, a missing column, or values of another type.
    """
    chosen = LAYOUTS[layout]
    for file in score_paths(path):
        read = _json_rows if file.suffix == ".jsonl" else _parquet_rows
        for batch in read(file, chosen):
            yield _flat(file, batch, chosen)


class FileScorer:
    """Looks up the scores of the pairs that it was opened for.

    Args:
        path, layout: see `read_rows`.
        pairs: all that will be asked for.
        query_ids, document_ids: of the collection, in its order.

    Raises:
        UserError: pairs without a score, told by number; a score that is not finite; or two that contradict each other.
    """

    def __init__(
        self,
        path: Path,
        layout: str,
        pairs: Candidates,
        *,
        query_ids: Sequence[str],
        document_ids: Sequence[str],
    ) -> None:
        self._width = len(document_ids)
        self._keys = np.unique(self._key(pairs.queries, pairs.documents))
        self._scores = np.full(len(self._keys), np.nan, dtype=np.float32)
        known = pa.array(query_ids, pa.string()), pa.array(document_ids, pa.string())
        for rows in read_rows(path, layout):
            self._take(path, rows, *known)
        self._check(path, query_ids, document_ids)

    def score(self, queries: Indices, documents: Indices) -> Scores:
        """[pairs]."""
        found: Scores = self._scores[np.searchsorted(self._keys, self._key(queries, documents))]
        return found

    def _key(self, queries: Indices, documents: Indices) -> NDArray[np.int64]:
        return queries.astype(np.int64) * self._width + documents

    def _take(self, path: Path, rows: Rows, query_ids: pa.Array, document_ids: pa.Array) -> None:
        if not len(self._keys):  # of a shard without queries
            return
        queries = pc.fill_null(pc.index_in(rows.queries, value_set=query_ids), -1).to_numpy()
        documents = pc.fill_null(pc.index_in(rows.documents, value_set=document_ids), -1).to_numpy()
        keys = self._key(queries, documents)
        places = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        wanted = np.flatnonzero((queries >= 0) & (documents >= 0) & (self._keys[places] == keys))
        places, scores = places[wanted], rows.scores[wanted]
        before = self._scores[places]
        self._scores[places] = scores
        bad = ~np.isfinite(scores)
        twice = ~bad & ((self._scores[places] != scores) | (~np.isnan(before) & (before != scores)))
        if (bad | twice).any():
            first = np.flatnonzero(bad | twice)[0]
            row = wanted[first]
            pair = f"score of {rows.queries[row]} and {rows.documents[row]}"
            what = "is not finite" if bad[first] else "is there twice, with different values"
            raise UserError(f"{path}: {pair} {what}")

    def _check(self, path: Path, query_ids: Sequence[str], document_ids: Sequence[str]) -> None:
        missing = np.flatnonzero(np.isnan(self._scores))
        if not len(missing):
            return
        queries, documents = np.divmod(self._keys[missing], self._width)
        some = f"{query_ids[int(queries[0])]} and {document_ids[int(documents[0])]}"
        raise UserError(
            f"{path}: holds no score for {len(missing)} of {len(self._keys)} candidates "
            f"({len(np.unique(queries))} queries), for example {some}; take candidates that it scores"
        )
