"""What a sparse retriever does with a few queries: token weights, documents found, terms that expanded them."""

import hashlib
import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sparsemill.data.collection import Document, Qrel, Query
from sparsemill.errors import UserError
from sparsemill.retrieval.runs import Hit, Run
from sparsemill.retrieval.vectors import read_shards

SHOWN_DOCUMENTS = 3
SHOWN_TERMS, SHOWN_EXPANSIONS = 7, 5

Weights = dict[str, float]
"""Token -> weight."""


class Term(NamedTuple):
    """A weighted token of a document; `expansion`: not in its text; `matched`: a token of the query."""

    token: str
    weight: float
    expansion: bool
    matched: bool


class Found(NamedTuple):
    """A document of a result list with some of its terms, see `strongest`."""

    rank: int
    score: float
    document: Document
    relevant: bool
    active: int
    terms: list[Term]


class Answer(NamedTuple):
    """What one system makes of a query; `rank` is that of the best relevant document, None if it is not found."""

    label: str
    tokens: Weights
    rank: int | None
    depth: int
    found: list[Found]


class Explained(NamedTuple):
    """A query with the answers of all systems; `note` says why it was picked."""

    query: Query
    relevant: int
    baseline: tuple[str, int | None] | None
    answers: list[Answer]
    note: str = ""


class System(NamedTuple):
    """A trained system's side of the page.

    Attributes:
        label: its name for readers.
        run: its results.
        vectors: document id -> token weights, of every document of `needed_documents`.
        weigh: query text -> weights of its distinct tokens.
        split: text -> its tokens.
    """

    label: str
    run: Run
    vectors: Mapping[str, Weights]
    weigh: Callable[[str], Weights]
    split: Callable[[str], Iterable[str]]


def choose_queries(queries: Sequence[Query], qrels: Iterable[Qrel], *, count: int, relevance: int = 1) -> list[Query]:
    """The `count` queries with the smallest SHA-256 of their id among those with a relevant document."""
    answerable = {qrel.query_id for qrel in qrels if qrel.relevance >= relevance}
    pool = [query for query in queries if query.id in answerable]
    return heapq.nsmallest(count, pool, key=lambda query: hashlib.sha256(query.id.encode()).hexdigest())


def extreme_queries(
    queries: Sequence[Query], values: Sequence[Mapping[str, float]], *, count: int, measure: str
) -> dict[str, str]:
    """The best and the worst queries of the first system, half each; against the second one if there is one.

    Args:
        queries: of the split.
        values: query id -> value of `measure`, of each system; ties go by the SHA-256 of the id.
        count: how many in all; the odd one is a best one.
        measure: its name.

    Returns:
        Query id -> its values in words; the best first, then the worst, each from the extreme on.
    """
    first, *others = values
    second = others[0] if others else {}
    gains = {query.id: first[query.id] - second.get(query.id, 0.0) for query in queries if query.id in first}
    ranked = sorted(gains, key=lambda name: (-gains[name], hashlib.sha256(name.encode()).hexdigest()))
    best = ranked[: -(-count // 2)]
    worst = [name for name in reversed(ranked) if name not in best][: count // 2]

    def told(name: str) -> str:
        text = f"{measure} {first[name]:.3f}"
        return f"{text} against {second[name]:.3f} ({gains[name]:+.3f})" if second else text

    return {name: told(name) for name in (*best, *worst)}


def needed_documents(queries: Iterable[Query], runs: Iterable[Run]) -> set[str]:
    """Ids of the documents that the page shows."""
    listed = list(queries)
    return {hit.doc_id for run in runs for query in listed for hit in run.get(query.id, [])[:SHOWN_DOCUMENTS]}


def read_vectors(shards: Sequence[Path], wanted: set[str], vocabulary: Sequence[str]) -> dict[str, Weights]:
    """Token weights of some documents, strongest first, one shard in memory at a time.

    Raises:
        UserError: a document has no vector, or the vocabulary has another size.
    """
    found: dict[str, Weights] = {}
    for ids, matrix in read_shards(shards, vocabulary=len(vocabulary)):
        for row, name in enumerate(ids):
            if name in wanted:
                part = slice(matrix.indptr[row], matrix.indptr[row + 1])
                pairs = zip(matrix.indices[part].tolist(), matrix.data[part].tolist(), strict=True)
                weights = sorted(((-weight, vocabulary[index]) for index, weight in pairs if weight > 0))
                found[name] = {token: -weight for weight, token in weights}
    if missing := sorted(wanted - found.keys()):
        raise UserError(f"vectors: document {missing[0]!r} of the run has no vector; encode and search again")
    return found


def explain(
    queries: Sequence[Query],
    systems: Sequence[System],
    documents: Mapping[str, Document],
    qrels: Iterable[Qrel],
    *,
    relevance: int = 1,
    baseline: tuple[str, Run] | None = None,
    notes: Mapping[str, str] | None = None,
) -> list[Explained]:
    """Gather everything that the page shows.

    Args:
        queries: see `choose_queries`.
        systems: trained systems, in the order shown.
        documents: id -> document, of `needed_documents`.
        qrels: judgements of the split.
        relevance: least judgement that counts as relevant.
        baseline: label and run to compare ranks with.
        notes: query id -> why it was picked.
    """
    relevant: dict[str, set[str]] = {}
    for qrel in qrels:
        if qrel.relevance >= relevance:
            relevant.setdefault(qrel.query_id, set()).add(qrel.doc_id)
    explained = []
    for query in queries:
        good = relevant.get(query.id, set())
        compared = (baseline[0], best_rank(baseline[1].get(query.id, []), good)) if baseline else None
        answers = [_answer(query, system, documents, good) for system in systems]
        explained.append(Explained(query, len(good), compared, answers, (notes or {}).get(query.id, "")))
    return explained


def strongest(terms: Sequence[Term]) -> list[Term]:
    """The first terms of the text and the first expansions: those of the query, which made the score, then the others.

    Args:
        terms: of a document, strongest first; so are either in the result.
    """
    ordered = sorted(terms, key=lambda term: not term.matched)
    text = [term for term in ordered if not term.expansion][:SHOWN_TERMS]
    expansions = [term for term in ordered if term.expansion][:SHOWN_EXPANSIONS]
    return [term for term in ordered if term in text or term in expansions]


def best_rank(hits: Sequence[Hit], relevant: set[str]) -> int | None:
    """Rank from 1 of the first relevant document, None if there is none."""
    return next((rank for rank, hit in enumerate(hits, start=1) if hit.doc_id in relevant), None)


def _answer(query: Query, system: System, documents: Mapping[str, Document], relevant: set[str]) -> Answer:
    hits, tokens = system.run.get(query.id, []), system.weigh(query.text)
    found = []
    for rank, hit in enumerate(hits[:SHOWN_DOCUMENTS], start=1):
        document, weights = documents[hit.doc_id], system.vectors[hit.doc_id]
        text = set(system.split(document.contents))
        terms = [
            Term(token, weight, expansion=token not in text, matched=token in tokens)
            for token, weight in weights.items()
        ]
        found.append(Found(rank, hit.score, document, hit.doc_id in relevant, len(weights), strongest(terms)))
    return Answer(system.label, tokens, best_rank(hits, relevant), len(hits), found)
