"""Measures of time: what a table asks for in their names, and what has to be measured for it.

`ENGINE:WHAT@K` is the engine's time alone at K documents a query, `ENGINE:WHAT@N-clients` what N clients of a server
see; `WHAT/BM25` is a ratio to the teacher of that name in Lucene, measured beside it. `seismic:recall@K` is the share
of the exact engine's K documents that the approximate engine finds, measured with its time.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from sparsemill.errors import UserError
from sparsemill.study.hints import nearest
from sparsemill.study.models import Bm25Teacher, Study

ENGINES = ("lucene", "exact", "seismic")
APPROXIMATE = ("seismic",)
"""Engines whose recall is measured beside their time."""

KINDS = ("engine_time", "serving")
"""Heads of the artefacts' keys."""

FORMS = "ENGINE:p99_ms@K, ENGINE:latency/BM25@K, ENGINE:p99_ms@N-clients, ENGINE:p99/BM25@N-clients"

_VALUES = {
    "engine_time": ("mean_ms", "p50_ms", "p99_ms"),
    "serving": ("p50_ms", "p99_ms", "throughput", "fixed_p50_ms", "fixed_p99_ms", "fixed_throughput"),
}
_RATIOS = {"engine_time": ("latency",), "serving": ("p50", "p99", "throughput", "p50-without-fixed")}
_NAME = re.compile(
    r"(?P<engine>[^:@/]+):(?P<what>[^:@/]+)(?:/(?P<baseline>[^:@/]+))?@(?P<number>[1-9][0-9]{0,4})(?P<clients>-clients)?"
)


class Timing(NamedTuple):
    """A measure of time, read.

    Attributes:
        kind: `engine_time` or `serving`.
        engine: that searches.
        what: the value or ratio.
        baseline: BM25 teacher of a ratio; empty for a value.
        number: documents a query, or clients.
    """

    kind: str
    engine: str
    what: str
    baseline: str
    number: int


def parse_timing(measure: str) -> Timing | None:
    """Read a measure's name; None if it is no measure of time in the form that this module's docstring describes."""
    found = _NAME.fullmatch(measure)
    if found is None:
        return None
    kind = "serving" if found["clients"] else "engine_time"
    return Timing(kind, found["engine"], found["what"], found["baseline"] or "", int(found["number"]))


def has_recall(kind: str, engine: str) -> bool:
    """Whether such a measurement says what the engine misses, for which it searches the exact index as well."""
    return kind == "engine_time" and engine in APPROXIMATE


def check_timing(where: str, timing: Timing, study: Study) -> None:
    """Raise a UserError for an engine, a value or a BM25 teacher that does not exist."""
    teachers = [name for name, teacher in study.teachers.items() if isinstance(teacher, Bm25Teacher)]
    values = (_RATIOS if timing.baseline else _VALUES)[timing.kind]
    if has_recall(timing.kind, timing.engine) and not timing.baseline:
        values = (*values, "recall")
    parts: list[tuple[str, str, Iterable[str]]] = [
        ("engine", timing.engine, ENGINES),
        ("measure of time", timing.what, values),
    ]
    if timing.baseline:
        parts.append(("teacher of kind bm25", timing.baseline, teachers))
    for what, name, valid in parts:
        if name not in valid:
            raise UserError(f"config: {where}: no {what} {name!r}; {nearest(name, valid)}")
