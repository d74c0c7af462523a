"""Batches by length, bounded by padded tokens."""

import numpy as np
import pytest

from sparsemill.models.batches import token_batches


def test_by_hand() -> None:
    assert list(token_batches([2, 5, 3, 5, 1], tokens=10)) == [[1, 3], [2, 0, 4]]


def test_a_text_above_the_bound_is_alone() -> None:
    assert list(token_batches([20, 1, 1], tokens=4)) == [[0], [1, 2]]


def test_no_texts_give_no_batches() -> None:
    assert list(token_batches([], tokens=4)) == []


@pytest.mark.parametrize("tokens", [1, 7, 64, 1000])
def test_every_text_once_within_the_bound_longest_first(tokens: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 30, size=100).tolist()
    batches = list(token_batches(lengths, tokens=tokens))
    flat = [row for batch in batches for row in batch]
    assert sorted(flat) == list(range(100))
    assert [lengths[row] for row in flat] == sorted(lengths, reverse=True)
    assert all(len(batch) == 1 or len(batch) * lengths[batch[0]] <= tokens for batch in batches)
