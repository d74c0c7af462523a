"""Queries that go through an encoder: lexical and splade."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsemill.device import choose_device, choose_precision
from sparsemill.models.encode import encode_texts, load_encoder
from sparsemill.quiet import quiet_libraries
from sparsemill.retrieval.prune import Pruning, prune


class EncodedQueries:
    """Encodes queries with the query route of a trained retriever.

    Args:
        model: folder that `save_encoder` wrote.
        query_length: tokens kept of a query, special tokens included.
        device: `auto`, `cpu` or `cuda`.
        precision: `fp32`, `bf16` or `auto`.
        tokens: bound on the padded tokens of one batch.
        head: `chunked` or `triton`.
        trust_remote_code: run the code that lies in the folder.
        prune: see `sparsemill.retrieval.prune.prune`.

    Raises:
        UserError: no such model, or it reads fewer tokens.
    """

    def __init__(
        self,
        model: Path,
        *,
        query_length: int,
        device: str,
        precision: str,
        tokens: int,
        prune: Pruning,
        head: str = "chunked",
        trust_remote_code: bool = False,
    ) -> None:
        quiet_libraries()
        device = choose_device(device)
        self._encoder = load_encoder(
            model, length=query_length, task="query", device=device, head=head, trust_remote_code=trust_remote_code
        )
        precision = choose_precision(precision, device=device)
        self._options: dict[str, Any] = {"length": query_length, "precision": precision, "tokens": tokens}
        self._prune = prune

    def encode(self, texts: Sequence[str]) -> Any:
        """CSR float32 [texts, vocabulary]; an empty text gives an empty row."""
        return prune(encode_texts(self._encoder, texts, task="query", **self._options), **self._prune)
