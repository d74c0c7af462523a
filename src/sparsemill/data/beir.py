"""BEIR-style folders: `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sparsemill.data.collection import Document, Qrel, Query, Source, check_relevance, check_split
from sparsemill.errors import UserError

_HEADER = ["query-id", "corpus-id", "score"]


def read_beir(folder: Path, *, split: str) -> Source:
    """Read a BEIR-style folder: all its splits, and the queries that are judged in one of them.

    The corpus and the queries are read while they are iterated over, so their errors come then.

    Args:
        folder: holds `corpus.jsonl` (`_id`, `text`, optional `title`), `queries.jsonl` (`_id`, `text`) and
            `qrels/SPLIT.tsv` with the header `query-id`, `corpus-id`, `score`.
        split: must be among the splits.

    Raises:
        UserError: a file or the split is missing, or a line is not what it must be (named as file:line).
    """
    for path in (folder, folder / "corpus.jsonl", folder / "queries.jsonl", folder / "qrels"):
        if not path.exists():
            raise UserError(f"{path}: missing; a BEIR folder has corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv")
    files = sorted((folder / "qrels").glob("*.tsv"))
    check_split(folder / "qrels", split, [file.stem for file in files])
    qrels = {file.stem: list(_judgements(file)) for file in files}
    judged = {qrel.query_id for rows in qrels.values() for qrel in rows}
    queries = (query for query in _queries(folder / "queries.jsonl") if query.id in judged)
    return Source(_documents(folder / "corpus.jsonl"), queries, qrels)


def _documents(path: Path) -> Iterator[Document]:
    for place, row in _rows(path):
        title = "" if row.get("title") is None else _text(row, "title", place)
        yield Document(_text(row, "_id", place), title, _text(row, "text", place))


def _queries(path: Path) -> Iterator[Query]:
    for place, row in _rows(path):
        yield Query(_text(row, "_id", place), _text(row, "text", place))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """Lines that are not blank, each with its place as file:line."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}:{number}", line.rstrip("\r\n")
    except UnicodeDecodeError:
        raise UserError(f"{path}:{number + 1}: not UTF-8 (near this line); convert the file") from None


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for place, line in _lines(path):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{place}: not JSON: {error.msg} (column {error.colno})") from None
        if not isinstance(row, dict):
            raise UserError(f"{place}: must be a JSON object, not {line[:40]!r}")
        yield place, row


def _text(row: dict[str, Any], field: str, place: str) -> str:
    value = row.get(field)
    if not isinstance(value, str):
        raise UserError(
            f"{place}: field {field!r} is missing" if value is None else f"{place}: {field!r} must be text: {value!r}"
        )
    return value


def _judgements(path: Path) -> Iterator[Qrel]:
    lines = _lines(path)
    place, header = next(lines, (f"{path}:1", ""))
    if header.split("\t") != _HEADER:
        raise UserError(f"{place}: the header must be {' '.join(_HEADER)}, separated by tabs, not {header[:60]!r}")
    for place, line in lines:
        try:
            query_id, doc_id, score = line.split("\t")
            qrel = Qrel(query_id, doc_id, int(score))
        except ValueError:
            raise UserError(
                f"{place}: must be a query id, a document id and a whole number, separated by tabs, not {line[:60]!r}"
            ) from None
        check_relevance(place, qrel.relevance)
        yield qrel
