"""BEIR-style folders: `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsemill.data.checks import check_relevance, check_split, where_data_starts
from sparsemill.data.collection import Document, Places, Qrel, Query, Source
from sparsemill.data.lines import parse_json, placed_lines
from sparsemill.errors import UserError
from sparsemill.files import visible_files

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
            parts = "a BEIR folder has corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv"
            raise UserError(f"{path}: missing; {parts}{where_data_starts(path)}")
    files = {file.stem: file for file in visible_files(folder / "qrels", "*.tsv")}
    check_split(folder / "qrels", split, files)
    qrels = {name: [qrel for _, qrel in _judgements(file)] for name, file in files.items()}
    judged = {qrel.query_id for rows in qrels.values() for qrel in rows}
    last = _Last()
    queries = (query for query in _queries(folder / "queries.jsonl", last) if query.id in judged)

    def judged_at(split: str, qrel: Qrel) -> str:
        return next(f"{place}: " for place, found in _judgements(files[split]) if found == qrel)

    places = Places(lambda: last.place, judged_at)
    return Source(_documents(folder / "corpus.jsonl", last), queries, qrels, places=places)


@dataclass
class _Last:
    """Where the row stands that was read last; at the start of a file, the file."""

    place: str = ""


def _documents(path: Path, last: _Last) -> Iterator[Document]:
    for place, row in _rows(path, last):
        title = "" if row.get("title") is None else _text(row, "title", place)
        yield Document(_text(row, "_id", place), title, _text(row, "text", place))


def _queries(path: Path, last: _Last) -> Iterator[Query]:
    for place, row in _rows(path, last):
        yield Query(_text(row, "_id", place), _text(row, "text", place))


def _rows(path: Path, last: _Last) -> Iterator[tuple[str, dict[str, Any]]]:
    last.place = str(path)
    for place, line in placed_lines(path):
        last.place = place
        row = parse_json(line, place)
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


def _whole(text: str) -> int:
    if "_" in text:  # which int() passes over
        raise ValueError(text)
    return int(text)


def _judgements(path: Path) -> Iterator[tuple[str, Qrel]]:
    lines = placed_lines(path)
    place, header = next(lines, (f"{path}:1", ""))
    if header.split("\t") != _HEADER:
        raise UserError(f"{place}: the header must be {' '.join(_HEADER)}, separated by tabs, not {header[:60]!r}")
    for place, line in lines:
        try:
            query_id, doc_id, score = line.split("\t")
            qrel = Qrel(query_id, doc_id, _whole(score))
        except ValueError:
            raise UserError(
                f"{place}: must be a query id, a document id and a whole number, separated by tabs, not {line[:60]!r}"
            ) from None
        check_relevance(place, qrel.relevance)
        yield place, qrel
