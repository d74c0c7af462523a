"""Encode texts to sparse vectors: sorted by length, batched by tokens."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sentence_transformers.sparse_encoder import SparseEncoder

from sparsemill.models.batches import token_batches
from sparsemill.models.encoder import check_length
from sparsemill.models.head import attach_head
from sparsemill.models.weights import loading
from sparsemill.progress import Progress


def load_encoder(
    folder: Path,
    *,
    length: int,
    device: str,
    task: str = "document",
    head: str = "chunked",
    trust_remote_code: bool = False,
) -> SparseEncoder:
    """Open a trained retriever for encoding texts of up to `length` tokens.

    Args:
        folder: what training wrote.
        length: tokens of a text, special tokens included.
        device: `cpu` or `cuda`.
        task: `document` or `query`, of a retriever that encodes queries.
        head: `chunked` or `triton`.
        trust_remote_code: run the code that lies in the folder.

    Raises:
        UserError: the model cannot be opened, or has fewer positions.
    """
    with loading(folder / "model", "retriever"):
        encoder = SparseEncoder(
            str(folder / "model"), device=device, local_files_only=True, trust_remote_code=trust_remote_code
        )
    config = encoder[0].sub_modules[task][0].auto_model.config
    check_length(config, length, key="encode_length" if task == "document" else "query_length")
    attach_head(encoder, kind=head, device=device)
    encoder.eval()
    return encoder


def _rows(vectors: torch.Tensor) -> sparse.csr_matrix:
    """[batch, vocabulary] dense to CSR, on whatever device the vectors are."""
    rows, columns = vectors.nonzero(as_tuple=True)
    values = vectors[rows, columns].cpu().numpy()
    counts = torch.bincount(rows, minlength=len(vectors)).cpu().numpy()
    pointers = np.concatenate([[0], np.cumsum(counts)])
    return sparse.csr_matrix((values, columns.cpu().numpy().astype(np.int32), pointers), shape=tuple(vectors.shape))


@torch.inference_mode()
def encode_texts(
    encoder: SparseEncoder,
    texts: Sequence[str],
    *,
    task: str,
    length: int,
    tokens: int,
    precision: str,
    progress: Progress | None = None,
) -> sparse.csr_matrix:
    """Encode texts in order.

    Args:
        encoder: from `load_encoder`.
        texts: title and text of each document, or queries; an empty text gives an empty row.
        task: `document` or `query`.
        length: tokens kept of a text, special tokens included.
        tokens: bound on the padded tokens of one batch.
        precision: `fp32`, or `bf16` by autocast.
        progress: counts texts.

    Returns:
        [texts, vocabulary] CSR, float32, column indices sorted.
    """
    tokenizer = encoder[0].sub_modules[task][0].tokenizer
    if not texts:
        return sparse.csr_matrix((0, len(tokenizer)), dtype=np.float32)
    encoded: list[list[int]] = tokenizer(list(texts), truncation=True, max_length=length)["input_ids"]
    order: list[int] = []
    parts: list[Any] = []
    device = str(encoder.device).split(":")[0]
    for batch in token_batches([len(ids) for ids in encoded], tokens=tokens):
        features = tokenizer.pad({"input_ids": [encoded[row] for row in batch]}, return_tensors="pt").to(encoder.device)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
            vectors = encoder({**features, "task": task})["sentence_embedding"].float()
        parts.append(_rows(vectors))
        order.extend(batch)
        if progress:
            progress.advance(len(batch))
    stacked = sparse.vstack(parts, format="csr", dtype=np.float32)[np.argsort(np.array(order))]
    empty = np.array([not text.strip() for text in texts])
    stacked = sparse.csr_matrix(sparse.diags((~empty).astype(np.float32)) @ stacked)
    stacked.eliminate_zeros()
    stacked.sort_indices()
    return stacked
