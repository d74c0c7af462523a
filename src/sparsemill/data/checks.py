"""What must hold of a collection: ids, judgements, counts."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sparsemill.errors import UserError

if TYPE_CHECKING:
    from sparsemill.data.collection import Document, Places, Qrel, Query

logger = logging.getLogger(__name__)

# TREC's levels go from -2 to 4, some sets' to some hundreds; trec_eval counts up to the largest, so it must be small.
_LOWEST, _HIGHEST = -10, 1000
# Ids are written one per line elsewhere, so no character that some reader takes for the end of a line.
_BAD_ID = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

Item = TypeVar("Item", "Document", "Query")


def where_data_starts(path: Path) -> str:
    """The end of a message that `path` is not there: empty where it is absolute."""
    return "" if path.is_absolute() else "; relative paths start at `data` (--config data=FOLDER)"


def check_split(source: object, split: str, splits: Iterable[str]) -> None:
    """Refuse a split that is not among `splits`, naming those there are.

    Raises:
        UserError: `split` is not there.
    """
    if split not in (known := sorted(set(splits))):
        raise UserError(f"{source}: no split {split!r}; its splits are: {', '.join(known) or '(none)'}")


def check_relevance(place: str, relevance: int) -> None:
    """Refuse a judgement that is no level of relevance.

    Raises:
        UserError: `relevance` is outside -10 to 1000.
    """
    if not _LOWEST <= relevance <= _HIGHEST:
        raise UserError(f"{place}: judgement {relevance} is not from {_LOWEST} to {_HIGHEST}; scale the judgements")


def check_counts(facts: Mapping[str, Any], *, split: str, expected: Mapping[str, int]) -> None:
    """Compare what `write_collection` found with the counts that the config expects.

    Args:
        facts: the result of `write_collection`.
        split: where queries and judgements are counted.
        expected: any of `documents`, `queries`, `judgements`.

    Raises:
        UserError: a count differs.
    """
    for what, number in expected.items():
        found = facts[what] if what == "documents" else facts[what][split]
        if found != number:
            where = "" if what == "documents" else f" in split {split!r}"
            raise UserError(f"the collection has {found} {what}{where}, but its `counts` expect {number}")


def check_relevant(qrels: "Iterable[Qrel]", *, split: str, relevance: int = 1) -> None:
    """Warn of judged queries without a relevant document: their measures are 0, whatever is found.

    Args:
        qrels: judgements of the split.
        split: its name.
        relevance: least judgement that counts as relevant.

    Raises:
        UserError: there are judgements, and none of them is above 0.
    """
    best: dict[str, int] = {}
    for qrel in qrels:
        best[qrel.query_id] = max(qrel.relevance, best.get(qrel.query_id, 0))
    without = [query for query, found in best.items() if found < relevance]
    if best and not any(best.values()):
        raise UserError(f"qrels of split {split!r}: no judgement is above 0, so that no query has a relevant document")
    if without:
        some = ", ".join(without[:5]) + (", ..." if len(without) > 5 else "")
        zero = "0" if relevance == 1 else "0 but in nDCG"
        told = "qrels of split %r: %d of %d queries have no relevant document (judged %d or more) and count %s: %s"
        logger.warning(told, split, len(without), len(best), relevance, zero, some)


def checked(items: "Iterable[Item]", seen: set[str], kind: str, places: "Places") -> "Iterator[Item]":
    """The documents or queries one by one, with their ids added to `seen`.

    Raises:
        UserError: an id is empty or there already, or holds a control character.
    """
    for number, item in enumerate(items, start=1):
        if not item.id or item.id in seen or _BAD_ID.search(item.id):
            raise UserError(f"{places.last() or f'{kind} number {number}'}: {kind} id {_mistake(item.id)}")
        seen.add(item.id)
        yield item


def _mistake(identifier: str) -> str:
    if not identifier:
        return "is empty"
    if _BAD_ID.search(identifier):
        return f"{identifier!r} holds a control character; rename it"
    return f"{identifier!r} is there twice"


def distinct(split: str, qrels: "Iterable[Qrel]", places: "Places") -> dict[tuple[str, str], int]:
    """Query id and document id -> relevance.

    Raises:
        UserError: a judgement is outside -10 to 1000, or two of a pair contradict each other.
    """
    seen: dict[tuple[str, str], int] = {}
    for qrel in qrels:
        place = f"qrels of split {split!r}: query {qrel.query_id!r}, document {qrel.doc_id!r}"
        check_relevance(place, qrel.relevance)
        known = seen.setdefault((qrel.query_id, qrel.doc_id), qrel.relevance)
        if known != qrel.relevance:
            raise UserError(
                f"{places.judged(split, qrel)}qrels of split {split!r} contradict themselves: query {qrel.query_id!r}, "
                f"document {qrel.doc_id!r} is judged {known} and {qrel.relevance}"
            )
    return seen


def check_known(split: str, what: str, bad: "Sequence[Qrel]", places: "Places") -> None:
    """Refuse judgements of what is not there.

    Args:
        split: where they are.
        what: `queries` or `documents`.
        bad: the judgements.
        places: where they stand.

    Raises:
        UserError: there are any.
    """
    if bad:
        unknown = sorted({qrel.query_id if what == "queries" else qrel.doc_id for qrel in bad})
        some = ", ".join(map(repr, unknown[:3])) + (", ..." if len(unknown) > 3 else "")
        where = places.judged(split, bad[0])
        raise UserError(f"{where}qrels of split {split!r} name {len(unknown)} unknown {what}: {some}")
