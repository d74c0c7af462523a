"""Whom a query is scored against, and which document stands in which column."""

import pytest
import torch
from torch import Tensor

from sparsemill.losses.rows import own_scores, row_documents, score_rows

IDS = [[4, 7, 9], [5, 7, 4], [6, 8, 9], [4, 5, 6]]
"""Documents of four queries, the positive first."""
SLOTS = 3


def tables() -> tuple[Tensor, Tensor]:
    """Queries, and the vector of every document by its index."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(len(IDS), 8, generator=generator), torch.rand(10, 8, generator=generator)


def flat(table: Tensor) -> Tensor:
    return table[[document for own in IDS for document in own]]


@pytest.mark.parametrize(
    ("in_batch", "rows", "positives"),
    [
        ("none", [[4, 7, 9], [5, 7, 4]], [0, 0]),
        ("positives", [[4, 7, 9, 4, 5], [5, 7, 4, 4, 5]], [0, 0]),
        ("negatives", [[4, 7, 9, 7, 4], [5, 7, 4, 7, 9]], [0, 0]),
        ("documents", [[4, 7, 9, 5, 7, 4]] * 2, [0, 3]),
    ],
)
def test_rows_of_two_queries_by_hand(in_batch: str, rows: list[list[int]], positives: list[int]) -> None:
    assert row_documents(IDS[:2], in_batch=in_batch) == (rows, positives)


@pytest.mark.parametrize("in_batch", ["none", "positives", "negatives", "documents"])
def test_every_score_belongs_to_the_document_of_its_column(in_batch: str) -> None:
    queries, table = tables()
    scores = score_rows(queries, flat(table), in_batch=in_batch, slots=SLOTS)
    rows, positives = row_documents(IDS, in_batch=in_batch)
    expected = torch.stack([table[row] @ query for row, query in zip(rows, queries, strict=True)])
    assert torch.allclose(scores, expected)
    assert [row[column] for row, column in zip(rows, positives, strict=True)] == [own[0] for own in IDS]


def test_own_scores_are_the_diagonal_blocks_of_all_scores() -> None:
    queries, table = tables()
    whole = score_rows(queries, flat(table), in_batch="documents", slots=SLOTS)
    blocks = torch.stack([whole[place, SLOTS * place : SLOTS * place + SLOTS] for place in range(4)])
    assert torch.allclose(own_scores(queries, flat(table), slots=SLOTS), blocks)
