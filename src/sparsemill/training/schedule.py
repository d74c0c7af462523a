"""Which queries and documents each step trains on: a pure function of seed and position.

Nothing is drawn from a generator's state, so a resumed run sees what an uninterrupted one would have seen.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset


class Record(NamedTuple):
    """One query of a step: its index and those of its documents, the positive first."""

    query: int
    documents: tuple[int, ...]


class Schedule(Dataset[Record]):
    """All records of a training run in order; record k belongs to step k // queries_per_step.

    Every epoch is a fresh permutation of the queries; negatives are drawn without replacement from a query's
    candidates; of a query that has too few, each is there as often as any other, or once more.

    Raises:
        ValueError: a query has no negatives, but more than one document per query is wanted.
    """

    def __init__(
        self,
        positives: Sequence[Sequence[int]],
        negatives: Sequence[Sequence[int]],
        *,
        records: int,
        documents_per_query: int,
        seed: int,
    ) -> None:
        bare = next((query for query, found in enumerate(negatives) if not found), None)
        if bare is not None and documents_per_query > 1:
            raise ValueError(f"query {bare} has no negatives")
        self.positives, self.negatives = positives, negatives
        self.records, self.documents_per_query, self.seed = records, documents_per_query, seed
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return self.records

    def __getitem__(self, position: int) -> Record:
        if not 0 <= position < self.records:
            raise IndexError(position)
        epoch, place = divmod(position, len(self.positives))
        if epoch != self._epoch:
            self._order = np.random.default_rng((self.seed, epoch)).permutation(len(self.positives))
            self._epoch = epoch
        query = int(self._order[place])
        generator = np.random.default_rng((self.seed, epoch, query))
        positive = int(generator.choice(self.positives[query]))
        candidates, wanted = self.negatives[query], self.documents_per_query - 1
        if wanted == 0:
            return Record(query, (positive,))
        times, rest = divmod(wanted, len(candidates)) if wanted > len(candidates) else (0, wanted)
        drawn = generator.choice(candidates, size=rest, replace=False)
        return Record(query, (positive, *[*candidates] * times, *drawn.tolist()))
