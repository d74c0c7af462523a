"""Write a table as Markdown, CSV, LaTeX and HTML."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from html import escape
from itertools import groupby

from sparsemill.tables.layout import Cell, Header, Layout, Line, Mark, number_text, superscript
from sparsemill.tables.published import cited_text, footnotes


def marks_text(marks: Sequence[Mark]) -> str:
    """Marks as plain letters, a `↓` after those that stand for worse."""
    return "".join(mark.letter + ("↓" if mark.worse else "") for mark in marks)


def _groups(headers: Sequence[Header]) -> list[tuple[str, int]]:
    """Neighbouring columns of one group: (group, how many)."""
    return [(group, len(list(members))) for group, members in groupby(headers, key=lambda header: header.group)]


# --- Markdown ----------------------------------------------------------------------------------------------------


def markdown(table: Layout) -> str:
    """GitHub's Markdown: caption, table, legend."""
    titles = [f"{header.group} {header.label}".strip() for header in table.headers]
    rows = [[_md_label(line), *map(_md_cell, line.cells)] for line in table.lines]
    lines = [f"**{_md(table.caption)}**", "", _md_row(["System", *map(_md, titles)])]
    lines += [_md_row([":---", *("---:" for _ in titles)]), *map(_md_row, rows)]
    if table.legend:
        lines += ["", *(f"{_md_line(sentence)}  " for sentence in table.legend)]
    return "\n".join(lines).rstrip() + "\n"


# Markup, the end of a strikethrough, and entities.
_MD = re.compile(r"[\\|*_<>`\[\]$]|(?<=\S)~|&(?=#?\w+;)")


def _md(text: str) -> str:
    return _MD.sub(r"\\\g<0>", " ".join(text.split()))


def _md_line(text: str) -> str:
    """A text at the start of a line, where some characters begin a heading or a list."""
    return re.sub(r"^(?=[#+=-])", r"\\", _md(text))


def _md_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _md_label(line: Line) -> str:
    return _md(line.label) + footnotes(line.notes) + (f" *({_md(line.note)})*" if line.note else "")


def _md_cell(cell: Cell) -> str:
    if cell.cited is not None and cell.mean is None:
        return f"*{_md(cited_text(cell))}*{footnotes(cell.cited.notes)}"
    text = f"**{cell.text()}**" if cell.best else cell.text()
    text += superscript(marks_text(cell.marks))
    return text if cell.cited is None else f"{text} ({_md(cited_text(cell))}){footnotes(cell.cited.notes)}"


# --- CSV ---------------------------------------------------------------------------------------------------------


def comma_separated(table: Layout) -> str:
    """For machines: unrounded means, deviations, marks, intervals, and what is cited; empty where there is nothing."""
    titles = [f"{header.group} {header.label}".strip() for header in table.headers]
    columns = [[line.cells[place] for line in table.lines] for place in range(len(titles))]
    kept = [(any(cell.interval for cell in cells), any(cell.cited for cell in cells)) for cells in columns]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = [name for title, more in zip(titles, kept, strict=True) for name in _csv_names(title, *more)]
    writer.writerow(["system", "label", *names])
    for line in table.lines:
        values = [value for cell, more in zip(line.cells, kept, strict=True) for value in _csv_values(cell, *more)]
        writer.writerow([line.system, line.label, *("" if value is None else value for value in values)])
    return buffer.getvalue()


def _csv_names(title: str, interval: bool, cited: bool) -> list[str]:
    added = ["low", "high"] * interval + ["published", "difference", "evidence"] * cited
    return [title, *(f"{title} {name}" for name in ("std", "marks", *added))]


def _csv_values(cell: Cell, interval: bool, cited: bool) -> list[float | str | None]:
    values: list[float | str | None] = [cell.mean, cell.std, marks_text(cell.marks)]
    if interval:
        values += cell.interval[:2] if cell.interval else (None, None)
    if cited:
        found = cell.cited
        values += (None, None, None) if found is None else (found.value, found.difference, found.evidence)
    return values


# --- LaTeX -------------------------------------------------------------------------------------------------------

_TEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": r"\textendash{}",
        "±": r"$\pm$",
        "↓": r"$\downarrow$",
        "↑": r"$\uparrow$",
        "→": r"$\rightarrow$",
        "×": r"$\times$",
        "·": r"$\cdot$",
        "≤": r"$\leq$",
        "≥": r"$\geq$",
        "<": r"$<$",
        ">": r"$>$",
        "|": r"\textbar{}",
        "α": r"$\alpha$",
        "β": r"$\beta$",
        "λ": r"$\lambda$",
        "τ": r"$\tau$",
        "ℓ": r"$\ell$",
        "≈": r"$\approx$",
        "−": r"$-$",
    }
    | {character: f"\\{character}" for character in "&%$#_{}"}
    | {superscript(letter): rf"\textsuperscript{{{letter}}}" for letter in "abcdefghijklmnoprstuvwxyz"}
    | {footnotes([digit]): rf"\textsuperscript{{{digit}}}" for digit in range(10)}
)


_TEX_COLUMNS = 7  # more than fit a line


def latex(table: Layout) -> str:
    """A `table` environment for LaTeX with booktabs; one of many columns is scaled to the line, with graphicx."""
    columns, wide = "l" + "r" * len(table.headers), len(table.headers) > _TEX_COLUMNS
    needed = "% needs \\usepackage{booktabs}" + r" and \usepackage{graphicx}" * wide
    out = [needed, r"\begin{table}", r"\centering", rf"\caption{{{_tex(table.caption)}}}"]
    out += [r"\resizebox{\linewidth}{!}{%"] * wide
    out += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    if any(header.group for header in table.headers):
        out += _tex_groups(table.headers)
    out += [_tex_row(["System", *(_tex(header.label) for header in table.headers)]), r"\midrule"]
    out += [_tex_row([_tex_label(line), *map(_tex_cell, line.cells)]) for line in table.lines]
    out += [r"\bottomrule", r"\end{tabular}" + "}" * wide]
    out += [rf"\par\smallskip{{\footnotesize {_tex(sentence)}\par}}" for sentence in table.legend]
    return "\n".join([*out, r"\end{table}", ""])


def _tex(text: str) -> str:
    # Two hyphens would become a dash; the points of a sweep are named with two.
    return re.sub("-(?=-)", "-{}", " ".join(text.split()).translate(_TEX))


def _tex_row(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _tex_groups(headers: Sequence[Header]) -> list[str]:
    cells, rules, start = [""], [], 2
    for group, count in _groups(headers):
        cells.append(rf"\multicolumn{{{count}}}{{c}}{{{_tex(group)}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{start}-{start + count - 1}}}")
        start += count
    return [_tex_row(cells), " ".join(rules)]


def _tex_label(line: Line) -> str:
    text = _tex(line.label + footnotes(line.notes)) + (rf" \emph{{({_tex(line.note)})}}" if line.note else "")
    # Otherwise they would belong to the row break before.
    return "{}" + text if text.startswith(("[", "*")) else text


def _tex_cell(cell: Cell) -> str:
    published = "" if cell.cited is None else _tex(cited_text(cell))
    noted = "" if cell.cited is None else _tex(footnotes(cell.cited.notes))
    if published and cell.mean is None:
        return rf"\emph{{{published}}}{noted}"
    text = cell.text(missing="--", plus_minus=r" $\pm$ ")
    if cell.best:
        text = rf"\textbf{{{text}}}"
    text += rf"\textsuperscript{{{_tex(marks_text(cell.marks))}}}" if cell.marks else ""
    return rf"{text} {{\scriptsize ({published})}}{noted}" if published else text


# --- HTML --------------------------------------------------------------------------------------------------------

_CSS = """
:root{color-scheme:light}
body{margin:2rem auto;max-width:1200px;padding:0 1rem;background:#fff;color:#1b1f24;
 font:14px/1.45 system-ui,"Segoe UI",Helvetica,Arial,sans-serif}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;border-top:2px solid #1b1f24;border-bottom:2px solid #1b1f24}
caption{caption-side:top;text-align:left;font-weight:600;padding:0 0 .6rem}
th,td{padding:.4rem .5rem;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
th:first-child,td:first-child,th[scope=row]{text-align:left}
th[scope=row]{font-weight:400;white-space:normal;min-width:11rem}
th[scope=row],thead tr:first-child th:first-child{position:sticky;left:0;background:#fff}
thead th{font-weight:600;vertical-align:bottom}
thead tr:last-child th{border-bottom:1px solid #1b1f24}
thead th.group{text-align:center;border-bottom:1px solid #b6bec8}
tbody tr+tr>*{border-top:1px solid #e7eaee}
.note{color:#59636e;font-size:.87em}
.std{color:#59636e;font-size:.85em}
td.none{color:#8a939d}
.published{color:#59636e;font-size:.85em}
td.cited{color:#59636e;font-style:italic}
tr.cited>*{background:#fafbfc}
tbody tr:hover>*{background:#f5f8fb}
sup{line-height:0;font-size:.72em;color:#0a58a8;padding-left:.1em}
sup.worse{color:#b3261e}
.legend{color:#424a53;font-size:.87em;margin:.6rem 0 0}
""".strip()


def html(table: Layout) -> str:
    """A page of its own, styles included, that needs no network."""
    head = "".join(f"<tr>{row}</tr>" for row in _html_head(table.headers))
    body = "\n".join(_html_row(line) for line in table.lines)
    legend = "".join(f'<p class="legend">{escape(sentence)}</p>' for sentence in table.legend)
    caption = escape(table.caption)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{caption}</title>\n'
        f'<style>\n{_CSS}\n</style></head>\n<body><div class="scroll"><table><caption>{caption}</caption>\n'
        f"<thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table></div>\n{legend}</body></html>\n"
    )


