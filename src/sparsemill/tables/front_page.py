"""The report's front page, as reStructuredText, which Snakemake's report renders."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

_ORDER = ("fail", "missing", "near", "ok")
_SPECIAL = re.compile(r"([^\w\s,-]|_)")


class Page(NamedTuple):
    """A page of the report: what its link says, and its path as Snakemake knows it."""

    group: str
    title: str
    path: str


def rst(text: str) -> str:
    """Text that means nothing to reStructuredText or to Jinja, which reads the page first."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def front(title: str, verdicts: Sequence[Mapping[str, Any]], pages: Sequence[Page], facts: Sequence[str]) -> str:
    """The whole page.

    Args:
        title: its heading.
        verdicts: content of `verdicts.json`.
        pages: what it links to, in order.
        facts: sentences below the heading.
    """
    lines = [title, "=" * len(title), "", *(f"{rst(fact)}\n" for fact in facts)]
    lines += [*_section("Verdicts"), *_verdicts(verdicts), *_section("Pages")]
    for group in dict.fromkeys(page.group for page in pages):
        links = [f"`{rst(page.title)} <{_address(page.path)}>`__" for page in pages if page.group == group]
        lines.append(f"* **{rst(group)}:** {' · '.join(links)}")
    return "\n".join([*lines, ""])


def _section(title: str) -> list[str]:
    return ["", title, "-" * len(title), ""]


def _address(path: str) -> str:
    """Opens a page inside the report."""
    return f"javascript:app.showResultInfo('{quote(path)}')"


def _verdicts(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    if not verdicts:
        return ["No value is expected of this study."]
    counts = Counter(str(verdict["verdict"]) for verdict in verdicts)
    order = {name: place for place, name in enumerate(_ORDER)}
    told = ", ".join(f"{counts[name]} {name}" for name in sorted(counts, key=lambda name: order.get(name, -1)))
    rows = sorted(verdicts, key=lambda verdict: order.get(str(verdict["verdict"]), -1))
    return [f"**{told}.** Values that must be reached, and what was measured; the worst first.", "", *_table(rows)]


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of those columns that the verdicts have."""
    known = (
        *("verdict", "tier", "claim", "system", "collection", "measure", "value", "expected", "tolerance"),
        *("difference", "p", "source"),
    )
    columns = [name for name in known if any(row.get(name) not in (None, "") for row in rows)]
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for cells in [dict(zip(columns, columns, strict=True)), *rows]:
        for number, name in enumerate(columns):
            lines.append(f"   {'*' if number == 0 else ' '} - {rst(_text(cells.get(name)))}")
    return [*lines, ""]


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
