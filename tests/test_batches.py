"""Batches by length, bounded by padded tokens."""

import numpy as np
import pytest

from sparsemill.models.batches import token_batches


def test_by_hand() -> None:
    assert list(token_batches([20, 5, 19, 17, 10, 19], tokens=80)) == [[0, 2, 5], [3], [4], [1]]
    assert list(token_batches([20, 5, 19, 17, 10, 19], tokens=800)) == [[0, 2, 5, 3, 4], [1]]


def test_small_batches_are_filled_with_texts_of_any_length() -> None:
    assert list(token_batches([3, 2, 1], tokens=1000)) == [[0, 1, 2]]


def test_a_text_above_the_bound_is_alone() -> None:
    assert list(token_batches([20, 2, 2], tokens=4)) == [[0], [1, 2]]


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
