"""The page that shows what sparse retrievers do with a few queries: standalone HTML, no script, no network."""

from collections.abc import Iterable, Sequence
from html import escape

from sparsemill.tables.explain import Answer, Explained, Found, Term, Weights

SNIPPET = 260  # characters

_CSS = """
:root{color-scheme:light}
*{box-sizing:border-box}
body{margin:2rem auto;max-width:1000px;padding:0 1rem;background:#fff;color:#1b1f24;
 font:15px/1.5 system-ui,"Segoe UI",Helvetica,Arial,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:0 0 .3rem;line-height:1.25}
h2{font-size:1.15rem;margin:0;line-height:1.35}
h3{font-size:.95rem;margin:1.1rem 0 .4rem}
p{margin:.3rem 0}
.lead,.meta{color:#57606a;font-size:.9rem}
.query{margin:2.2rem 0 0;padding-top:1.1rem;border-top:2px solid #1b1f24}
.chip{display:inline-block;margin:.15rem .25rem .15rem 0;padding:.12rem .5rem;border-radius:.4rem;
 border:1px solid #b9cfe4;font:.85rem/1.5 ui-monospace,Menlo,Consolas,monospace}
.chip b{font-weight:600}
.chip small{margin-left:.4em}
.ranks{font-size:.9rem;margin:.35rem 0 .5rem}
.up{color:#116329;font-weight:600}
.down{color:#b3261e;font-weight:600}
.docs{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:.8rem}
@media (max-width:760px){.docs{grid-template-columns:1fr}}
.doc{border:1px solid #d5dae0;border-radius:.5rem;padding:.6rem .75rem .7rem}
.doc.relevant{border-color:#2c8a4b;box-shadow:inset 0 3px 0 #2c8a4b}
.doc h4{margin:.1rem 0 .2rem;font-size:.93rem;line-height:1.35}
.badge{float:right;background:#dff3e4;color:#0f5323;border-radius:.35rem;padding:0 .45rem;font-size:.78rem;
 font-weight:600}
.snippet{font-size:.83rem;line-height:1.4;color:#3b434c;margin:0 0 .5rem}
.term{display:grid;grid-template-columns:42% 1fr 2.6rem;gap:.4rem;align-items:center;
 font:.78rem/1.55 ui-monospace,Menlo,Consolas,monospace}
.term span:first-child{white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.term .value{text-align:right;color:#57606a}
.bar{display:block;height:.62rem;border-radius:.2rem;background:#7d8794}
.expansion .bar{background:#d9822b}
.expansion span:first-child{color:#8f4b00}
.matched span:first-child{font-weight:700;text-decoration:underline;text-underline-offset:2px}
.key span{display:inline-block;width:.8rem;height:.62rem;border-radius:.2rem;margin:0 .3rem 0 .9rem}
.none{color:#57606a;font-style:italic}
.beside{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:1.4rem}
.beside>div{min-width:0}
.beside .docs{grid-template-columns:1fr}
""".strip()


def page(explained: Sequence[Explained], *, title: str, collection: str, picked: str = "", beside: bool = False) -> str:
    """The whole page. Every text from data is escaped.

    Args:
        explained: queries in the order shown.
        title: heading of the page.
        collection: name of the collection.
        picked: how the queries were picked (empty: by a hash of their ids).
        beside: the systems stand side by side, not one below the other.
    """
    picked = picked or "chosen by a hash of their ids"
    body = "\n".join(_query(item, beside=beside) for item in explained) or '<p class="none">No query was asked for.</p>'
    plural = "query" if len(explained) == 1 else "queries"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title>
