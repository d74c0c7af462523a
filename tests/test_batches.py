"""Batches by length, bounded by padded tokens."""

import numpy as np
import pytest
import torch

from sparsemill.models.batches import few_shapes, token_batches


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


def test_batches_in_few_shapes_by_hand() -> None:
    """At most 64 tokens: 33 tokens are padded to 48, one text; 17 to 32, two texts; 16 stay, four texts."""
    lengths = [16, 33, 17, 5, 16, 12, 20, 1, 17]
    found = list(few_shapes(lengths, tokens=64, longest=40))
    assert found == [([1], 40), ([6, 2], 32), ([8, 0], 32), ([4, 5, 3, 7], 16)]
    assert list(few_shapes([100, 3], tokens=64, longest=100)) == [([0], 100), ([1], 16)]
    assert list(few_shapes([], tokens=64, longest=0)) == []


@pytest.mark.parametrize("seed", range(3))
def test_many_training_batches_have_few_shapes(seed: int) -> None:
    """Batches of 32 texts of up to 128 tokens: with 8 padded lengths and less than 8 further counts in last groups."""
    random = torch.Generator().manual_seed(seed)
    shapes = set()
    for _ in range(200):
        lengths = torch.randint(5, 129, (32,), generator=random).tolist()
        batches = list(few_shapes(lengths, tokens=1024, longest=128))
        assert sorted(row for rows, _ in batches for row in rows) == list(range(32))
        assert all(lengths[row] <= padded for rows, padded in batches for row in rows)
        assert all(len(rows) * padded <= 1024 for rows, padded in batches)
        shapes |= {(len(rows), padded) for rows, padded in batches}
    assert len(shapes) < 32
