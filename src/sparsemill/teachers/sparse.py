"""Siamese sparse teachers: a released SPLADE, which encodes queries and documents alike, or one of our experiments."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import nn

from sparsemill.errors import UserError
from sparsemill.models.activation import activate
from sparsemill.models.batches import token_batches
from sparsemill.models.buffers import refill_buffers
from sparsemill.models.csr_rows import csr_rows
from sparsemill.models.formats import check_pooling, read_format
from sparsemill.models.max_logits import max_logits
from sparsemill.models.products import use_fast_linear
from sparsemill.models.sum_activations import sum_activations
from sparsemill.models.weights import code_options, loading, model_folder
from sparsemill.progress import Progress
from sparsemill.study.models import SparseTeacher


def _transformer_folder(folder: Path, spec: SparseTeacher) -> Path:
    """The masked language model of a sentence-transformers folder, or the folder itself."""
    found = read_format(folder)
    if found.inference_free:
        raise UserError(f"{folder}: its queries are looked up, not encoded; a sparse teacher encodes both alike")
    check_pooling(folder, found, spec)
    return found.transformer


def _take_decoder(model: Any, folder: Path) -> nn.Linear:
    """Remove the output layer, so that the model returns what the layer reads."""
    decoder = model.get_output_embeddings()
    for parent in model.modules():
        for name, child in parent.named_children():
            if child is decoder and decoder is not None:
                setattr(parent, name, nn.Identity())
                taken: nn.Linear = decoder
                return taken
    raise UserError(f"{folder}: {type(model).__name__} has no output layer over the vocabulary")


class SpladeEncoder:
    """A masked language model whose logits are pooled over the tokens of a text (2107.05720, 2109.10086)."""

    def __init__(self, spec: SparseTeacher, *, device: str) -> None:
        from transformers import AutoModelForMaskedLM, AutoTokenizer

        if spec.weights is None:
            raise ValueError("an experiment is no released model")
        folder = _transformer_folder(model_folder(spec.weights), spec)
        code = code_options(spec.weights, folder)
        dtype = torch.bfloat16 if spec.precision == "bf16" else torch.float32
        self.spec, self.device = spec, device
        with loading(folder, "masked language model"):
            self.tokenizer = AutoTokenizer.from_pretrained(folder, **code)
            model, report = AutoModelForMaskedLM.from_pretrained(folder, **code, dtype=dtype, output_loading_info=True)
        if report["missing_keys"]:
            raise UserError(f"{folder}: holds no {min(report['missing_keys'])}; a SPLADE needs its MLM head")
        refill_buffers(model)
        self.decoder = _take_decoder(model, folder).to(device)
        self.model = model.to(device).eval()
        use_fast_linear(self.model, fast=device == "cpu")

    def encode_queries(self, texts: Sequence[str], *, label: str) -> Any:
        """CSR float32 [texts, vocabulary]."""
        return self._encode(texts, label)

    def encode_documents(self, texts: Sequence[str], *, label: str) -> Any:
        """CSR float32 [texts, vocabulary]."""
        return self._encode(texts, label)

    @torch.inference_mode()
    def _encode(self, texts: Sequence[str], label: str) -> Any:
        if not texts:
            return sparse.csr_matrix((0, self.decoder.out_features), dtype=np.float32)
        encoded = self.tokenizer(list(texts), truncation=True, max_length=self.spec.max_length)["input_ids"]
        progress = Progress(label, len(texts), unit="text")
        order: list[int] = []
        parts: list[Any] = []
        for rows in token_batches([len(ids) for ids in encoded], tokens=self.spec.tokens_per_batch):
            batch = self.tokenizer.pad({"input_ids": [encoded[row] for row in rows]}, return_tensors="pt")
            parts.append(csr_rows(self._pool(batch.to(self.device))))
            order.extend(rows)
            progress.advance(len(rows))
        stacked = sparse.vstack(parts, format="csr", dtype=np.float32)[np.argsort(np.array(order))]
        return sparse.csr_matrix(stacked)

    def _pool(self, batch: Any) -> torch.Tensor:
        mask = batch["attention_mask"].bool()
        hidden = self.model(**batch).logits[mask]
        lengths, bias = mask.sum(1).tolist(), self.decoder.bias
        if bias is None:
            bias = hidden.new_zeros(self.decoder.out_features)
        activation = self.spec.activation
        if self.spec.representation == "max":
            pooled = activate(max_logits(hidden, self.decoder.weight, bias, lengths), activation)
        else:
            pooled = sum_activations(hidden, self.decoder.weight, bias, lengths, activation=activation)
        if self.spec.special_tokens == "zero":
            pooled[:, sorted(set(self.tokenizer.all_special_ids))] = 0
        return pooled.float()


class ExperimentEncoder:
    """A trained retriever of the study: its document encoder, and its own query side.

    Args:
        spec: its config.
        model: what training wrote.
        queries: how its queries are encoded, see `sparsemill.retrieval.queries.open_queries`.
        device: `cpu` or `cuda`.
        head: `chunked` or `triton`.
        trust_remote_code: run the code that lies in the folder.
    """

    def __init__(
        self,
        spec: SparseTeacher,
        model: Path,
        *,
        queries: Mapping[str, Any],
        device: str,
        head: str = "chunked",
        trust_remote_code: bool = False,
    ) -> None:
        from sparsemill.models.encode import load_encoder
        from sparsemill.retrieval.queries import open_queries

        self.spec, self.device = spec, device
        self._documents = load_encoder(
            model, length=spec.max_length, device=device, head=head, trust_remote_code=trust_remote_code
        )
        self._queries = open_queries(model, queries, threads=torch.get_num_threads())

    def encode_queries(self, texts: Sequence[str], *, label: str) -> Any:
        """CSR float32 [texts, vocabulary]."""
        del label
        return self._queries.encode(texts)

    def encode_documents(self, texts: Sequence[str], *, label: str) -> Any:
        """CSR float32 [texts, vocabulary]."""
        from sparsemill.models.encode import encode_texts

        spec = self.spec
        return encode_texts(
            self._documents,
            texts,
            task="document",
            length=spec.max_length,
            tokens=spec.tokens_per_batch,
            precision=spec.precision,
            progress=Progress(label, len(texts), unit="text"),
        )