<style>
{_CSS}
</style></head>
<body><h1>{escape(title)}</h1>
<p class="lead">{len(explained)} test {plural} of {escape(collection)}, {escape(picked)}. A document scores
the sum over the query's tokens of query weight × document weight.</p>
<p class="lead key">Terms of a document:<span class="bar"></span>in its text<span class="bar"
 style="background:#d9822b"></span>expansion, not in its text; <u>underlined</u>, and first: in the query</p>
{body}
</body></html>
"""


def _query(item: Explained, *, beside: bool) -> str:
    answers = "\n".join(_answer(answer, item) for answer in item.answers)
    if beside:
        answers = f'<div class="beside">{answers}</div>'
    plural = "document" if item.relevant == 1 else "documents"
    note = f" · {escape(item.note)}" if item.note else ""
    meta = f"query {escape(item.query.id)} · {item.relevant} relevant {plural}{note}"
    return f'<section class="query"><h2>{escape(item.query.text)}</h2><p class="meta">{meta}</p>\n{answers}</section>'


def _answer(answer: Answer, item: Explained) -> str:
    documents = "".join(map(_document, answer.found)) or '<p class="none">No document shares a token with it.</p>'
    return (
        f"<div><h3>{escape(answer.label)}</h3>\n<div>{_chips(answer.tokens)}</div>\n"
        f'<p class="ranks">{_ranks(answer, item)}</p>\n<div class="docs">{documents}</div></div>'
    )


def _chips(tokens: Weights) -> str:
    if not tokens:
        return '<span class="none">no token of the vocabulary</span>'
    top = max(tokens.values()) or 1.0
    return "".join(_chip(token, weight, weight / top) for token, weight in tokens.items())


def _chip(token: str, weight: float, strength: float) -> str:
    """A token on a blue whose depth is its weight; white text where the blue is dark."""
    red, green, blue = (round(255 - strength * (255 - full)) for full in (11, 87, 158))
    ink = "#fff" if strength > 0.6 else "#1b1f24"
    style = f"background:rgb({red},{green},{blue});color:{ink}"
    return f'<span class="chip" style="{style}"><b>{escape(token)}</b><small>{weight:.2f}</small></span>'


def _ranks(answer: Answer, item: Explained) -> str:
    here = _rank(answer.rank, answer.depth)
    if item.baseline is None:
        return f"Best relevant document: {here}."
    name, rank = item.baseline
    mine, theirs = (float("inf") if value is None else value for value in (answer.rank, rank))
    state = "up" if mine < theirs else "down" if mine > theirs else "same"
    shown = "not found" if rank is None else f"rank {rank}"
    return f'Best relevant document: <span class="{state}">{here}</span>; {escape(name)}: {shown}.'


def _rank(rank: int | None, depth: int) -> str:
    return f"not among the {depth} found" if rank is None else f"rank {rank}"


def _document(found: Found) -> str:
    document = found.document
    badge = '<span class="badge">relevant</span>' if found.relevant else ""
    return (
        f'<article class="doc{" relevant" if found.relevant else ""}">{badge}'
        f'<div class="meta">{found.rank}. · score {found.score:.2f} · {found.active} terms</div>'
        f"<h4>{escape(document.title or document.id)}</h4>"
        f'<p class="snippet">{escape(_snippet(document.text))}</p>{_terms(found.terms)}</article>'
    )


def _snippet(text: str) -> str:
    plain = " ".join(text.split())
    if len(plain) <= SNIPPET:
        return plain
    start = plain[:SNIPPET]
    words = start.rpartition(" ")[0]
    # Chinese and Japanese hardly have spaces: the last one may be far from the end.
    return (words if len(words) > SNIPPET // 2 else start) + " …"


def _terms(terms: Iterable[Term]) -> str:
    listed = list(terms)
    top = max((term.weight for term in listed), default=1.0)
    return "".join(_term(term, term.weight / top) for term in listed) or '<p class="none">An empty vector.</p>'


def _term(term: Term, strength: float) -> str:
    kinds = "".join(name for name, on in ((" expansion", term.expansion), (" matched", term.matched)) if on)
    hint = escape(f"{term.token}: not in the text" if term.expansion else f"{term.token}: in the text")
    return (
        f'<div class="term{kinds}" title="{hint}"><span>{escape(term.token)}</span>'
        f'<span><span class="bar" style="width:{max(2, round(100 * strength))}%"></span></span>'
        f'<span class="value">{term.weight:.2f}</span></div>'
    )
