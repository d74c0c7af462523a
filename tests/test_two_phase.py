"""Two-phase search: hand-computed numbers, and the full scores that it must give when its window holds everything."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from two_phase_oracle import search_two_phase

from sparsemill.errors import UserError
from sparsemill.retrieval.two_phase import Found, TwoPhase, combine, split_queries, window_size

DOCUMENTS = sparse.csr_matrix(
    np.array(
        [
            # a  b  c
            [1.0, 0.0, 0.0],
            [0.5, 0.0, 4.0],
            [0.0, 2.0, 0.0],
            [0.9, 0.0, 1.0],
        ],
        dtype=np.float32,
    )
)
QUERY = sparse.csr_matrix(np.array([[2.0, 0.8, 0.79]], dtype=np.float32))


def best(scores: Any, k: int) -> Any:
    """The k largest positive scores' places, largest first; of equal ones, the smaller place first."""
    found = np.flatnonzero(scores > 0)
    return found[np.lexsort((found, -scores[found]))][:k]


def first(queries: sparse.csr_matrix, k: int) -> list[Found]:
    dense = (queries @ DOCUMENTS.T).toarray()
    kept = [best(row, k) for row in dense]
    return [Found(documents, row[documents]) for documents, row in zip(kept, dense, strict=True)]


def rescore(query: sparse.csr_matrix, documents: np.ndarray) -> np.ndarray:
    return (query @ DOCUMENTS[documents].T).toarray()[0]


def test_tokens_at_the_threshold_are_of_high_weight() -> None:
    # 0.4 x 2.0 = 0.8: b is kept, c is not.
    high, low = split_queries(QUERY, 0.4)
    assert high.toarray().tolist() == [[2.0, np.float32(0.8), 0.0]]
    assert low.toarray().tolist() == [[0.0, 0.0, np.float32(0.79)]]


def test_the_threshold_is_of_each_query_and_empty_queries_stay_empty() -> None:
    queries = sparse.csr_matrix(np.array([[1.0, 0.3, 0.0], [0.0, 0.0, 0.0], [0.0, 0.3, 0.1]], dtype=np.float32))
    high, low = split_queries(queries, 0.5)
    assert high.toarray().tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, np.float32(0.3), 0.0]]
    assert (high + low != queries).nnz == 0
    everything, nothing = split_queries(queries, 0.0)
    assert (everything.nnz, nothing.nnz) == (4, 0)


def test_hand_computed_scores_and_what_the_window_leaves_out() -> None:
    # First phase (a and b): 2.0, 1.0, 1.6, 1.8. All of it with c: 2.0, 4.16, 1.6, 2.59.
    narrow = search_two_phase(QUERY, 1, TwoPhase(expansion_rate=2.0), first=first, rescore=rescore)
    assert narrow[0].documents.tolist() == [3]  # document 1 is fourth in the first phase, outside a window of 2
    assert narrow[0].scores == pytest.approx([2.59])
    wide = search_two_phase(QUERY, 2, TwoPhase(expansion_rate=2.0), first=first, rescore=rescore)
    assert wide[0].documents.tolist() == [1, 3]
    assert wide[0].scores == pytest.approx([4.16, 2.59])


def test_ties_after_the_second_phase_are_in_the_order_of_the_corpus() -> None:
    found = combine(Found(np.array([7, 2, 5]), np.float32([3, 2, 1])), np.float32([0, 1, 2]), 2)
    assert found.documents.tolist() == [2, 5]


def test_a_window_of_everything_gives_exact_search() -> None:
    random = np.random.default_rng(0)
    documents = sparse.random(300, 40, density=0.3, format="csr", dtype=np.float32, rng=random)
    queries = sparse.random(20, 40, density=0.3, format="csr", dtype=np.float32, rng=random)
    exact = (queries @ documents.T).toarray()

    def search(part: sparse.csr_matrix, k: int) -> list[Found]:
        scores = (part @ documents.T).toarray()
        return [Found(np.argsort(-row, kind="stable")[:k], np.sort(-row)[:k] * -1) for row in scores]

    found = search_two_phase(
        queries,
        60,
        TwoPhase(prune_ratio=0.6),
        first=search,
        rescore=lambda query, kept: (query @ documents[kept].T).toarray()[0],
    )
    for row, one in enumerate(found):
        expected = np.sort(exact[row])[::-1][:60]
        np.testing.assert_allclose(one.scores, expected, rtol=1e-5)


@pytest.mark.parametrize(("k", "rate", "size"), [(100, 1.15, 115), (50, 2.3, 115), (50, 4.1, 205), (10, 1.99, 19)])
def test_a_window_is_that_of_the_processor(k: int, rate: float, size: int) -> None:
    """As Java multiplies an int with a float; in float64 100 x 1.15 is less than 115."""
    assert window_size(k, TwoPhase(expansion_rate=rate)) == size


def test_a_window_above_its_bound_is_refused() -> None:
    assert window_size(1000, TwoPhase()) == 5000
    with pytest.raises(UserError, match="2001 documents x expansion_rate 5 are more than max_window_size 10000"):
        window_size(2001, TwoPhase())
