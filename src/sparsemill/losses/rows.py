"""Which documents a query is scored against: its row (2107.05720, L_rank-IBN; 2411.04403, Fig. 2)."""

from collections.abc import Sequence

import torch
from torch import Tensor


def own_scores(queries: Tensor, documents: Tensor, *, slots: int) -> Tensor:
    """Dot products of each query with its own documents.

    Args:
        queries: [queries, vocabulary].
        documents: [queries * slots, vocabulary], query by query, each query's positive first.
        slots: documents per query.

    Returns:
        [queries, slots].
    """
    return torch.einsum("qv,qnv->qn", queries, documents.view(len(queries), slots, -1))


def score_rows(queries: Tensor, documents: Tensor, *, in_batch: str, slots: int) -> Tensor:
    """Dot products of each query with its row.

    Args:
        queries, documents, slots: as in `own_scores`.
        in_batch: `none`: a query's own documents. `documents`: every document of the step. `positives`: its own
            documents, then the positives of all queries of the step, its own a second time among them. `negatives`:
            its own documents, then the negatives of the other queries (SPLADE-v3's code).

    Returns:
        [queries, documents of the row], columns as in `row_documents`.
    """
    if in_batch == "documents":
        return queries @ documents.T
    own = own_scores(queries, documents, slots=slots)
    if in_batch == "none":
        return own
    if in_batch == "positives":
        return torch.cat([own, queries @ documents[::slots].T], dim=1)
    rows = documents.view(-1, slots, documents.shape[1])
    scores = torch.einsum("qv,onv->qon", queries, rows[:, 1:])
    others = ~torch.eye(len(rows), dtype=torch.bool, device=scores.device)
    return torch.cat([own, scores[others].view(len(queries), -1)], dim=1)


def row_documents(documents: Sequence[Sequence[int]], *, in_batch: str) -> tuple[list[list[int]], list[int]]:
    """The document behind each column of `score_rows`, and the column of each query's positive.

    Args:
        documents: indices of the documents of every query of the step, the positive first.
        in_batch: as in `score_rows`.

    Returns:
        [queries][documents of the row] indices, and [queries] columns.
    """
    if in_batch == "documents":
        flat = [document for own in documents for document in own]
        return [flat for _ in documents], [place * len(documents[0]) for place in range(len(documents))]
    positives = [own[0] for own in documents] if in_batch == "positives" else []
    rows = [[*own, *positives] for own in documents]
    if in_batch == "negatives":
        for place, row in enumerate(rows):
            row.extend(document for other, own in enumerate(documents) if other != place for document in own[1:])
    return rows, [0 for _ in documents]
