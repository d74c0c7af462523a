"""A cross-encoder: sequence classification over `[CLS] query [SEP] document [SEP]`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sparsemill.errors import UserError
from sparsemill.models.buffers import refill_buffers
from sparsemill.models.products import use_fast_linear
from sparsemill.models.weights import code_options, loading, model_folder
from sparsemill.study.models import CrossEncoderTeacher
from sparsemill.teachers.pair_model import Features, PairModel


class CrossEncoder(PairModel):
    """Scores pairs with `AutoModelForSequenceClassification`.

    One label: its logit. Two labels (not relevant, relevant): the second logit minus the first, that is the log-odds of
    relevance, which orders pairs as the softmax probability does. Logits are raw: no sigmoid.

    Args:
        spec: its config.
        trained: folder of a cross-encoder that the pipeline trained, for `trained`.
        device: `cpu` or `cuda`.

    Raises:
        UserError: the weights cannot be loaded, lack their head, or have more than two labels.
    """

    def __init__(self, spec: CrossEncoderTeacher, *, trained: Path | None = None, device: str) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        if spec.weights is None and trained is None:
            raise ValueError("neither weights nor a trained model")
        folder = model_folder(spec.weights) if spec.weights is not None else Path(str(trained)) / "model"
        code = code_options(spec.weights, folder)
        dtype = torch.bfloat16 if spec.precision == "bf16" else torch.float32
        self.device, self.tokens_per_batch, self.max_length = device, spec.tokens_per_batch, spec.max_length
        with loading(folder, "cross-encoder"):
            self.tokenizer = AutoTokenizer.from_pretrained(folder, **code)
            model, report = AutoModelForSequenceClassification.from_pretrained(
                folder, **code, dtype=dtype, output_loading_info=True
            )
        if report["missing_keys"]:
            raise UserError(f"{folder}: holds no {min(report['missing_keys'])}; not a trained sequence classifier")
        refill_buffers(model)
        self.labels = int(model.config.num_labels)
        if self.labels > 2:
            raise UserError(
                f"{folder}: has {self.labels} labels; a cross-encoder has one, or two (not relevant, relevant)"
            )
        self.model = model.to(device).eval()
        use_fast_linear(self.model, fast=device == "cpu")

    def features(self, queries: Sequence[str], documents: Sequence[str]) -> list[Features]:
        """Token ids of each pair; one that is too long loses the end of its longer text (sentence-transformers too)."""
        found = self.tokenizer(list(queries), list(documents), truncation=True, max_length=self.max_length)
        return [{name: found[name][row] for name in found} for row in range(len(queries))]

    def relevance(self, batch: Any) -> torch.Tensor:
        """[pairs]."""
        logits: torch.Tensor = self.model(**batch).logits.float()
        return logits[:, 0] if self.labels == 1 else logits[:, 1] - logits[:, 0]
