"""The embedded collection: installed packages' docstrings, the first paragraph as a query for the rest.

A document is a public object: its id and title are the shortest public path, its text is the docstring without the
first paragraph. That paragraph, which says in one sentence what the object does, is a query whose one relevant document
is the object. Both are real prose by people who know the subject, and the same versions of the packages give the same
collection everywhere, without a download.

Objects that would make the task ambiguous or empty are left out: of objects that share a docstring, a text or a first
paragraph (sparse formats repeat their methods' docs) only the first in order of their paths is kept; deprecated
objects, and those with little text or a first paragraph of one or two words, are dropped. Markup (roles, back quotes,
references) is taken out of queries, because nobody types it.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import import_module
from textwrap import dedent
from typing import Any

from sparsemill.data.collection import Document, Qrel, Query, Source
from sparsemill.data.docstrings import Described, described_objects
from sparsemill.errors import UserError

_MIN_TEXT_WORDS = 15
_MIN_QUERY_WORDS = 3

_SIGNATURE = re.compile(r"^[\w.]+\(.*\)(\s*(->.*|--))?$", re.DOTALL)
_NOT_PROSE = re.compile(r"^(\.\. |>>> |[-=*]{3,})|\n[-=]{3,}$")
_DEPRECATED = re.compile(r"^\.\. deprecated::", re.MULTILINE)
_ADDRESS_LINE = re.compile(r"^.*\bat 0x[0-9a-f]{4,}.*\n?", re.MULTILINE)
# Output of an example that is drawn anew whenever the package is imported (scipy.stats).
_VARYING_OUTPUT = re.compile(r"^(?:(?!\s*(?:>>>|\.\.\.) ).+\n)*?(?!\s*(?:>>>|\.\.\.) ).*# may vary.*\n?", re.MULTILINE)
_DOCTEST_FLAG = re.compile(r"\s*# doctest:.*$", re.MULTILINE)
_ROLE = re.compile(r":[\w:]+:`~?([^`<]*?)(?:\s*<[^`]*>)?`")
_REFERENCE = re.compile(r"\s*\[\w+\]_")


def read_pydocs(
    packages: Sequence[str], *, split: str, max_documents: int | None = None, max_queries: int | None = None
) -> tuple[Source, dict[str, dict[str, Any]]]:
    """Build the collection of some packages' docstrings; every query is judged in `split`.

    Args:
        packages: importable names.
        split: name of the one split.
        max_documents: keep at most so many, in proportion to what each package has, chosen by the hash of the id.
        max_queries: keep at most so many, chosen by the hash of the id.

    Returns:
        The collection, ordered by id, and per package its `version`, and how many documents it has (`found`) and gives
        (`documents`).

    Raises:
        UserError: a package is named twice or cannot be imported.
    """
    if repeated := [name for name, count in Counter(packages).items() if count > 1]:
        raise UserError(f"`packages` names {repeated[0]!r} twice")
    pairs = distinct_pairs(entry for name in packages for entry in described_objects(name))
    found = {name: [pair[0].id for pair in pairs if _package(pair[0].id) == name] for name in packages}
    kept = sample(found, max_documents)
    pairs = [pair for pair in pairs if pair[0].id in kept]
    asked = _smallest_hashes((query.id for _, query in pairs), max_queries)
    judged = [(document, query) for document, query in pairs if query.id in asked]
    source = Source(
        iter([document for document, _ in pairs]),
        iter([query for _, query in judged]),
        {split: [Qrel(query.id, document.id, 1) for document, query in judged]},
    )
    facts = {
        name: {
            "version": getattr(import_module(name), "__version__", "unknown"),
            "found": len(ids),
            "documents": len(kept.intersection(ids)),
        }
        for name, ids in found.items()
    }
    return source, facts


def distinct_pairs(entries: Iterable[Described]) -> list[tuple[Document, Query]]:
    """Documents with their queries, by id; of those that share a text or a query the first in that order."""
    pairs = []
    seen: set[str] = set()
    for path, doc in sorted(entries):
        if (parts := split_docstring(doc)) is None:
            continue
        query, text = parts
        if not seen.isdisjoint(keys := {f"query {query.lower().rstrip('.')}", f"text {text}"}):
            continue
        seen |= keys
        pairs.append((Document(path, path, text), Query(f"q:{path}", query)))
    return pairs


def split_docstring(doc: str) -> tuple[str, str] | None:
    """Cut a docstring (without indentation) into a one-line query and the remaining text.

    Call signatures that compiled functions put first are skipped. None: the object is deprecated, the first paragraph
    is no prose or too short, or too little remains.
    """
    if _DEPRECATED.search(doc):
        return None
    for noise in (_VARYING_OUTPUT, _ADDRESS_LINE, _DOCTEST_FLAG):
        doc = noise.sub("", doc)
    paragraphs = re.split(r"\n\s*\n", doc.strip())
    while paragraphs and _SIGNATURE.match(paragraphs[0]):
        del paragraphs[0]
    if not paragraphs or _NOT_PROSE.search(paragraphs[0]) or "deprecated" in paragraphs[0].lower():
        return None
    query = " ".join(_REFERENCE.sub("", _ROLE.sub(r"\1", paragraphs[0])).replace("`", "").split())
    text = dedent("\n\n".join(paragraphs[1:]))
    if len(query.split()) < _MIN_QUERY_WORDS or len(text.split()) < _MIN_TEXT_WORDS:
        return None
    return query, text


def sample(found: dict[str, list[str]], most: int | None) -> set[str]:
    """Choose at most `most` ids, from each group in proportion to its size, by the hash of the id.

    Quotas are rounded by largest remainders (ties: the group named first), so that they add up to `most`.
    """
    total = sum(map(len, found.values()))
    if most is None or most >= total:
        return {item for ids in found.values() for item in ids}
    quotas = {name: most * len(ids) // total for name, ids in found.items()}
    by_remainder = sorted(found, key=lambda name: -(most * len(found[name]) % total))
    for name in by_remainder[: most - sum(quotas.values())]:
        quotas[name] += 1
    return {item for name, ids in found.items() for item in _smallest_hashes(ids, quotas[name])}


def _smallest_hashes(ids: Iterable[str], count: int | None) -> set[str]:
    return set(sorted(ids, key=lambda item: hashlib.sha256(item.encode()).digest())[:count])


def _package(path: str) -> str:
    return path.split(".", 1)[0]
