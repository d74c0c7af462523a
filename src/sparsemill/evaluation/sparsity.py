"""How sparse a retriever is: FLOPS, active tokens of documents and queries, postings.

FLOPS is the metric that both papers report, not the training loss of the same name.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from sparsemill.errors import UserError


class Counts(NamedTuple):
    """Of some texts: how many there are, and in how many each token is active."""

    texts: int
    active: npt.NDArray[np.int64]


class Sparsity(NamedTuple):
    """Sizes of a retriever's vectors on one collection.

    Attributes:
        flops: expected number of tokens that a query and a document share.
        document_tokens: mean active tokens of a document, empty ones included.
        query_tokens: mean active tokens of a query.
        documents: number of documents.
        postings: active tokens of all documents.
    """

    flops: float
    document_tokens: float
    query_tokens: float
    documents: int
    postings: int

    def named(self) -> dict[str, float]:
        """The values under the names that tables use."""
        return {
            "FLOPS": self.flops,
            "tokens/doc": self.document_tokens,
            "tokens/query": self.query_tokens,
            "documents": self.documents,
            "postings": self.postings,
            # Every posting of a query's tokens: what exhaustive scoring reads.
            "postings/query": self.flops * self.documents,
        }


def count_active(matrices: Iterable[sparse.csr_matrix]) -> Counts:
    """Count the texts in which each token is active, one matrix in memory at a time.

    Args:
        matrices: CSR [texts, vocabulary] parts of one collection; stored zeros are not active.

    Raises:
        UserError: no matrix, matrices of different vocabularies, or only parts without rows.
    """
    texts, active = 0, np.zeros(0, dtype=np.int64)
    for matrix in matrices:
        if not active.size:
            active = np.zeros(matrix.shape[1], dtype=np.int64)
        if matrix.shape[1] != active.size:
            raise UserError(
                f"vectors: a shard has {matrix.shape[1]} tokens, the one before {active.size}; encode again"
            )
        active += np.bincount(matrix.indices[matrix.data > 0], minlength=active.size)
        texts += matrix.shape[0]
    if not texts:
        raise UserError("vectors: there are none to measure")
    return Counts(texts, active)


def sparsity(queries: Counts, documents: Counts) -> Sparsity:
    """FLOPS = sum_j p_q(j) * p_d(j), where p(j) is the fraction of texts in which token j is active.

    As in `splade/flops.py` of SPLADE++ and `scripts/search.py` of arXiv:2411.04403.

    Raises:
        UserError: queries and documents have different vocabularies.
    """
    if queries.active.size != documents.active.size:
        raise UserError(
            f"sparsity: queries have {queries.active.size} tokens and documents {documents.active.size}; "
            "both must come from the same model"
        )
    shared = (queries.active / queries.texts) @ (documents.active / documents.texts)
    postings = int(documents.active.sum())
    return Sparsity(
        flops=float(shared),
        document_tokens=postings / documents.texts,
        query_tokens=int(queries.active.sum()) / queries.texts,
        documents=documents.texts,
        postings=postings,
    )
