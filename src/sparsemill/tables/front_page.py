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
    """Opens a page inside the report, beside its menu."""
    kind = "html" if path.endswith(".html") else "img"
    return f"javascript:app.setView({{content:'{kind}',contentPath:results['{quote(path)}'].data_uri}})"


def _verdicts(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    if not verdicts:
        return ["No value is expected of this study."]
    counts = Counter(str(verdict["verdict"]) for verdict in verdicts)
    order = {name: place for place, name in enumerate(_ORDER)}
    told = ", ".join(f"{counts[name]} {name}" for name in sorted(counts, key=lambda name: order.get(name, -1)))
    rows = sorted(verdicts, key=lambda verdict: order.get(str(verdict["verdict"]), -1))
    claims, values = ([row for row in rows if ("claim" in row) is wanted] for wanted in (True, False))
    lead = f"**{told}.** Values that must be reached and orderings that must hold; the worst first."
    return [lead, "", *_table(_values(values)), *_table(_claims(claims))]


def _values(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Of values: few columns, because the report gives the page 512 pixels."""
    cells = [["verdict", "value", "measured", "expected", "source"]] if rows else []
    for row in rows:
        tier = "" if row["tier"] == "expected" else f" ({row['tier']})"
        what = f"{row['system']}: {row['measure']} on {row['collection']}{tier}"
        bound = f"{_text(row['expected'])} ± {_text(row['tolerance'])}"
        cells.append([str(row["verdict"]), what, _text(row.get("value")), bound, _text(row.get("source"))])
    return cells


def _claims(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    cells = [["verdict", "claim", "difference", "p", "source"]] if rows else []
    for row in rows:
        difference = row.get("difference")
        found = "–" if difference is None else f"{difference:+.4f} {row['measure']} on {row['collection']}"
        p = "–" if row.get("p") is None else f"{row['p']:.1g}"
        cells.append([str(row["verdict"]), str(row["claim"]), found, p, _text(row.get("source"))])
    return cells


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: auto", ""]
    lines += [f"   {' ' if place else '*'} - {rst(cell)}" for cells in rows for place, cell in enumerate(cells)]
    return [*lines, ""]


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
