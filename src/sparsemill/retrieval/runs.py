"""Runs: ranked documents per query, in TREC format."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from sparsemill.errors import UserError
from sparsemill.files import write_text


class Hit(NamedTuple):
    """A document found for a query."""

    doc_id: str
    score: float


Run = dict[str, list[Hit]]
"""Query id -> hits, best first."""

_UNSAFE = re.compile(r"[\s%]")
_COLUMNS = 6


def encode_id(identifier: str) -> str:
    """Percent-encode whitespace and `%`, which a TREC line cannot hold; all else stays as it is."""
    return _UNSAFE.sub(lambda match: quote(match[0], safe=""), identifier)


def decode_id(identifier: str) -> str:
    """Undo `encode_id`."""
    return unquote(identifier) if "%" in identifier else identifier


def _run_lines(run: Iterable[tuple[str, Sequence[Hit]]], tag: str) -> Iterator[str]:
    for query_id, hits in run:
        start = f"{encode_id(query_id)} Q0 "
        for rank, hit in enumerate(hits, start=1):
            yield f"{start}{encode_id(hit.doc_id)} {rank} {hit.score:.9g} {tag}\n"


def write_run(path: Path, run: Run | Iterable[tuple[str, Sequence[Hit]]], tag: str = "sparsemill") -> None:
    """Write a run atomically: `query Q0 document rank score tag`, ranks from 1.

    Nine significant digits bring every float32 score back unchanged. A query without hits leaves no line.

    Args:
        path: the file.
        run: hits by query, or pairs of both that are read once, so that a run need not fit into memory.
        tag: the last column.
    """
    write_text(path, _run_lines(run.items() if isinstance(run, Mapping) else run, tag))


def read_run(path: Path) -> Run:
    """Read a run; queries and their hits keep the order of the file.

    Raises:
        UserError: the file is missing, or a line is broken (names the file and line).
    """
    found: dict[str, dict[str, Hit]] = {}
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                query_id, hit = _parse(line, path, number)
                hits = found.setdefault(query_id, {})
                if hit.doc_id in hits:
                    raise UserError(f"{path}:{number}: document {hit.doc_id} is listed twice for query {query_id}")
                hits[hit.doc_id] = hit
    except FileNotFoundError:
        raise UserError(f"{path}: no such run; make it with the rule `search`") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; a run is a text file") from None
    return {query_id: list(hits.values()) for query_id, hits in found.items()}


class RunFile(Mapping[str, list[Hit]]):
    """A run by query, of which one query's hits are read at a time; queries keep the order of the file.

    Raises:
        UserError: the file is missing, a line is broken, or the lines of a query do not follow each other.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}
        if not path.is_file():
            raise UserError(f"{path}: no such run; make it with the rule `search`")
        place, last = 0, b""
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                query = line.split(maxsplit=1)[0] if line.strip() else b""
                if query != last:
                    self._start(query, place, number)
                    last = query
                place += len(line)

    def _start(self, query: bytes, place: int, number: int) -> None:
        query_id = decode_id(query.decode(errors="replace"))
        if query_id in self._places:
            raise UserError(f"{self.path}:{number}: query {query_id} was there before; sort the run by query")
        self._places[query_id] = place, number

    def __getitem__(self, query_id: str) -> list[Hit]:
        place, number = self._places[query_id]
        hits: dict[str, Hit] = {}
        with self.path.open("rb") as file:
            file.seek(place)
            for line_number, line in enumerate(file, start=number):
                found, hit = _parse(line.decode(errors="replace"), self.path, line_number)
                if found != query_id:
                    break
                if hit.doc_id in hits:
                    raise UserError(f"{self.path}:{line_number}: document {hit.doc_id} is listed twice for {query_id}")
                hits[hit.doc_id] = hit
        return list(hits.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _parse(line: str, path: Path, number: int) -> tuple[str, Hit]:
    fields = line.split()
    if len(fields) != _COLUMNS:
        raise UserError(f"{path}:{number}: {len(fields)} columns; a run has 6: query Q0 document rank score tag")
    query_id, _, doc_id, rank, score, _ = fields
    try:
        int(rank)
        value = float(score)
    except ValueError:
        raise UserError(f"{path}:{number}: rank {rank!r} or score {score!r} is not a number") from None
    if not math.isfinite(value):
        raise UserError(f"{path}:{number}: score {score} is not finite")
    return decode_id(query_id), Hit(decode_id(doc_id), value)
