"""What cross-encoders have in common: pairs of texts, sorted by length, batched by tokens, one number each."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparsemill.models.batches import token_batches
from sparsemill.progress import Progress
from sparsemill.teachers.score import Indices, Scores

Features = dict[str, list[int]]


class PairModel(ABC):
    """A model that reads a query and a document together.

    Attributes:
        tokenizer, device: of the model.
        tokens_per_batch: bound on the padded tokens of a batch.
    """

    tokenizer: Any
    device: str
    tokens_per_batch: int

    @abstractmethod
    def features(self, queries: Sequence[str], documents: Sequence[str]) -> list[Features]:
        """What the model reads of each pair: `input_ids` and what belongs to them, without padding."""

    @abstractmethod
    def relevance(self, batch: Any) -> torch.Tensor:
        """[pairs] from padded features."""

    @torch.inference_mode()
    def score(
        self, queries: Sequence[str], documents: Sequence[str], *, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Scores of pairs of texts, in their order: [pairs].

        Args:
            queries, documents: texts, of one length; sorted by length and batched by tokens inside.
            progress: advanced by every pair.
        """
        scores = np.empty(len(queries), dtype=np.float32)
        found = self.features(queries, documents) if len(queries) else []
        for rows in token_batches([len(one["input_ids"]) for one in found], tokens=self.tokens_per_batch):
            columns = {name: [found[row][name] for row in rows] for name in found[rows[0]]}
            batch = self.tokenizer.pad(columns, return_tensors="pt").to(self.device)
            scores[rows] = self.relevance(batch).float().cpu().numpy()
            if progress is not None:
                progress.advance(len(rows))
        return scores


class TextScorer:
    """A pair model as a `Scorer`: looks the texts of a collection up."""

    BLOCK = 16_384
    """Pairs tokenised, and kept for a resumed run, at once."""

    def __init__(self, model: PairModel, queries: Sequence[str], documents: Sequence[str], progress: Progress) -> None:
        self.model, self.queries, self.documents, self.progress = model, queries, documents, progress

    def score(self, queries: Indices, documents: Indices) -> Scores:
        """[pairs]."""
        return self.model.score(
            [self.queries[row] for row in queries.tolist()],
            [self.documents[row] for row in documents.tolist()],
            progress=self.progress,
        )
