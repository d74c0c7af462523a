"""From records to tensors: token ids of queries and documents, targets, and who is a negative."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparsemill.training.data import Targets, TrainingData
from sparsemill.training.schedule import Record

Preprocess = Callable[..., dict[str, Any]]


def excluded_negatives(records: Sequence[Record], positives: Sequence[Sequence[int]], *, in_batch: bool) -> Any:
    """Documents that are no negatives of a query: its judged positives, other than the one it is trained with.

    Returns:
        Pair of [queries] int64, the column of each query's positive, and [queries, documents of the row] bool.
    """
    width = len(records[0].documents)
    flat = [document for record in records for document in record.documents]
    rows: list[list[bool]] = []
    own: list[int] = []
    for number, record in enumerate(records):
        offset = number * width if in_batch else 0
        documents = flat if in_batch else list(record.documents)
        relevant = set(positives[record.query])
        rows.append([document in relevant for document in documents])
        rows[-1][offset] = False
        own.append(offset)
    mask: NDArray[np.bool_] = np.array(rows)
    return np.array(own), mask


class Collator:
    """Builds a step's inputs in the form that the trainer of sentence-transformers expects."""

    valid_label_columns: tuple[str, ...] = ("label",)

    def __init__(self, data: TrainingData, targets: Targets, preprocess: Preprocess, *, in_batch: bool) -> None:
        self.data, self.targets, self.preprocess = data, targets, preprocess
        self.in_batch = in_batch

    def __call__(self, records: list[Record]) -> dict[str, Any]:
        """Inputs `query_*`, `documents_*` (queries * documents per query, query by query) and `label`."""
        queries = [self.data.queries[self.data.rows[record.query]] for record in records]
        documents = [self.data.documents[document] for record in records for document in record.documents]
        batch: dict[str, Any] = {}
        for column, texts, task in (("query", queries, "query"), ("documents", documents, "document")):
            tensors = self.preprocess(texts, task=task)
            batch |= {f"{column}_{name}": value for name, value in tensors.items()}
        own, excluded = excluded_negatives(records, self.data.positives, in_batch=self.in_batch)
        batch["label"] = {
            "targets": torch.from_numpy(self.targets.rows(records)),
            "positives": torch.from_numpy(own),
            "excluded": torch.from_numpy(excluded),
        }
        return batch
