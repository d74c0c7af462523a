"""The retriever as a `SparseEncoder` of sentence-transformers: weighted query tokens, SPLADE documents."""

import json
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.sparse_encoder import SparseEncoder
from sentence_transformers.sparse_encoder.modules import Router, SparseStaticEmbedding, SpladePooling, Transformer
from transformers import AutoTokenizer

from sparsemill.data.tokenizer import read_tokenizer
from sparsemill.errors import UserError
from sparsemill.files import read_json, write_json

SPECIAL_BIAS = -1e4
"""Decoder bias of special tokens: below any logit, so that relu zeroes them in every implementation."""


def query_weights(folder: Path, idf: Path | None) -> dict[str, float]:
    """Weight of every vocabulary token on the query side.

    Args:
        folder: holds `tokenizer.json`.
        idf: an `idf.json` that names every token, or None for the binary query (2411.04403, Eq. 2).

    Returns:
        token -> weight in id order: its IDF (Eq. 5) or 1, and 0 for special tokens.
    """
    tokenizer = read_tokenizer(folder)
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    table: dict[str, float] = read_json(idf) if idf is not None else {}
    tokens = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    missing = [token for token in tokens if idf is not None and token not in table]
    if missing:
        raise UserError(f"{idf}: no IDF for {len(missing)} tokens of {folder}, the first is {missing[0]!r}")
    return {token: 0.0 if token in special else table.get(token, 1.0) for token in tokens}


def _zero_special_tokens(language_model: Any, ids: list[int]) -> None:
    decoder = language_model.get_output_embeddings()
    with torch.no_grad():
        decoder.bias[ids] = SPECIAL_BIAS


def check_length(config: Any, length: int, *, key: str) -> None:
    """Raise a UserError if the model has no position for the last of `length` tokens."""
    offset = (config.pad_token_id or 0) + 1 if "roberta" in config.model_type else 0
    longest = config.max_position_embeddings - offset
    if length > longest:
        raise UserError(f"{key}: {length} tokens, but the model reads at most {longest}; lower it")


def build_encoder(folder: Path, weights: dict[str, float], *, query_length: int, document_length: int) -> SparseEncoder:
    """Build the retriever around a masked language model.

    Args:
        folder: a masked language model with its tokenizer.
        weights: token -> query weight, for every token of the vocabulary.
        query_length: tokens kept of a query, which gets no special tokens.
        document_length: tokens kept of a document, special tokens included.
    """
    transformer = Transformer(str(folder), transformer_task="fill-mask", max_seq_length=document_length)
    language_model = transformer.auto_model
    check_length(language_model.config, document_length, key="document_length")
    if getattr(language_model.get_output_embeddings(), "bias", None) is None:
        raise UserError(f"{folder}: not a masked language model (no output layer with a bias over the vocabulary)")
    tokenizer = transformer.tokenizer
    size = language_model.config.vocab_size
    if size != len(tokenizer):
        raise UserError(f"{folder}: the model has {size} tokens, its tokenizer {len(tokenizer)}; make it a backbone")
    table = torch.zeros(size)
    for token, weight in weights.items():
        table[tokenizer.convert_tokens_to_ids(token)] = weight
    _zero_special_tokens(language_model, sorted(set(tokenizer.all_special_ids)))
    query_tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=query_length)
    router = Router.for_query_document(
        query_modules=[SparseStaticEmbedding(tokenizer=query_tokenizer, weight=table, frozen=True)],
        document_modules=[transformer, SpladePooling(pooling_strategy="max", embedding_dimension=size)],
    )
    return SparseEncoder(modules=[router], similarity_fn_name="dot", device="cpu")


def save_encoder(encoder: SparseEncoder, folder: Path, weights: dict[str, float]) -> None:
    """Save the retriever: `model/` for `SparseEncoder(path)`, `query_weights.json` and `tokenizer.json` beside it."""
    encoder.save_pretrained(str(folder / "model"), create_model_card=False)
    write_json(folder / "query_weights.json", weights)
    tokenizer = json.loads(encoder[0].sub_modules["document"][0].tokenizer.backend_tokenizer.to_str())
    tokenizer["truncation"] = tokenizer["padding"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
