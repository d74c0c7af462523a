"""Runs: ranked documents per query, in TREC format."""

import math
import re
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


def write_run(path: Path, run: Run, tag: str = "sparsemill") -> None:
    """Write a run atomically: `query Q0 document rank score tag`, ranks from 1.

    Nine significant digits bring every float32 score back unchanged. A query without hits leaves no line.
    """
    lines = []
    for query_id, hits in run.items():
        start = f"{encode_id(query_id)} Q0 "
        for rank, hit in enumerate(hits, start=1):
            lines.append(f"{start}{encode_id(hit.doc_id)} {rank} {hit.score:.9g} {tag}\n")
    write_text(path, "".join(lines))


def read_run(path: Path) -> Run:
    """Read a run; queries and their hits keep the order of the file.

    Raises:
        UserError: the file is missing, or a line is broken (names the file and line).
    """
    run: Run = {}
    seen: set[tuple[str, str]] = set()
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                query_id, hit = _parse(line, f"{path}:{number}")
                if (query_id, hit.doc_id) in seen:
                    raise UserError(f"{path}:{number}: document {hit.doc_id} is listed twice for query {query_id}")
                seen.add((query_id, hit.doc_id))
                run.setdefault(query_id, []).append(hit)
    except FileNotFoundError:
        raise UserError(f"{path}: no such run; make it with the rule `search`") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; a run is a text file") from None
    return run


def _parse(line: str, where: str) -> tuple[str, Hit]:
    fields = line.split()
    if len(fields) != _COLUMNS:
        raise UserError(f"{where}: {len(fields)} columns; a run has 6: query Q0 document rank score tag")
    query_id, _, doc_id, rank, score, _ = fields
    try:
        int(rank)
        value = float(score)
    except ValueError:
        raise UserError(f"{where}: rank {rank!r} or score {score!r} is not a number") from None
    if not math.isfinite(value):
        raise UserError(f"{where}: score {score} is not finite")
    return decode_id(query_id), Hit(decode_id(doc_id), value)
