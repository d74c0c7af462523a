"""How often a token is active, and how hard the FLOPS loss presses on it (Fig. 1 of arXiv:2411.04403).

Both are taken over one batch of documents of a collection and given as percentiles among the tokens that are active in
the batch:

- activation: share of the documents in which the token is active. That is what retrieval pays for: the postings that a
  query token walks through.
- FLOPS penalty: the token's term of the training loss, the square of its mean weight over all documents of the batch.

A token below the diagonal is used more than it is penalised: stop words, which sit in many documents with small
weights. A token above it is penalised more than it is used: words that carry the topic of the collection.
"""

import hashlib
import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats

from sparsemill.errors import UserError
from sparsemill.retrieval.vectors import IDS, read_ids, read_shards

_STOP_WORDS = (
    "a about after all also an and any are as at be been between but by can could do does each for from had has have "
    "how if in into is it its may more most no not of on one only or other our over same so some such than that the "
    "their them then there these they this those to two up used using was we were what when where which while who "
    "will with would you your"
)
STOP_WORDS = frozenset(_STOP_WORDS.split())
BATCH = 256  # documents
LABELLED = 6  # tokens named of each kind
_USUAL = 0.05  # least share of documents of a word that is named


class TokenUse(NamedTuple):
    """Tokens that are active in a batch, with two percentiles each in (0, 100), and their share of documents."""

    tokens: list[str]
    activation: npt.NDArray[np.float64]
    penalty: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]


def sample_documents(shards: Sequence[Path], *, count: int = BATCH) -> sparse.csr_matrix:
    """The vectors of `count` documents, the same ones for every system: those whose ids have the smallest hashes.

    Returns:
        CSR [min(count, documents), vocabulary], one shard in memory at a time.

    Raises:
        UserError: a shard is incomplete.
    """
    ids = [read_ids(path / IDS) for path in shards]
    places = [(_hash(name), shard, row) for shard, names in enumerate(ids) for row, name in enumerate(names)]
    chosen = heapq.nsmallest(count, places)
    parts = [
        part.matrix[sorted(row for _, owner, row in chosen if owner == shard)]
        for shard, part in enumerate(read_shards(shards))
    ]
    return sparse.vstack(parts, format="csr")


def _hash(identifier: str) -> str:
    return hashlib.sha256(identifier.encode()).hexdigest()


def token_use(batch: sparse.csr_matrix, vocabulary: Sequence[str]) -> TokenUse:
    """Both percentiles of every token that is active in `batch` [documents, vocabulary].

    A percentile is (mean rank - 0.5) / tokens; tokens with the same value share it.

    Raises:
        UserError: no token is active, or the vocabulary has another size.
    """
    if batch.shape[1] != len(vocabulary):
        raise UserError(f"activation: vectors have {batch.shape[1]} tokens, the tokenizer {len(vocabulary)}")
    share = np.asarray((batch > 0).mean(axis=0)).ravel()
    mean = np.asarray(batch.mean(axis=0, dtype=np.float64)).ravel()
    active = np.flatnonzero(share).tolist()
    if not active:
        raise UserError("activation: no token is active in the documents; the model has collapsed")
    return TokenUse(
        [vocabulary[index] for index in active],
        _percentile(share[active]),
        _percentile(np.square(mean[active])),
        share[active],
    )


def _percentile(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    ranks: npt.NDArray[np.float64] = stats.rankdata(values)
    return 100 * (ranks - 0.5) / len(values)


def telling_tokens(use: TokenUse, *, count: int = LABELLED) -> tuple[list[str], list[str]]:
    """Tokens worth naming: the most used stop words, and the words most penalised for their use.

    The latter are whole words active in at least 5 % of the documents, by how much larger their share of tokens with
    less penalty is than their share of tokens with less activation, on the scale of the figure.
    """
    stops = [index for index, token in enumerate(use.tokens) if token in STOP_WORDS]
    words = [
        index
        for index, token in enumerate(use.tokens)
        if len(token) > 3 and token.isalpha() and token not in STOP_WORDS and use.share[index] >= _USUAL
    ]
    excess = np.log((100 - use.activation) / (100 - use.penalty))
    stops.sort(key=lambda index: (-use.share[index], use.tokens[index]))
    words.sort(key=lambda index: (-excess[index], use.tokens[index]))
    return [use.tokens[index] for index in stops[:count]], [use.tokens[index] for index in words[:count]]
