"""The objective of a step: ranking losses plus the regulariser (2411.04403, Eqs. 4 and 6)."""

from typing import Any

import torch
from torch import Tensor, nn

from sparsemill.losses.flops import flops
from sparsemill.losses.infonce import infonce
from sparsemill.losses.kl import kl
from sparsemill.losses.schedule import ramp
from sparsemill.study.models import Training


def score_rows(queries: Tensor, documents: Tensor, *, in_batch: bool) -> Tensor:
    """Dot products of each query with its row of documents.

    Args:
        queries: [queries, vocabulary].
        documents: [queries * n, vocabulary], query by query.
        in_batch: the row is every document of the step; else the query's own n.

    Returns:
        [queries, queries * n] or [queries, n].
    """
    if in_batch:
        return queries @ documents.T
    return torch.einsum("qv,qnv->qn", queries, documents.view(len(queries), -1, documents.shape[1]))


class Objective(nn.Module):
    """Loss module of the trainer; `step` is set from the global step before every forward pass.

    Attributes:
        step: optimiser steps done so far.
        statistics: floats of the last forward pass, for the metrics file.
    """

    def __init__(self, model: nn.Module, spec: Training, idf: Tensor | None) -> None:
        super().__init__()
        self.model, self.spec = model, spec
        self.register_buffer("idf", idf, persistent=False)
        self.step = 0
        self.statistics: dict[str, float] = {}

    def _penalty(self, documents: Tensor) -> Tensor:
        regulariser = self.spec.regulariser
        weighted = regulariser.weighting == "inverse_idf"
        return flops(
            documents,
            reduction=regulariser.reduction,
            slots=self.spec.documents_per_query,
            idf=self.get_buffer("idf") if weighted else None,
        )

    def forward(self, features: list[dict[str, Any]], labels: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weighted terms of the loss, by name; the trainer adds them."""
        queries, documents = (self.model(part)["sentence_embedding"].float() for part in features)
        spec, regulariser = self.spec, self.spec.regulariser
        scores = score_rows(queries, documents, in_batch=spec.in_batch)
        terms: dict[str, Tensor] = {}
        if spec.kl_weight:
            terms["kl"] = spec.kl_weight * kl(scores, labels["targets"], temperature=spec.temperature)
        if spec.infonce_weight:
            terms["infonce"] = spec.infonce_weight * infonce(
                scores, labels["positives"], labels["excluded"], temperature=spec.temperature
            )
        factor = ramp(self.step, warmup_steps=regulariser.warmup_steps, schedule=regulariser.schedule)
        penalty = self._penalty(documents)
        terms["regulariser"] = regulariser.lambda_d * factor * penalty
        self.statistics = {name: float(value.detach()) for name, value in terms.items()} | {
            "loss": float(sum(value.detach() for value in terms.values())),
            "flops_penalty": float(penalty.detach()),
            "lambda_d": regulariser.lambda_d * factor,
            "active_tokens": float((documents.detach() > 0).sum(1).float().mean()),
        }
        return terms
