"""A collection as three Parquet files: `corpus.parquet`, `queries.parquet` and `qrels.parquet`.

Documents are written and read in row groups. Of a corpus, only the ids are ever held in memory as a whole, and only
while it is written.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from sparsemill.data.checks import check_known, check_split, checked, distinct
from sparsemill.errors import UserError

logger = logging.getLogger(__name__)

ROW_GROUP = 4096
CORPUS = pa.schema([("id", pa.string()), ("title", pa.string()), ("text", pa.string())])
QUERIES = pa.schema([("id", pa.string()), ("text", pa.string())])
QRELS = pa.schema(
    [("split", pa.string()), ("query_id", pa.string()), ("doc_id", pa.string()), ("relevance", pa.int32())]
)


class Document(NamedTuple):
    """A document of a corpus; title and text may be empty."""

    id: str
    title: str
    text: str

    @property
    def contents(self) -> str:
        """What is indexed and encoded: the title, a space and the text."""
        return f"{self.title} {self.text}".strip()


class Query(NamedTuple):
    """A query."""

    id: str
    text: str


class Qrel(NamedTuple):
    """A judgement: 0 is not relevant, larger is more relevant."""

    query_id: str
    doc_id: str
    relevance: int


class Places(NamedTuple):
    """Where a collection's parts come from, for messages; empty where nothing is known.

    Attributes:
        last: of the document or query that was read last, as file:line, or the file before there was one.
        judged: (split, judgement) -> what a message about it starts with, "file:line: ".
    """

    last: Callable[[], str] = str
    judged: Callable[[str, Qrel], str] = lambda *_: ""


NOWHERE = Places()


class Source(NamedTuple):
    """A collection before it is written; documents and queries can be read once.

    Attributes:
        documents: in the order of the corpus.
        queries: of the split.
        qrels: judgements by split.
        tuples: of a file of pairs, how many training tuples it holds: a row is one, a set of N texts is N - 1.
        places: where all that stands.
    """

    documents: Iterator[Document]
    queries: Iterator[Query]
    qrels: dict[str, list[Qrel]]
    tuples: int | None = None
    places: Places = NOWHERE


def write_collection(
    folder: Path,
    documents: Iterable[Document],
    queries: Iterable[Query],
    qrels: Mapping[str, Sequence[Qrel]],
    tuples: int | None = None,
    *,
    places: Places = NOWHERE,
) -> dict[str, Any]:
    """Check a collection and write it into `folder`, which exists.

    Args:
        folder: receives the three Parquet files.
        documents: read once, in the order of the corpus.
        queries: read once; those without a judgement are kept.
        qrels: split name -> judgements. A judgement that is repeated word for word is kept once.
        tuples: of the file of pairs that it comes from, if it does.
        places: where documents, queries and judgements stand, for messages.

    Returns:
        Facts for the manifest: `documents`, `empty_documents`, `splits` (sorted names), `queries` and `judgements`
        (per split: queries with a judgement, judgements), `repeated_judgements`; `tuples` of a file of pairs.

    Raises:
        UserError: no documents; an empty or repeated id, or one with control characters; text that is not Unicode; a
            judgement of an unknown document or query, one outside -10 to 1000, or two that contradict each other.
    """
    document_ids, empty = _write_documents(folder / "corpus.parquet", documents, places)
    query_ids: set[str] = set()
    _write(folder / "queries.parquet", QUERIES, checked(queries, query_ids, "query", places))
    judged: list[tuple[str, str, str, int]] = []
    for split in sorted(qrels):
        judged.extend((split, *pair, relevance) for pair, relevance in distinct(split, qrels[split], places).items())
        check_known(split, "queries", [qrel for qrel in qrels[split] if qrel.query_id not in query_ids], places)
        check_known(split, "documents", [qrel for qrel in qrels[split] if qrel.doc_id not in document_ids], places)
    _write(folder / "qrels.parquet", QRELS, judged)
    repeated = sum(map(len, qrels.values())) - len(judged)
    if repeated:
        logger.warning("%d judgements are repeated word for word; each is kept once", repeated)
    return {
        "documents": len(document_ids),
        "empty_documents": empty,
        "splits": sorted(qrels),
        "queries": {split: len({qrel.query_id for qrel in qrels[split]}) for split in sorted(qrels)},
        "judgements": {split: sum(row[0] == split for row in judged) for split in sorted(qrels)},
        "repeated_judgements": repeated,
        **({} if tuples is None else {"tuples": tuples}),
    }


def read_corpus(folder: Path) -> Iterator[Document]:
    """Yield the documents of a collection in the order of the corpus, one row group in memory at a time.

    Raises:
        UserError: the collection's folder has no corpus.
    """
    with pq.ParquetFile(_existing(folder / "corpus.parquet")) as file:
        for batch in file.iter_batches(batch_size=ROW_GROUP, use_threads=False):
            yield from map(Document, *(column.to_pylist() for column in batch.columns))


def read_queries(folder: Path, *, split: str | None = None) -> list[Query]:
    """The queries of a collection in the order of the file; with `split`, those with a judgement in it.

    Raises:
        UserError: there is no such file or split.
    """
    table = pq.read_table(_existing(folder / "queries.parquet"), use_threads=False)
    queries = map(Query, *(column.to_pylist() for column in table.columns))
    if split is None:
        return list(queries)
    judged = {qrel.query_id for qrel in read_qrels(folder, split=split)}
    return [query for query in queries if query.id in judged]


def read_qrels(folder: Path, *, split: str) -> list[Qrel]:
    """The judgements of one split of a collection in the order of the file.

    Raises:
        UserError: there is no such file or split.
    """
    table = pq.read_table(_existing(folder / "qrels.parquet"), use_threads=False)
    splits, *columns = (column.to_pylist() for column in table.columns)
    check_split(folder, split, set(splits))
    rows = zip(splits, map(Qrel, *columns), strict=True)
    return [qrel for found, qrel in rows if found == split]


def document_count(folder: Path) -> int:
    """How many documents a collection has, from the file's footer."""
    return int(pq.read_metadata(_existing(folder / "corpus.parquet")).num_rows)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: no such file; fetch the collection first")
    return path


def _write_documents(path: Path, documents: Iterable[Document], places: Places) -> tuple[set[str], int]:
    ids: set[str] = set()
    empty = 0

    def counted() -> Iterator[Document]:
        nonlocal empty
        for document in checked(documents, ids, "document", places):
            empty += not document.contents
            yield document

    _write(path, CORPUS, counted())
    if not ids:
        raise UserError(f"{places.last() or 'the collection'}: no documents")
    if empty:
        logger.warning("%d of %d documents have neither title nor text; they are kept", empty, len(ids))
    return ids, empty


def _write(path: Path, schema: pa.Schema, rows: Iterable[tuple[Any, ...]]) -> None:
    """Write rows of `schema` in groups of at most `ROW_GROUP`; the file is there even without rows."""
    rows = iter(rows)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(rows, ROW_GROUP)):
            try:
                columns = [
                    pa.array(values, field.type) for values, field in zip(zip(*group, strict=True), schema, strict=True)
                ]
            except UnicodeEncodeError as error:
                raise UserError(f"{path.stem}: text that is not valid Unicode near {error.object[:40]!r}") from None
            writer.write_table(pa.Table.from_arrays(columns, schema=schema), row_group_size=ROW_GROUP)
