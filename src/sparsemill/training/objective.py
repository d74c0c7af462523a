"""The objective of a step: ranking losses plus regularisers (2411.04403, Eqs. 4 and 6; 2107.05720)."""

from typing import Any

from torch import Tensor, nn

from sparsemill.losses.anti_zero import anti_zero
from sparsemill.losses.flops import flops
from sparsemill.losses.gather import gather_rows
from sparsemill.losses.infonce import infonce
from sparsemill.losses.kl import kl
from sparsemill.losses.l0_mask import l0_mask
from sparsemill.losses.l1 import l1
from sparsemill.losses.margin_mse import margin_mse, margin_mse_lists
from sparsemill.losses.rows import score_rows
from sparsemill.losses.schedule import ramp
from sparsemill.study.models import QueryRegulariser, Regulariser, Training
from sparsemill.training import processes

Terms = dict[str, Tensor]
"""Scalars by name."""


def ranking_terms(spec: Training, scores: Tensor, labels: dict[str, Tensor]) -> Terms:
    """The weighted ranking losses; those of weight 0 are left out.

    Args:
        spec: the recipe.
        scores: [queries, documents of the row], from `score_rows`.
        labels: `positives` [queries] and `excluded` [queries, documents of the row], see `infonce`; where something is
            distilled `targets` [queries, documents that have one], which are the first of the row.
    """
    terms: Terms = {}
    if spec.kl_weight or spec.margin_mse_weight:
        targets = labels["targets"]
        distilled = scores[:, : targets.shape[1]]
    if spec.kl_weight:
        terms["kl"] = spec.kl_weight * kl(
            distilled, targets, temperature=spec.temperature, teacher_temperature=spec.teacher_temperature
        )
    if spec.margin_mse_weight:
        pairs = spec.margin_mse == "pairs"
        error = margin_mse(distilled, targets, labels["positives"]) if pairs else margin_mse_lists(distilled, targets)
        terms["margin_mse"] = spec.margin_mse_weight * error
    if spec.infonce_weight:
        terms["infonce"] = spec.infonce_weight * infonce(
            scores, labels["positives"], labels["excluded"], temperature=spec.temperature
        )
    return terms


def document_penalty(regulariser: Regulariser, documents: Tensor, *, slots: int, idf: Tensor | None) -> Tensor:
    """The unweighted penalty on documents, [queries * slots, vocabulary]; `idf` for the weighting by inverse IDF."""
    if regulariser.mask_below is not None:
        documents = l0_mask(documents, below=regulariser.mask_below)
    if regulariser.kind == "l1":
        return l1(documents)
    return flops(documents, reduction=regulariser.reduction, slots=slots, idf=idf)


def query_penalty(regulariser: QueryRegulariser, queries: Tensor) -> Tensor:
    """The unweighted penalty on queries, [queries, vocabulary]."""
    return l1(queries) if regulariser.kind == "l1" else flops(queries)


def _ramp(regulariser: Regulariser | QueryRegulariser, step: int) -> float:
    return ramp(step, warmup_steps=regulariser.warmup_steps, schedule=regulariser.schedule)


def _active(vectors: Tensor) -> float:
    return float((vectors.detach() > 0).sum(1).float().mean())


class Objective(nn.Module):
    """Loss module of the trainer; `step` is set from the global step before every forward pass.

    Attributes:
        step: optimiser steps done so far.
        gradient_norm: of all parameters together, set before every optimiser step; None for one that fp16 skips.
        statistics: floats of the last forward pass, for the metrics file.
    """

    def __init__(self, model: nn.Module, spec: Training, idf: Tensor | None) -> None:
        super().__init__()
        self.model, self.spec = model, spec
        self.register_buffer("idf", idf, persistent=False)
        self.step = 0
        self.gradient_norm: float | None = None
        self.statistics: dict[str, float] = {}

    def forward(self, features: list[dict[str, Any]], labels: dict[str, Tensor]) -> Terms:
        """The weighted terms of the loss, by name, each once; the trainer adds them."""
        queries, documents = (self.represent(part) for part in features)
        return self.terms(queries, documents, labels)

    def represent(self, features: dict[str, Any]) -> Tensor:
        """[texts, vocabulary]: representations of queries or of documents."""
        vectors: Tensor = self.model(features)["sentence_embedding"]
        return vectors.float()

    def terms(self, queries: Tensor, documents: Tensor, labels: dict[str, Tensor]) -> Terms:
        """The weighted terms of the loss, from the representations that this process made.

        Statistics of the batch are those of all processes, and so are the rows of documents unless `gather` is false:
        how many devices share a step changes nothing.

        Args:
            queries: [queries, vocabulary].
            documents: [queries * documents per query, vocabulary].
            labels: of all processes, or of this one if `gather` is false.
        """
        own = (queries, documents)
        queries, documents = gather_rows(queries), gather_rows(documents)
        ranked = (queries, documents) if self.spec.gather else own
        scores = score_rows(*ranked, in_batch=self.spec.in_batch, slots=self.spec.documents_per_query)
        terms = ranking_terms(self.spec, scores, labels)
        if self.spec.anti_zero_weight:
            terms["anti_zero"] = self.spec.anti_zero_weight * anti_zero(queries, documents)
        regularisers = self._regularise_documents(terms, documents)
        if self.spec.siamese:
            regularisers["active_query_tokens"] = _active(queries)
        if self.spec.query_regulariser is not None:
            regularisers |= self._regularise_queries(terms, self.spec.query_regulariser, queries)
        statistics = {name: float(value.detach()) for name, value in terms.items()} | {
            "loss": float(sum(value.detach() for value in terms.values())),
            **regularisers,
        }
        self.statistics = processes.mean(statistics, documents.device)
        return terms

    def _regularise_documents(self, terms: Terms, documents: Tensor) -> dict[str, float]:
        """Add the term `regulariser`; its statistics."""
        regulariser = self.spec.regulariser
        idf = self.get_buffer("idf") if regulariser.weighting == "inverse_idf" else None
        penalty = document_penalty(regulariser, documents, slots=self.spec.documents_per_query, idf=idf)
        weight = regulariser.lambda_d * _ramp(regulariser, self.step)
        terms["regulariser"] = weight * penalty
        return {
            f"{regulariser.kind}_penalty": float(penalty.detach()),
            "lambda_d": weight,
            "active_tokens": _active(documents),
        }

    def _regularise_queries(self, terms: Terms, regulariser: QueryRegulariser, queries: Tensor) -> dict[str, float]:
        """Add the term `query_regulariser`; its statistics."""
        penalty = query_penalty(regulariser, queries)
        weight = regulariser.lambda_q * _ramp(regulariser, self.step)
        terms["query_regulariser"] = weight * penalty
        return {
            f"query_{regulariser.kind}_penalty": float(penalty.detach()),
            "lambda_q": weight,
        }
