"""Several training sets as one: every step draws one of them and takes all its queries there (2411.04403, Table 1)."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from sparsemill.ensemble.normalise import Scores
from sparsemill.training.candidate_table import Kind, Lists
from sparsemill.training.data import SetData, Targets, TrainingData
from sparsemill.training.schedule import Record

Item = TypeVar("Item")


class Chained(Sequence[Item]):
    """Sequences one after the other."""

    def __init__(self, parts: Sequence[Sequence[Item]]) -> None:
        self.parts = parts
        self.starts = list(accumulate(map(len, parts), initial=0))

    def __len__(self) -> int:
        return self.starts[-1]

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return [self[item] for item in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = bisect_right(self.starts, index) - 1
        return self.parts[part][index - self.starts[part]]


def join_data(sets: Sequence[SetData]) -> TrainingData:
    """Data of all sets in one numbering: those of the first set, then those of the second, and so on."""
    queries, documents = Chained([part.queries for part in sets]), Chained([part.documents for part in sets])

    def lists(kind: Kind) -> Chained[Sequence[int]]:
        parts = zip(sets, documents.starts, strict=False)
        return Chained([Lists(part.table, kind, shift=start) for part, start in parts])

    return TrainingData(
        queries=queries,
        documents=documents,
        rows=np.concatenate([part.rows + start for part, start in zip(sets, queries.starts, strict=False)]),
        positives=lists("positives"),
        negatives=lists("negatives"),
        left_out=lists("left_out"),
    )


class Shift:
    """Numbers of one set in the joined data.

    Attributes:
        query: number of its first training query.
        document: number of its first document.
    """

    def __init__(self, query: int, document: int) -> None:
        self.query, self.document = query, document

    def joined(self, record: Record) -> Record:
        """A record of the set, in the numbering of all sets."""
        return Record(record.query + self.query, tuple(document + self.document for document in record.documents))

    def own(self, record: Record) -> Record:
        """Undo `joined`."""
        return Record(record.query - self.query, tuple(document - self.document for document in record.documents))


def shifts(sets: Sequence[SetData]) -> list[Shift]:
    """The shift of every set."""
    queries = accumulate((len(part.rows) for part in sets), initial=0)
    documents = accumulate((len(part.documents) for part in sets), initial=0)
    return [Shift(*pair) for pair in zip(queries, documents, strict=True)][:-1]


class MixtureTargets:
    """Targets of steps whose records all belong to one of several sets."""

    def __init__(self, targets: Sequence[Targets], places: Sequence[Shift]) -> None:
        self.targets, self.places = targets, places

    def rows(self, records: Sequence[Record]) -> Scores:
        """As the set's own targets give them.

        Raises:
            ValueError: the records are of several sets.
        """
        starts = [place.query for place in self.places]
        owners = {bisect_right(starts, record.query) - 1 for record in records}
        if len(owners) > 1:
            raise ValueError(f"records of sets {sorted(owners)} in one step")
        (owner,) = owners
        return self.targets[owner].rows([self.places[owner].own(record) for record in records])


class Records(Protocol):
    """The records of a set by position."""

    def __getitem__(self, position: int) -> Record: ...


def draw_sets(weights: Sequence[float], *, steps: int, seed: int) -> NDArray[np.int64]:
    """[steps], the set that each step takes its queries from, with probabilities in proportion to the weights.

    A step's draw depends on its number and the seed alone: more steps change none of the earlier ones.
    """
    bounds = np.cumsum(np.asarray(weights, dtype=np.float64))
    draws = np.random.default_rng((seed, len(weights))).random(steps)
    return np.searchsorted(bounds / bounds[-1], draws, side="right")


def turns(drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """[steps], how many earlier steps have drawn the same set."""
    found = np.empty_like(drawn)
    for part in np.unique(drawn):
        mine = drawn == part
        found[mine] = np.arange(mine.sum())
    return found


class MixtureSchedule(Dataset[Record]):
    """All records of a run over several sets, in the joined numbering; record k belongs to step k // queries_per_step.

    A step goes on in the order of its set where the last step that drew that set has stopped.

    Attributes:
        drawn: [steps], the set of each step, see `draw_sets`.
    """

    def __init__(
        self, schedules: Sequence[Records], places: Sequence[Shift], *, drawn: NDArray[np.int64], queries_per_step: int
    ) -> None:
        self.schedules, self.places = schedules, places
        self.drawn, self.turns, self.queries_per_step = drawn, turns(drawn), queries_per_step

    def __len__(self) -> int:
        return len(self.drawn) * self.queries_per_step

    def __getitem__(self, position: int) -> Record:
        if not 0 <= position < len(self):
            raise IndexError(position)
        step, place = divmod(position, self.queries_per_step)
        part = int(self.drawn[step])
        record = self.schedules[part][int(self.turns[step]) * self.queries_per_step + place]
        return self.places[part].joined(record)
