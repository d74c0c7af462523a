"""Standalone HTML pages of the report: one look, no script, no network."""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_CSS = """
:root{color-scheme:light}
*{box-sizing:border-box}
body{margin:2rem auto;max-width:1200px;padding:0 1rem;background:#fff;color:#1b1f24;
 font:14px/1.45 system-ui,"Segoe UI",Helvetica,Arial,sans-serif}
h1{font-size:1.5rem;margin:0 0 .3rem}
h2{font-size:1.1rem;margin:1.8rem 0 .4rem}
.lead{color:#57606a}
.warn{color:#8f4b00;font-weight:600}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;border-top:2px solid #1b1f24;border-bottom:2px solid #1b1f24;margin:.4rem 0}
th,td{padding:.3rem .5rem;text-align:left;vertical-align:top}
th{border-bottom:1px solid #1b1f24}
tr+tr td{border-top:1px solid #e7eaee}
.number{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
code,pre{font:.85em/1.45 ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
pre{background:#f5f8fb;padding:.6rem .8rem;overflow-x:auto;margin:.4rem 0}
details{border-bottom:1px solid #e7eaee;padding:.25rem 0}
summary{cursor:pointer}
summary:hover{color:#0b579e}
a{color:#0b579e}
.scroll th:first-child,.scroll td:first-child{position:sticky;left:0;min-width:9rem;background:#fff}
.anchor{display:block;scroll-margin-top:3rem}
.bar{display:inline-block;height:.6rem;background:#7d8794;border-radius:.2rem}
""".strip()


class Raw(str):
    """HTML that is written as it is; all other text is escaped."""


def inline(text: str) -> str:
    """Text as HTML."""
    return text if isinstance(text, Raw) else escape(text)


def code(text: str) -> Raw:
    """Text in a fixed-width font."""
    return Raw(f"<code>{escape(text)}</code>")


class Column(NamedTuple):
    """A column of a table; `number`: its cells are set to the right."""

    title: str
    number: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> Raw:
    """A table; cells are text, or `Raw`."""
    kinds = [' class="number"' if column.number else "" for column in columns]
    head = "".join(f"<th{kind}>{escape(column.title)}</th>" for column, kind in zip(columns, kinds, strict=True))
    body = "\n".join(
        f"<tr>{''.join(f'<td{kind}>{inline(cell)}</td>' for cell, kind in zip(row, kinds, strict=True))}</tr>"
        for row in rows
    )
    return Raw(f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>')


def document(title: str, *parts: str) -> str:
    """A page; its parts are text paragraphs, or `Raw`."""
    body = "\n".join(part if isinstance(part, Raw) else f'<p class="lead">{escape(part)}</p>' for part in parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title>\n'
        f"<style>\n{_CSS}\n</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def heading(text: str) -> Raw:
    """A heading below the title."""
    return Raw(f"<h2>{escape(text)}</h2>")


def folded(summary: str, *parts: str) -> Raw:
    """Parts below a line that opens them."""
    return Raw(f"<details><summary>{inline(summary)}</summary>{''.join(map(inline, parts))}</details>")


def listing(text: str) -> Raw:
    """Text in lines, as it is."""
    return Raw(f"<pre>{escape(text)}</pre>")