def _html_head(headers: Sequence[Header]) -> list[str]:
    labels = "<th>System</th>" + "".join(f"<th>{escape(header.label)}</th>" for header in headers)
    if not any(header.group for header in headers):
        return [labels]
    groups = "".join(
        f'<th class="group" colspan="{count}" scope="colgroup">{escape(group)}</th>'
        if group
        else f'<th colspan="{count}"></th>'
        for group, count in _groups(headers)
    )
    return [f"<th></th>{groups}", labels]


def _html_row(line: Line) -> str:
    note = f' <span class="note">{escape(line.note)}</span>' if line.note else ""
    kind = "" if line.system else ' class="cited"'
    label = f'<th scope="row">{escape(line.label)}{_html_notes(line.notes)}{note}</th>'
    return f"<tr{kind}>{label}{''.join(map(_html_cell, line.cells))}</tr>"


def _html_notes(notes: Sequence[int]) -> str:
    return f"<sup>{','.join(map(str, notes))}</sup>" if notes else ""


def _html_cell(cell: Cell) -> str:
    published = escape(cited_text(cell))
    noted = "" if cell.cited is None else _html_notes(cell.cited.notes)
    if published and cell.mean is None:
        return f'<td class="cited">{published}{noted}</td>'
    if cell.mean is None:
        return '<td class="none">–</td>'
    mean = number_text(cell.mean, cell.digits)
    text = f"<strong>{mean}</strong>" if cell.best else mean
    if cell.std is not None:
        text += f' <span class="std">± {cell.std:.{cell.digits}f}</span>'
    marks = "".join(f"<sup{' class=worse' if mark.worse else ''}>{marks_text([mark])}</sup>" for mark in cell.marks)
    beside = f' <span class="published">({published})</span>{noted}' if published else ""
    return f"<td{_html_interval(cell)}>{text}{marks}{beside}</td>"


def _html_interval(cell: Cell) -> str:
    """Shown while the pointer rests on the value."""
    if cell.interval is None:
        return ""
    low, high = (f"{end:.{cell.digits}f}" for end in cell.interval[:2])
    return f' title="{100 * cell.interval.level:g}% interval {low} to {high} (bootstrap over queries)"'


WRITERS: dict[str, Callable[[Layout], str]] = {"md": markdown, "csv": comma_separated, "tex": latex, "html": html}
"""File name extension -> writer."""
