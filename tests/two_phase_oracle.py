"""Two-phase search as its definition has it, for any engine."""

from collections.abc import Callable
from typing import Any

from sparsemill.retrieval.two_phase import Array, Found, TwoPhase, combine, split_queries, window_size

First = Callable[[Any, int], list[Found]]
"""CSR queries and a number of documents -> the best of each query."""

Rescore = Callable[[Any, Array], Array]
"""A CSR row and documents -> the row's dot product with each, float32."""


def search_two_phase(queries: Any, k: int, settings: TwoPhase, *, first: First, rescore: Rescore) -> list[Found]:
    """The k best documents of each query by both phases.

    Args:
        queries: CSR [queries, vocabulary], weights that are not negative.
        k: documents per query.
        settings: see `TwoPhase`.
        first: searches with the tokens of high weight.
        rescore: scores the window with the tokens of low weight.

    Raises:
        UserError: as `window_size`.
    """
    high, low = split_queries(queries, settings.prune_ratio)
    found = first(high, window_size(k, settings))
    return [combine(one, rescore(low[row], one.documents), k) for row, one in enumerate(found)]
