"""monoT5 (2003.06713): a T5 that answers `true` or `false` to a prompt with query and document."""

from collections.abc import Sequence
from typing import Any

import torch

from sparsemill.errors import UserError
from sparsemill.models.buffers import refill_buffers
from sparsemill.models.products import use_fast_linear
from sparsemill.models.weights import code_options, loading, model_folder
from sparsemill.study.models import MonoT5Teacher
from sparsemill.teachers.pair_model import Features, PairModel


class MonoT5(PairModel):
    """Scores pairs by the log-softmax of the two answers' logits at the decoder's first step, as castorini does.

    Raises:
        UserError: the weights cannot be loaded, or the vocabulary lacks one of the two tokens.
    """

    def __init__(self, spec: MonoT5Teacher, *, device: str) -> None:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        folder = model_folder(spec.weights)
        code = code_options(spec.weights, folder)
        dtype = torch.bfloat16 if spec.precision == "bf16" else torch.float32
        self.spec, self.device, self.tokens_per_batch = spec, device, spec.tokens_per_batch
        with loading(folder, "T5"):
            self.tokenizer = AutoTokenizer.from_pretrained(folder, **code)
            model = AutoModelForSeq2SeqLM.from_pretrained(folder, **code, dtype=dtype)
        refill_buffers(model)
        vocabulary = self.tokenizer.get_vocab()
        for key in ("true_token", "false_token"):
            if getattr(spec, key) not in vocabulary:
                raise UserError(f"{folder}: {key} {getattr(spec, key)!r} is not in its vocabulary")
        self._answers = [vocabulary[spec.false_token], vocabulary[spec.true_token]]
        head, _, rest = spec.template.partition("{query}")
        middle, _, tail = rest.partition("{document}")
        self._parts = (head, middle, tail)
        self._tail = self.tokenizer(tail, add_special_tokens=False)["input_ids"] if tail else []
        self.model = model.to(device).eval()
        use_fast_linear(self.model, fast=device == "cpu")

    def features(self, queries: Sequence[str], documents: Sequence[str]) -> list[Features]:
        """Token ids of each prompt; one that is too long loses the end of its document, never what follows it."""
        head, middle, tail = self._parts
        prompts = [f"{head}{query}{middle}{text}{tail}" for query, text in zip(queries, documents, strict=True)]
        return [{"input_ids": self._cut(ids)} for ids in self.tokenizer(prompts)["input_ids"]]

    def _cut(self, ids: list[int]) -> list[int]:
        limit = self.spec.max_length
        if len(ids) <= limit:
            return ids
        end = [*self._tail, self.tokenizer.eos_token_id]
        return [*ids[: limit - len(end)], *end]

    def relevance(self, batch: Any) -> torch.Tensor:
        """[pairs], log-probability of the true token, at most 0."""
        start = torch.full((len(batch["input_ids"]), 1), self.model.config.decoder_start_token_id, device=self.device)
        logits = self.model(**batch, decoder_input_ids=start).logits[:, 0, self._answers]
        return torch.log_softmax(logits.float(), dim=1)[:, 1]
