"""A collection as three Parquet files: `corpus.parquet`, `queries.parquet` and `qrels.parquet`.

Documents are written and read in row groups. Of a corpus, only the ids are ever held in memory as a whole, and only
while it is written.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from sparsemill.errors import UserError

logger = logging.getLogger(__name__)

ROW_GROUP = 4096
CORPUS = pa.schema([("id", pa.string()), ("title", pa.string()), ("text", pa.string())])
QUERIES = pa.schema([("id", pa.string()), ("text", pa.string())])
QRELS = pa.schema(
    [("split", pa.string()), ("query_id", pa.string()), ("doc_id", pa.string()), ("relevance", pa.int32())]
)
# TREC's levels go from -2 to 4, some sets' to some hundreds; trec_eval counts up to the largest, so it must be small.
_LOWEST, _HIGHEST = -10, 1000
# Ids are written one per line elsewhere, so no character that some reader takes for the end of a line.
_BAD_ID = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


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
    """A judgement: 0 and less is not relevant, larger is more relevant."""

    query_id: str
    doc_id: str
    relevance: int


class Source(NamedTuple):
    """A collection before it is written; documents and queries can be read once.

    Attributes:
        documents: in the order of the corpus.
        queries: of the split.
        qrels: judgements by split.
        tuples: of a file of pairs, how many training tuples it holds: a row is one, a set of N texts is N - 1.
    """

    documents: Iterator[Document]
    queries: Iterator[Query]
    qrels: dict[str, list[Qrel]]
    tuples: int | None = None


Item = TypeVar("Item", Document, Query)


def write_collection(
    folder: Path,
    documents: Iterable[Document],
    queries: Iterable[Query],
    qrels: Mapping[str, Sequence[Qrel]],
    tuples: int | None = None,
) -> dict[str, Any]:
    """Check a collection and write it into `folder`, which exists.

    Args:
        folder: receives the three Parquet files.
        documents: read once, in the order of the corpus.
        queries: read once; those without a judgement are kept.
        qrels: split name -> judgements. A judgement that is repeated word for word is kept once.
        tuples: of the file of pairs that it comes from, if it does.

    Returns:
        Facts for the manifest: `documents`, `empty_documents`, `splits` (sorted names), `queries` and `judgements`
        (per split: queries with a judgement, judgements), `repeated_judgements`; `tuples` of a file of pairs.

    Raises:
        UserError: no documents; an empty or repeated id, or one with control characters; text that is not Unicode; a
            judgement of an unknown document or query, one outside -10 to 1000, or two that contradict each other.
    """
    document_ids, empty = _write_documents(folder / "corpus.parquet", documents)
    query_ids: set[str] = set()
    _write(folder / "queries.parquet", QUERIES, _checked(queries, query_ids, "query"))
    judged: list[tuple[str, str, str, int]] = []
    for split in sorted(qrels):
        judged.extend((split, *qrel) for qrel in _distinct(split, qrels[split]))
        _check_known(split, "query", {qrel.query_id for qrel in qrels[split]} - query_ids)
        _check_known(split, "document", {qrel.doc_id for qrel in qrels[split]} - document_ids)
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


def check_split(source: object, split: str, splits: Iterable[str]) -> None:
    """Refuse a split that is not among `splits`, naming those there are.

    Raises:
        UserError: `split` is not there.
    """
    if split not in (known := sorted(set(splits))):
        raise UserError(f"{source}: no split {split!r}; its splits are: {', '.join(known) or '(none)'}")


def check_relevance(place: str, relevance: int) -> None:
    """Refuse a judgement that is no level of relevance.

    Raises:
        UserError: `relevance` is outside -10 to 1000.
    """
    if not _LOWEST <= relevance <= _HIGHEST:
        raise UserError(f"{place}: judgement {relevance} is not from {_LOWEST} to {_HIGHEST}; scale the judgements")


def check_counts(facts: Mapping[str, Any], *, split: str, expected: Mapping[str, int]) -> None:
    """Compare what `write_collection` found with the counts that the config expects.

    Args:
        facts: the result of `write_collection`.
        split: where queries and judgements are counted.
        expected: any of `documents`, `queries`, `judgements`.

    Raises:
        UserError: a count differs.
    """
    for what, number in expected.items():
        found = facts[what] if what == "documents" else facts[what][split]
        if found != number:
            where = "" if what == "documents" else f" in split {split!r}"
            raise UserError(f"the collection has {found} {what}{where}, but its `counts` expect {number}")


def check_relevant(qrels: Iterable[Qrel], *, split: str, relevance: int = 1) -> None:
    """Warn of judged queries without a relevant document: their measures are 0, whatever is found.

    Args:
        qrels: judgements of the split.
        split: its name.
        relevance: least judgement that counts as relevant.

    Raises:
        UserError: there are judgements, and none of them is above 0.
    """
    best: dict[str, int] = {}
    for qrel in qrels:
        best[qrel.query_id] = max(qrel.relevance, best.get(qrel.query_id, 0))
    without = [query for query, found in best.items() if found < relevance]
    if best and not any(best.values()):
        raise UserError(f"qrels of split {split!r}: no judgement is above 0, so that no query has a relevant document")
    if without:
        some = ", ".join(without[:5]) + (", ..." if len(without) > 5 else "")
        zero = "0" if relevance == 1 else "0 but in nDCG"
        told = "qrels of split %r: %d of %d queries have no relevant document (judged %d or more) and count %s: %s"
        logger.warning(told, split, len(without), len(best), relevance, zero, some)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: no such file; fetch the collection first")
    return path


def _write_documents(path: Path, documents: Iterable[Document]) -> tuple[set[str], int]:
    ids: set[str] = set()
    empty = 0

    def counted() -> Iterator[Document]:
        nonlocal empty
        for document in _checked(documents, ids, "document"):
            empty += not document.contents
            yield document

    _write(path, CORPUS, counted())
    if not ids:
        raise UserError("the collection has no documents")
    if empty:
        logger.warning("%d of %d documents have neither title nor text; they are kept", empty, len(ids))
    return ids, empty


def _checked(items: Iterable[Item], seen: set[str], kind: str) -> Iterator[Item]:
    for number, item in enumerate(items, start=1):
        if not item.id:
            raise UserError(f"{kind} number {number} has an empty id")
        if _BAD_ID.search(item.id):
            raise UserError(f"{kind} number {number}: its id {item.id!r} holds a control character; rename it")
        if item.id in seen:
            raise UserError(f"{kind} id {item.id!r} is there twice (again at number {number})")
        seen.add(item.id)
        yield item


def _distinct(split: str, qrels: Sequence[Qrel]) -> Iterator[Qrel]:
    seen: dict[tuple[str, str], int] = {}
    for qrel in qrels:
        pair = (qrel.query_id, qrel.doc_id)
        check_relevance(f"qrels of split {split!r}: query {pair[0]!r}, document {pair[1]!r}", qrel.relevance)
        known = seen.setdefault(pair, qrel.relevance)
        if known != qrel.relevance:
            raise UserError(
                f"qrels of split {split!r} contradict themselves: query {qrel.query_id!r}, document {qrel.doc_id!r} "
                f"is judged {known} and {qrel.relevance}"
            )
    return (Qrel(*pair, relevance) for pair, relevance in seen.items())


def _check_known(split: str, kind: str, unknown: set[str]) -> None:
    if unknown:
        some = ", ".join(repr(item) for item in sorted(unknown)[:3]) + (", ..." if len(unknown) > 3 else "")
        plural = "queries" if kind == "query" else "documents"
        raise UserError(f"qrels of split {split!r} name {len(unknown)} unknown {plural}: {some}")


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
