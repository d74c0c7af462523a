"""A siamese dense teacher: a sentence-transformers style encoder, pooled and scaled to unit length."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sparsemill.errors import UserError
from sparsemill.models.batches import token_batches
from sparsemill.models.buffers import refill_buffers
from sparsemill.models.products import use_fast_linear
from sparsemill.models.weights import code_options, loading, model_folder
from sparsemill.progress import Progress
from sparsemill.study.models import DenseTeacher


class DenseEncoder:
    """Encodes texts with `AutoModel`, mean or CLS pooling."""

    def __init__(self, spec: DenseTeacher, *, device: str) -> None:
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        folder = model_folder(spec.weights)
        code = code_options(spec.weights, folder)
        dtype = torch.bfloat16 if spec.precision == "bf16" else torch.float32
        self.spec, self.device = spec, device
        with loading(folder, "text encoder"):
            self.tokenizer = AutoTokenizer.from_pretrained(folder, **code)
            config = AutoConfig.from_pretrained(folder, **code)
            keep_layers(config, spec.layers, folder)
            model: Any = AutoModel.from_pretrained(folder, config=config, **code, dtype=dtype)
        refill_buffers(model)
        self.model = model.to(device).eval()
        use_fast_linear(self.model, fast=device == "cpu")

    def encode_queries(self, texts: Sequence[str], *, label: str) -> NDArray[np.float32]:
        """[texts, width], behind the query prompt."""
        return self.encode(texts, prompt=self.spec.query_prompt, label=label)

    def encode_documents(self, texts: Sequence[str], *, label: str) -> NDArray[np.float32]:
        """[texts, width], behind the document prompt."""
        return self.encode(texts, prompt=self.spec.document_prompt, label=label)

    @torch.inference_mode()
    def encode(self, texts: Sequence[str], *, prompt: str, label: str) -> NDArray[np.float32]:
        """Embeddings of texts, [texts, width], in the given order.

        Args:
            texts: any number; sorted by length and batched by tokens inside.
            prompt: put before every text.
            label: of the progress lines.
        """
        output = np.empty((len(texts), self.model.config.hidden_size), dtype=np.float32)
        if not texts:
            return output
        prefixed = [prompt + text for text in texts]
        encoded = self.tokenizer(prefixed, truncation=True, max_length=self.spec.max_length)["input_ids"]
        progress = Progress(label, len(texts), unit="text")
        for rows in token_batches([len(ids) for ids in encoded], tokens=self.spec.tokens_per_batch):
            batch = self.tokenizer.pad({"input_ids": [encoded[row] for row in rows]}, return_tensors="pt")
            batch = batch.to(self.device)
            hidden = self.model(**batch).last_hidden_state.float()
            output[rows] = self._pool(hidden, batch["attention_mask"]).cpu().numpy()
            progress.advance(len(rows))
        return output

    def _pool(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.spec.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            weights = mask.unsqueeze(2).float()
            pooled = (hidden * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.normalize(pooled, dim=1) if self.spec.normalize else pooled


def keep_layers(config: Any, layers: int | None, source: object) -> None:
    """Make a model's config one of its first `layers` transformer layers (None: all).

    Raises:
        UserError: it has fewer.
    """
    if layers is None:
        return
    if layers > config.num_hidden_layers:
        raise UserError(f"{source}: has {config.num_hidden_layers} layers, `layers: {layers}` asked for")
    config.num_hidden_layers = layers
