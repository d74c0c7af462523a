"""From records to tensors: token ids of queries and documents, targets, and who is a negative."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparsemill.losses.rows import row_documents
from sparsemill.training import processes
from sparsemill.training.data import Targets, TrainingData
from sparsemill.training.schedule import Record

Preprocess = Callable[..., dict[str, Any]]


def excluded_negatives(
    step: Sequence[Record],
    positives: Sequence[Sequence[int]],
    left_out: Sequence[Sequence[int]],
    *,
    in_batch: str,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Documents that are no negatives of a query: positives other than the one it is trained with, and those left out.

    Args:
        step: records of the step, or of one device.
        positives: judged positives of every training query.
        left_out: what a teacher takes for relevant of every training query; it may be a document of another one.
        in_batch: whom a query is scored against, as in `sparsemill.losses.rows.score_rows`.

    Returns:
        [queries], the column of each query's positive, and [queries, documents of the row].
    """
    rows, own = row_documents([record.documents for record in step], in_batch=in_batch)
    excluded = []
    for record, row, column in zip(step, rows, own, strict=True):
        relevant = {*positives[record.query], *left_out[record.query]}
        excluded.append([document in relevant and number != column for number, document in enumerate(row)])
    return np.array(own), np.array(excluded)


class Collator:
    """Builds a step's inputs in the form that the trainer of sentence-transformers expects."""

    valid_label_columns: tuple[str, ...] = ("label",)

    def __init__(
        self,
        data: TrainingData,
        targets: Targets | None,
        preprocess: Preprocess,
        *,
        in_batch: str,
        gather: bool = True,
    ) -> None:
        self.data, self.targets, self.preprocess = data, targets, preprocess
        self.in_batch, self.gather = in_batch, gather

    def __call__(self, records: list[Record]) -> dict[str, Any]:
        """Inputs `query_*`, `documents_*` (queries * documents per query, query by query) and `label`.

        `label` holds `positives` and `excluded` (see `excluded_negatives`), and `targets` where there are teachers.
        Several processes get the same records: each represents its share of them, and labels all (`gather`) or its own.
        """
        share = processes.share(records)
        labelled = records if self.gather else share
        queries = [self.data.queries[self.data.rows[record.query]] for record in share]
        documents = [self.data.documents[document] for record in share for document in record.documents]
        batch: dict[str, Any] = {}
        for column, texts, task in (("query", queries, "query"), ("documents", documents, "document")):
            tensors = self.preprocess(texts, task=task)
            batch |= {f"{column}_{name}": value for name, value in tensors.items()}
        own, excluded = excluded_negatives(
            labelled,
            self.data.positives,
            self.data.left_out,
            in_batch=self.in_batch,
        )
        batch["label"] = {"positives": torch.from_numpy(own), "excluded": torch.from_numpy(excluded)}
        if self.targets is not None:
            batch["label"]["targets"] = torch.from_numpy(self.targets.rows(labelled))
        return batch
