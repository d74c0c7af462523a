"""Files of pairs (query, document) as collections: JSON lines, tab-separated or Parquet, read as a stream."""

import hashlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from sparsemill.data.checks import where_data_starts
from sparsemill.data.collection import Document, Qrel, Query, Source
from sparsemill.data.lines import parse_json, placed_lines
from sparsemill.errors import UserError

logger = logging.getLogger(__name__)


class Columns(NamedTuple):
    """Where the texts of a row are; None: see `read_pairs`."""

    query: str | None = None
    document: str | None = None
    title: str | None = None


class Pair(NamedTuple):
    """A query and the documents that answer it, each as title and text; and how many training tuples it counts as."""

    query: str
    documents: list[tuple[str, str]]
    tuples: int = 1


def text_id(text: str) -> str:
    """Id of a text: the first 20 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def _texts(value: Any, place: str, what: str) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise UserError(f"{place}: {what} must be a text or a list of texts, not {str(value)[:60]!r}")
    return texts


def _from_object(row: dict[str, Any], columns: Columns, place: str) -> Pair:
    if columns.query is None and columns.document is None and "set" in row:
        first, *others = _texts(row["set"], place, "'set'")
        return Pair(first, [("", text) for text in others], len(others))
    keys = [columns.query or "query", columns.document or "pos"]
    missing = [key for key in keys if row.get(key) is None]
    missing += [columns.title] if columns.title and columns.title not in row else []
    if missing:
        held = sorted(key for key, value in row.items() if value is not None)
        raise UserError(f"{place}: no key {missing[0]!r}; its keys are: {', '.join(held) or '(none)'}")
    query, documents = (_texts(row[key], place, repr(key)) for key in keys)
    given = row[columns.title] if columns.title else None
    titles = [""] * len(documents) if given is None else _texts(given, place, repr(columns.title))
    if len(query) != 1 or len(titles) != len(documents):
        raise UserError(f"{place}: there must be one query, and a title for each document if for any")
    return Pair(query[0], list(zip(titles, documents, strict=True)))


def _from_json(path: Path, columns: Columns) -> Iterator[Pair]:
    for place, line in placed_lines(path):
        row = parse_json(line, place)
        if isinstance(row, dict):
            yield _from_object(row, columns, place)
        elif isinstance(row, list) and len(row) == 2 and not any(columns):
            query, document = _texts(row, place, "a pair")
            yield Pair(query, [("", document)])
        else:
            wanted = "an object with the keys that are named" if any(columns) else "[query, document] or an object"
            raise UserError(f"{place}: must be {wanted}, not {line[:60]!r}")


def _from_tsv(path: Path, columns: Columns) -> Iterator[Pair]:
    lines = placed_lines(path)
    names: list[str] = next(lines, ("", ""))[1].split("\t") if any(columns) else []
    for place, line in lines:
        cells = line.split("\t")
        if names and len(cells) == len(names):
            yield _from_object(dict(zip(names, cells, strict=True)), columns, place)
        elif not names and len(cells) == 2:
            yield Pair(cells[0], [("", cells[1])])
        else:
            raise UserError(f"{place}: has {len(cells)} columns, not {len(names) or 2}")


def _from_parquet(path: Path, columns: Columns) -> Iterator[Pair]:
    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a Parquet file: {error}") from None
    with file:
        names = file.schema_arrow.names
        first = columns if any(columns) else Columns(*names[:2])
        number = 0
        for batch in file.iter_batches(use_threads=False):
            for row in batch.to_pylist():
                number += 1
                yield _from_object(row, first, f"{path}: row {number}")


_READERS = {"jsonl": _from_json, "tsv": _from_tsv, "parquet": _from_parquet}


def _pairs(path: Path, kind: str, columns: Columns) -> Iterator[Pair]:
    """Pairs of the file; documents without text or with the query's text are left out, and rows without any."""
    if not path.is_file():
        raise UserError(f"{path}: no such file of pairs{where_data_starts(path)}")
    for pair in _READERS[kind](path, columns):
        documents = [(title, text) for title, text in pair.documents if text.strip() and text != pair.query]
        yield pair._replace(documents=documents if pair.query.strip() else [])


def smallest_ids(ids: Iterable[str], count: int) -> set[str]:
    """The `count` smallest of the distinct ids; twice as many are held at most."""
    kept: set[str] = set()
    limit: str | None = None
    for item in ids:
        if limit is None or item < limit:
            kept.add(item)
            if len(kept) >= 2 * count:
                kept = set(sorted(kept)[:count])
                limit = max(kept)
    return set(sorted(kept)[:count])


def _document(title: str, text: str) -> Document:
    return Document(text_id(f"{title}\n{text}" if title else text), title, text)


def _distinct_documents(pairs: Iterable[Pair]) -> Iterator[Document]:
    seen: set[str] = set()
    for pair in pairs:
        for document in (_document(*one) for one in pair.documents):
            if document.id not in seen:
                seen.add(document.id)
                yield document


def read_pairs(
    path: Path, *, kind: str, columns: Columns, split: str, lines: int | None = None, max_queries: int | None = None
) -> Source:
    """Read a file of pairs; equal texts become one query or one document, whose id is a hash of the text.

    Args:
        path: `.gz` is unpacked while it is read.
        kind: `jsonl`, `tsv` (a header only if columns are named) or `parquet`.
        columns: keys or columns. Without any: `[query, document]`, `{query: .., pos: [..]}` and `{set: [..]}` are
            recognised in JSON lines, and the first two columns are taken elsewhere.
        split: name of the split that the judgements are in.
        lines: rows that the file must have.
        max_queries: keep the queries with the smallest ids, and all documents.

    Raises:
        UserError: the file is missing or broken, a row is not what it must be (named as file:line), or the file has
            another number of rows. Errors of documents come while these are iterated over.
    """
    chosen = None
    if max_queries is not None:
        chosen = smallest_ids(
            (text_id(pair.query) for pair in _pairs(path, kind, columns) if pair.documents), max_queries
        )
    queries: dict[str, Query] = {}
    qrels: list[Qrel] = []
    rows = tuples = empty = 0
    for pair in _pairs(path, kind, columns):
        rows += 1
        tuples += pair.tuples
        empty += not pair.documents
        query = Query(text_id(pair.query), pair.query)
        if pair.documents and (chosen is None or query.id in chosen):
            queries[query.id] = query
            qrels += [Qrel(query.id, _document(*document).id, 1) for document in pair.documents]
    if lines is not None and rows != lines:
        raise UserError(f"{path}: has {rows} rows, but `lines` expects {lines}; fetch the file again")
    if empty:
        logger.warning("%s: %d of %d rows pair no two different texts and are left out", path, empty, rows)
    documents = _distinct_documents(_pairs(path, kind, columns))
    return Source(documents, iter(queries.values()), {split: qrels}, tuples)
