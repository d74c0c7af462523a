"""Encode texts to sparse vectors: sorted by length, batched by tokens, a GPU kept busy.

While a GPU encodes a batch, a thread tokenises the next one, and the vectors of the one before are taken from it.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sentence_transformers.sparse_encoder import SparseEncoder

from sparsemill.ahead import ahead
from sparsemill.models.batches import token_batches
from sparsemill.models.encoder import check_length
from sparsemill.models.head import attach_head, use_bf16_weights
from sparsemill.models.weights import loading
from sparsemill.progress import Progress

SLICE = {"cpu": 65_536, "cuda": 1024}
"""Texts that are tokenised at a time: few where that is done beside the encoding, and the first ones delay it."""
Batch = tuple[list[int], dict[str, torch.Tensor]]
"""Rows of the texts, and their `input_ids` and `attention_mask` [texts, longest], int64."""


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


def _token_ids(texts: list[str], tokenizer: Any, *, length: int) -> list[list[int]]:
    """What `tokenizer(texts, truncation=True, max_length=length)` gives, without what only it needs."""
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(length, direction=tokenizer.truncation_side)
    return [encoding.ids for encoding in backend.encode_batch_fast(texts)]


def _padded(ids: list[list[int]], tokenizer: Any) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` [texts, longest], int64, as `tokenizer.pad` makes them, but faster."""
    lengths = np.array([len(row) for row in ids])
    places = np.arange(lengths.max())
    real = places < lengths[:, None]
    if tokenizer.padding_side == "left":
        real = real[:, ::-1]
    matrix = np.full(real.shape, tokenizer.pad_token_id, dtype=np.int64)
    matrix[real] = np.concatenate([np.array(row, dtype=np.int64) for row in ids])
    return {"input_ids": torch.from_numpy(matrix), "attention_mask": torch.from_numpy(real.astype(np.int64))}


def ready_batches(texts: Sequence[str], tokenizer: Any, *, length: int, tokens: int, device: str) -> Iterator[Batch]:
    """Batches of all texts, about the longest first: texts of like length in characters are tokenised together.

    Args:
        texts: any number.
        tokenizer: of transformers.
        length: tokens kept of a text, special tokens included.
        tokens: bound on the padded tokens of one batch.
        device: `cpu` or `cuda`, for which memory is pinned.
    """
    order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))
    size = SLICE[device]
    for low in range(0, len(order), size):
        rows = sorted(order[low : low + size])
        encoded = _token_ids([texts[row] for row in rows], tokenizer, length=length)
        for batch in token_batches([len(ids) for ids in encoded], tokens=tokens):
            features = _padded([encoded[place] for place in batch], tokenizer)
            if device == "cuda":  # so that copying waits for nothing
                features = {name: value.pin_memory() for name, value in features.items()}
            yield [rows[place] for place in batch], features


def _rows(vectors: torch.Tensor) -> sparse.csr_matrix:
    """[batch, vocabulary] dense to CSR, on whatever device the vectors are."""
    rows, columns = vectors.nonzero(as_tuple=True)
    values = vectors[rows, columns].cpu().numpy()
    counts = torch.bincount(rows, minlength=len(vectors)).cpu().numpy()
    pointers = np.concatenate([[0], np.cumsum(counts)])
    return sparse.csr_matrix((values, columns.cpu().numpy().astype(np.int32), pointers), shape=tuple(vectors.shape))


def encode_batches(
    encoder: SparseEncoder, batches: Iterator[Batch], *, task: str, precision: str
) -> Iterator[tuple[list[int], sparse.csr_matrix]]:
    """Rows and their vectors; on a GPU a batch is taken from it once the next one has been launched.

    Args:
        encoder: from `load_encoder`.
        batches: from `ready_batches`.
        task: `document` or `query`.
        precision: see `encode_texts`; the weights are taken as they are.

    Yields:
        Rows of the texts, and [rows, vocabulary] CSR.
    """
    device = encoder.device.type
    stream = torch.cuda.Stream(priority=-1) if device == "cuda" else None  # type: ignore[no-untyped-call]  # torch's own
    launched: deque[tuple[list[int], torch.Tensor, Any]] = deque()

    def take() -> tuple[list[int], sparse.csr_matrix]:
        rows, vectors, done = launched.popleft()
        if stream is not None:
            stream.wait_event(done)
        with torch.cuda.stream(stream):
            return rows, _rows(vectors)

    for rows, features in ahead(batches, depth=2):
        moved = {name: value.to(encoder.device, non_blocking=True) for name, value in features.items()}
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16" and device == "cpu"):
            vectors = encoder({**moved, "task": task})["sentence_embedding"].float()
        launched.append((rows, vectors, torch.cuda.current_stream().record_event() if stream else None))
        if stream is None or len(launched) > 1:
            yield take()
    while launched:
        yield take()


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
        precision: `fp32`, or `bf16`: by autocast on a CPU; on a GPU the encoder's weights become bfloat16, in place.
        progress: counts texts.

    Returns:
        [texts, vocabulary] CSR, float32, column indices sorted.
    """
    device = encoder.device.type
    tokenizer = encoder[0].sub_modules[task][0].tokenizer
    if not texts:
        return sparse.csr_matrix((0, len(tokenizer)), dtype=np.float32)
    if device == "cuda" and precision == "bf16":
        use_bf16_weights(encoder)
    order: list[int] = []
    parts: list[Any] = []
    batches = ready_batches(texts, tokenizer, length=length, tokens=tokens, device=device)
    for rows, vectors in encode_batches(encoder, batches, task=task, precision=precision):
        parts.append(vectors)
        order.extend(rows)
        if progress:
            progress.advance(len(rows))
    stacked = sparse.vstack(parts, format="csr", dtype=np.float32)[np.argsort(np.array(order))]
    empty = np.array([not text.strip() for text in texts])
    stacked = sparse.csr_matrix(sparse.diags((~empty).astype(np.float32)) @ stacked)
    stacked.eliminate_zeros()
    stacked.sort_indices()
    return stacked
