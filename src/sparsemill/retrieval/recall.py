"""How much of the true best documents an approximate engine finds."""

from collections.abc import Sequence

from sparsemill.errors import UserError
from sparsemill.retrieval.runs import Hit


def recall(found: Sequence[Sequence[Hit]], exact: Sequence[Sequence[Hit]]) -> float:
    """Share of the exact engine's documents that were found, averaged over queries.

    Args:
        found: hits of each query.
        exact: hits of the exact engine, for the same queries and k; queries without hits are left out.

    Raises:
        UserError: no query has hits.
    """
    shares = []
    for mine, true in zip(found, exact, strict=True):
        if true:
            wanted = {hit.doc_id for hit in true}
            shares.append(len(wanted & {hit.doc_id for hit in mine}) / len(wanted))
    if not shares:
        raise UserError("no query has hits, so that there is nothing to find again; look at the collection's queries")
    return sum(shares) / len(shares)
