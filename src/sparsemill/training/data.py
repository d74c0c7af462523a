"""What a training run reads: texts, candidate lists, targets or cached embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sparsemill.data.alignment import same_pairs
from sparsemill.data.collection import read_corpus, read_queries
from sparsemill.ensemble.combine import combine
from sparsemill.ensemble.normalise import Scores
from sparsemill.errors import UserError
from sparsemill.study.models import Ensemble
from sparsemill.teachers.cache import EmbeddingCache
from sparsemill.training.candidate_table import CandidateTable, Lists, read_table
from sparsemill.training.schedule import Record
from sparsemill.training.texts import open_texts


@dataclass(frozen=True)
class TrainingData:
    """Texts and candidate lists, by index.

    Attributes:
        queries, documents: texts; documents are title and text.
        rows: [training queries] index into `queries`.
        positives, negatives: document indices of each training query.
        left_out: likewise, candidates that a teacher takes for relevant: no negatives, wherever they come from.
    """

    queries: Sequence[str]
    documents: Sequence[str]
    rows: NDArray[np.int32]
    positives: Sequence[Sequence[int]]
    negatives: Sequence[Sequence[int]]
    left_out: Sequence[Sequence[int]]


@dataclass(frozen=True)
class SetData(TrainingData):
    """Data of one training set, with the table that its lists are views of."""

    table: CandidateTable


def _document_ids(collection: Path) -> pa.Array:
    column = pq.read_table(collection / "corpus.parquet", columns=["id"], use_threads=False)["id"]
    ids: pa.Array = column.combine_chunks()
    return ids


def load_data(
    collection: Path,
    candidates: Path,
    *,
    false_negatives: Path | None = None,
    negatives: bool = True,
    cache: Path | None = None,
) -> SetData:
    """Open a collection and the candidates mined for it.

    Args:
        collection, candidates: folders.
        false_negatives: folder with marks of candidates to leave out.
        negatives: leave out, with a warning, queries that have nothing but positives.
        cache: folder for the memory-mapped texts; None: temporary files.
    """
    queries = read_queries(collection)
    table = read_table(
        candidates,
        query_ids=pa.array([query.id for query in queries], pa.string()),
        document_ids=_document_ids(collection),
        negatives=negatives,
        dropped=None if false_negatives is None else np.load(false_negatives / "dropped.npy"),
    )
    return SetData(
        queries=open_texts((query.text for query in queries), cache and cache / "queries"),
        documents=open_texts(
            (document.contents for document in read_corpus(collection)), cache and cache / "documents"
        ),
        rows=table.queries,
        positives=Lists(table, "positives"),
        negatives=Lists(table, "negatives"),
        left_out=Lists(table, "left_out"),
        table=table,
    )


class Targets(Protocol):
    """Teacher targets of the documents of a step."""

    def rows(self, records: Sequence[Record]) -> Scores:
        """[queries, documents of the row]: own documents, or every document of the step."""
        ...


class CandidateTargets:
    """Targets of each query's own documents, from the aggregated scores of its candidate list.

    Raises:
        UserError: the scores are of other pairs than the candidates.
    """

    def __init__(self, data: SetData, folder: Path) -> None:
        self.table = data.table
        file = folder / "scores.parquet"
        if not same_pairs([self.table.file], [file]):
            raise UserError(f"{file}: scores other pairs than {self.table.file}; delete it and run again")
        scores = pq.read_table(file, columns=["score"], use_threads=False)["score"].to_numpy()
        self.scores = scores[self.table.kept].astype(np.float32, copy=False)

    def rows(self, records: Sequence[Record]) -> Scores:
        """[queries, documents per query]."""
        return np.stack([self._row(record) for record in records])

    def _row(self, record: Record) -> Scores:
        start, end = self.table.offsets[record.query : record.query + 2]
        same = self.table.documents[start:end] == np.array(record.documents)[:, None]
        if not same.any(1).all():
            raise ValueError(f"{record} has a document that is no candidate of its query")
        row: Scores = self.scores[start:end][same.argmax(1)]
        return row


class InBatchTargets:
    """Targets of every document of the step for every query; normalised over that whole row (2411.04403, Fig. 2)."""

    def __init__(self, data: TrainingData, caches: Sequence[EmbeddingCache], ensemble: Ensemble) -> None:
        self.data, self.caches, self.ensemble = data, caches, ensemble

    def rows(self, records: Sequence[Record]) -> Scores:
        """[queries, queries * documents per query]."""
        queries = [int(self.data.rows[record.query]) for record in records]
        documents = [document for record in records for document in record.documents]
        scores = [cache.matrix(queries, documents) for cache in self.caches]
        for name, found in zip(self.ensemble.teachers, scores, strict=True):
            if not np.isfinite(found).all():
                raise UserError(f"teacher {name}: its embeddings give a score that is not finite; use precision: fp32")
        return combine(scores, self.ensemble)
