"""FLOPS and lengths: hand numbers, a brute-force count, and streaming."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import sparse

from sparsemill.errors import UserError
from sparsemill.evaluation.sparsity import Counts, count_active, sparsity


def csr(rows: list[list[float]]) -> sparse.csr_matrix:
    return sparse.csr_matrix(np.array(rows, dtype=np.float32))


def test_hand_computed_flops() -> None:
    queries = count_active([csr([[1, 1, 0], [1, 0, 0]])])
    documents = count_active([csr([[2, 0, 0.5], [0, 0, 0]]), csr([[1, 3, 0], [0, 0, 7]])])
    found = sparsity(queries, documents)
    # p_q = (1, 1/2, 0), p_d = (1/2, 1/4, 1/2)
    assert found.flops == pytest.approx(1 / 2 + 1 / 8)
    assert found.named() == pytest.approx(
        {"FLOPS": 0.625, "tokens/doc": 5 / 4, "tokens/query": 1.5, "documents": 4, "postings": 5, "postings/query": 2.5}
    )
    # By hand: the first token is in 2 documents, the second in 1; the first query reads 2 + 1 postings, the second 2.
    assert found.named()["postings/query"] == (3 + 2) / 2


def test_flops_is_the_mean_number_of_shared_tokens_over_all_pairs() -> None:
    random = np.random.default_rng(0)
    queries = sparse.random(13, 40, density=0.2, random_state=random, format="csr")
    documents = sparse.random(31, 40, density=0.3, random_state=random, format="csr")
    shared = ((queries > 0).astype(int) @ (documents > 0).astype(int).T).toarray()
    assert sparsity(count_active([queries]), count_active([documents])).flops == pytest.approx(shared.mean())


def test_shards_are_streamed_and_stored_zeros_are_not_active() -> None:
    alive = 0

    def shards() -> Iterator[sparse.csr_matrix]:
        nonlocal alive
        for _ in range(3):
            alive += 1
            part = csr([[1, 1], [0, 1]])
            part.data[0] = 0
            yield part

    counts = count_active(shards())
    assert alive == 3
    assert counts.texts == 6
    assert counts.active.tolist() == [0, 6]


def test_nothing_and_other_vocabularies_are_refused() -> None:
    with pytest.raises(UserError, match="none to measure"):
        count_active([])
    with pytest.raises(UserError, match="a shard has 3 tokens, the one before 2"):
        count_active([csr([[1, 1]]), csr([[1, 1, 1]])])
    with pytest.raises(UserError, match="same model"):
        sparsity(Counts(1, np.ones(2, dtype=np.int64)), Counts(1, np.ones(3, dtype=np.int64)))
