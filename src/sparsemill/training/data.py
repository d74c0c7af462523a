"""What a training run reads: texts, candidate lists, targets or cached embeddings."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow.parquet as pq

from sparsemill.data.collection import read_corpus, read_queries
from sparsemill.ensemble.aggregate import aggregate
from sparsemill.ensemble.normalise import Scores, normalise
from sparsemill.study.models import Ensemble
from sparsemill.teachers.cache import EmbeddingCache
from sparsemill.teachers.score import read_scores
from sparsemill.training.schedule import Record

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """Texts and candidate lists, by index.

    Attributes:
        queries, documents: texts; documents are title and text.
        query_ids, document_ids: their ids, in the collection's order.
        positives, negatives: document indices of each training query.
        rows: index into `queries` of each training query.
    """

    queries: list[str]
    documents: list[str]
    query_ids: list[str]
    document_ids: list[str]
    rows: list[int]
    positives: list[list[int]]
    negatives: list[list[int]]


def load_data(collection: Path, candidates: Path, *, negatives: bool = True) -> TrainingData:
    """Read a collection and the candidates mined for it.

    Args:
        collection, candidates: folders.
        negatives: leave out, with a warning, queries for which the miner found nothing but positives.
    """
    documents = list(read_corpus(collection))
    queries = read_queries(collection)
    column = {document.id: index for index, document in enumerate(documents)}
    row = {query.id: index for index, query in enumerate(queries)}
    table = pq.read_table(candidates / "candidates.parquet")
    lists: dict[str, tuple[list[int], list[int]]] = {}
    for query, document, positive in zip(
        *(table[name].to_pylist() for name in ("query_id", "doc_id", "positive")), strict=True
    ):
        lists.setdefault(query, ([], []))[0 if positive else 1].append(column[document])
    bare = [query for query, (_, others) in lists.items() if negatives and not others]
    if bare:
        logger.warning("%s: %d of %d queries have no negatives and are left out", candidates, len(bare), len(lists))
    for query in bare:
        del lists[query]
    return TrainingData(
        queries=[query.text for query in queries],
        documents=[document.contents for document in documents],
        query_ids=[query.id for query in queries],
        document_ids=[document.id for document in documents],
        rows=[row[query] for query in lists],
        positives=[positives for positives, _ in lists.values()],
        negatives=[negatives for _, negatives in lists.values()],
    )


class Targets(Protocol):
    """Teacher targets of the documents of a step."""

    def rows(self, records: Sequence[Record]) -> Scores:
        """[queries, documents of the row]: own documents, or every document of the step."""
        ...


class CandidateTargets:
    """Targets of each query's own documents, from the aggregated scores of its candidate list."""

    def __init__(self, data: TrainingData, folder: Path) -> None:
        pairs, scores = read_scores([folder])
        self.data = data
        self.scores: dict[tuple[str, str], float] = dict(
            zip(zip(pairs.queries, pairs.documents, strict=True), scores.tolist(), strict=True)
        )

    def rows(self, records: Sequence[Record]) -> Scores:
        """[queries, documents per query]."""
        data = self.data
        return np.array(
            [
                [
                    self.scores[data.query_ids[data.rows[record.query]], data.document_ids[document]]
                    for document in record.documents
                ]
                for record in records
            ],
            dtype=np.float32,
        )


class InBatchTargets:
    """Targets of every document of the step for every query; normalised over that whole row (2411.04403, Fig. 2)."""

    def __init__(self, data: TrainingData, caches: Sequence[EmbeddingCache], ensemble: Ensemble) -> None:
        self.data, self.caches, self.ensemble = data, caches, ensemble

    def rows(self, records: Sequence[Record]) -> Scores:
        """[queries, queries * documents per query]."""
        queries = [self.data.rows[record.query] for record in records]
        documents = [document for record in records for document in record.documents]
        normalised = [normalise(cache.matrix(queries, documents), self.ensemble.normalisation) for cache in self.caches]
        return aggregate(normalised, weights=self.ensemble.weights, scale=self.ensemble.scale)
