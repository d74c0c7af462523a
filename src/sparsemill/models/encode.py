"""Encode texts to sparse vectors: sorted by length, batched by tokens, a GPU kept busy.

While a GPU encodes a batch, a thread tokenises the next one, and the vectors of the one before are taken from it.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sentence_transformers.sparse_encoder import SparseEncoder
from sentence_transformers.sparse_encoder.modules import Transformer

from sparsemill.ahead import ahead
from sparsemill.device import multiplies_bf16
from sparsemill.malloc import give_back_freed_memory
from sparsemill.models.buffers import refill_buffers
from sparsemill.models.csr_rows import csr_rows
from sparsemill.models.encoder import check_length
from sparsemill.models.head import attach_head, use_bf16_weights, use_screened_logits
from sparsemill.models.ready_batches import Batch, ready_batches
from sparsemill.models.weights import loading
from sparsemill.progress import Progress

GIVE_BACK = 32
"""Batches on a CPU after which memory is given back: seldom, as pages that return are cleared anew."""


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
    for module in encoder.modules():
        if isinstance(module, Transformer):
            refill_buffers(module.auto_model)
    config = encoder[0].sub_modules[task][0].auto_model.config
    check_length(config, length, key="encode_length" if task == "document" else "query_length")
    attach_head(encoder, kind=head, device=device)
    encoder.eval()
    return encoder


@cache
def _gpu_streams() -> tuple[list[Any], Any]:
    """The same ones for every call: torch hands out 32 by turns, and keeps the memory that each has freed for it."""
    stream: Any = torch.cuda.Stream  # which torch leaves untyped
    return [stream() for _ in range(2)], stream(priority=-1)


def _streams(device: str) -> tuple[list[Any], Any]:
    """On a GPU two streams that encode by turns, and one that takes vectors; elsewhere none.

    Models read their mask before they launch anything, which waits for the stream; the other one has work meanwhile.
    """
    if device != "cuda":
        return [None], None
    lanes, taking = _gpu_streams()
    for lane in lanes:
        lane.wait_stream(torch.cuda.current_stream())  # which may still move weights
    return lanes, taking


def encode_batches(
    encoder: SparseEncoder, batches: Iterator[Batch], *, task: str
) -> Iterator[tuple[list[int], sparse.csr_matrix]]:
    """Rows and their vectors; on a GPU a batch is taken from it once the next one has been launched.

    Args:
        encoder: from `load_encoder`.
        batches: from `ready_batches`.
        task: `document` or `query`.

    Yields:
        Rows of the texts, and [rows, vocabulary] CSR.
    """
    device = encoder.device.type
    lanes, taking = _streams(device)
    launched: deque[tuple[list[int], torch.Tensor, Any]] = deque()

    def take() -> tuple[list[int], sparse.csr_matrix]:
        rows, vectors, done = launched.popleft()
        if taking is not None:
            taking.wait_event(done)
        with torch.cuda.stream(taking):
            return rows, csr_rows(vectors)

    for number, (rows, lengths, features) in enumerate(ahead(batches, depth=2)):
        lane = lanes[number % len(lanes)]
        if device == "cpu" and number % GIVE_BACK == GIVE_BACK - 1:
            give_back_freed_memory()
        with torch.cuda.stream(lane):
            moved = {name: value.to(device, non_blocking=True) for name, value in features.items()}
            vectors = encoder({**moved, "task": task, "lengths": lengths})["sentence_embedding"].float()
        launched.append((rows, vectors, lane.record_event() if lane else None))
        if lane is None or len(launched) > 1:
            yield take()
    while launched:
        yield take()


def _in_order(parts: list[tuple[list[int], sparse.csr_matrix]], *, texts: int, width: int) -> sparse.csr_matrix:
    """[texts, width] CSR from rows and their vectors; rows that no part has are empty. Takes the parts off the list."""
    counts = np.zeros(texts, dtype=np.int64)
    for rows, part in parts:
        counts[rows] = np.diff(part.indptr)
    pointers = np.concatenate([[0], np.cumsum(counts)])
    columns, values = np.empty(pointers[-1], dtype=np.int32), np.empty(pointers[-1], dtype=np.float32)
    while parts:
        rows, part = parts.pop()
        for place, (low, high) in zip(pointers[rows].tolist(), pairwise(part.indptr.tolist()), strict=True):
            columns[place : place + high - low] = part.indices[low:high]
            values[place : place + high - low] = part.data[low:high]
    return sparse.csr_matrix((values, columns, pointers), shape=(texts, width))


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
        precision: `fp32`, or `bf16`: the encoder's weights become bfloat16, in place.
        progress: counts texts.

    Returns:
        [texts, vocabulary] CSR, float32, column indices sorted.
    """
    device = encoder.device.type
    tokenizer = encoder[0].sub_modules[task][0].tokenizer
    if precision == "bf16":
        use_bf16_weights(encoder)
    elif device == "cpu" and multiplies_bf16(device):
        use_screened_logits(encoder)
    blank = sum(not text.strip() for text in texts)
    if progress and blank:
        progress.advance(blank)
    parts = []
    batches = ready_batches(texts, tokenizer, length=length, tokens=tokens, device=device, precision=precision)
    for rows, vectors in encode_batches(encoder, batches, task=task):
        parts.append((rows, vectors))
        if progress:
            progress.advance(len(rows))
    width = parts[0][1].shape[1] if parts else len(tokenizer)
    return _in_order(parts, texts=len(texts), width=width)
