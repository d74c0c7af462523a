"""The retriever as a `SparseEncoder` of sentence-transformers: weighted query tokens, SPLADE documents."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.sparse_encoder import SparseEncoder
from sentence_transformers.sparse_encoder.modules import Router, SparseStaticEmbedding, SpladePooling, Transformer
from transformers import AutoTokenizer

from sparsemill.data.tokenizer import read_tokenizer
from sparsemill.errors import UserError
from sparsemill.files import read_json, write_json
from sparsemill.models.activation import ACTIVATIONS
from sparsemill.models.buffers import refill_buffers
from sparsemill.models.weights import loading

SPECIAL_BIAS = -1e4
"""Decoder bias of special tokens: below any logit, so that relu zeroes them in every implementation."""


FRAME = ("pad_token", "cls_token", "sep_token")
"""Special tokens that stand around a text and not in it."""


def query_weights(folder: Path, idf: Path | None, *, special_tokens: str = "zero") -> dict[str, float]:
    """Weight of every vocabulary token on the query side.

    Args:
        folder: holds `tokenizer.json`.
        idf: an `idf.json` that names every token, or None for the binary query (2411.04403, Eq. 2).
        special_tokens: `zero`; or `keep`: [PAD], [CLS] and [SEP] alone weigh nothing (SpladeDoc of naver/splade).

    Returns:
        token -> weight in id order: its IDF (Eq. 5) or 1, and 0 for special tokens.
    """
    tokenizer = read_tokenizer(folder)
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    if special_tokens == "keep":
        names = AutoTokenizer.from_pretrained(folder, local_files_only=True).special_tokens_map
        special = {names[name] for name in FRAME if name in names}
    table: dict[str, float] = read_json(idf) if idf is not None else {}
    tokens = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    missing = [token for token in tokens if idf is not None and token not in table]
    if missing:
        raise UserError(f"{idf}: no IDF for {len(missing)} tokens of {folder}, the first is {missing[0]!r}")
    return {token: 0.0 if token in special else table.get(token, 1.0) for token in tokens}


def special_ids(tokenizer: Any) -> list[int]:
    """Ids of all special tokens, sorted; they never get a weight, neither in queries nor in documents."""
    added = {row for row, token in tokenizer.added_tokens_decoder.items() if token.special}
    return sorted(added | set(tokenizer.all_special_ids))


def check_length(config: Any, length: int, *, key: str) -> None:
    """Raise a UserError if the model has no position for the last of `length` tokens."""
    offset = (config.pad_token_id or 0) + 1 if "roberta" in config.model_type else 0
    longest = config.max_position_embeddings - offset
    if length > longest:
        raise UserError(f"{key}: {length} tokens, but the model reads at most {longest}; lower it")


def text_modules(
    folder: Path,
    *,
    length: int,
    key: str = "document_length",
    representation: str = "max",
    activation: str = "log1p_relu",
    special_tokens: str = "zero",
    trust_remote_code: bool = False,
) -> tuple[Transformer, SpladePooling]:
    """A masked language model and its pooling, special tokens made inactive.

    Args:
        folder: a masked language model with its tokenizer.
        length: tokens kept of a text, special tokens included.
        key: what the length is called in the config.
        representation: `max` or `sum`.
        activation: see `sparsemill.models.activation.activate`.
        special_tokens: `zero`; or `keep`: they stay active (released models).
        trust_remote_code: run the code that lies in the folder.

    Raises:
        UserError: no masked language model, one with fewer positions, or one whose tokenizer has another vocabulary.
    """
    # A dictionary each, because the library puts more into them.
    code = [{"trust_remote_code": True} if trust_remote_code else {} for _ in range(3)]
    with loading(folder, "masked language model"):
        transformer = Transformer(
            str(folder),
            transformer_task="fill-mask",
            max_seq_length=length,
            **dict(zip(("model_kwargs", "config_kwargs", "processor_kwargs"), code, strict=True)),
        )
    language_model = transformer.auto_model
    refill_buffers(language_model)
    check_length(language_model.config, length, key=key)
    decoder = language_model.get_output_embeddings()
    if getattr(decoder, "bias", None) is None:
        raise UserError(f"{folder}: not a masked language model (no output layer with a bias over the vocabulary)")
    size, tokens = language_model.config.vocab_size, len(transformer.tokenizer)
    if size != tokens:
        raise UserError(f"{folder}: the model has {size} tokens, its tokenizer {tokens}; make it a backbone")
    if special_tokens == "zero":
        with torch.no_grad():
            decoder.bias[special_ids(transformer.tokenizer)] = SPECIAL_BIAS
    pooling = SpladePooling(
        pooling_strategy=representation, activation_function=ACTIVATIONS[activation], embedding_dimension=size
    )
    return transformer, pooling


def weight_vector(weights: dict[str, float], tokenizer: Any) -> torch.Tensor:
    """[vocabulary], the weight of each token at its id; 0 where `weights` has none."""
    table = torch.zeros(len(tokenizer))
    for token, weight in weights.items():
        table[tokenizer.convert_tokens_to_ids(token)] = weight
    return table


def build_encoder(
    folder: Path,
    weights: dict[str, float],
    *,
    query_length: int,
    document_length: int,
    trained: bool = False,
    **options: Any,
) -> SparseEncoder:
    """Build an inference-free retriever around a masked language model.

    Args:
        folder: a masked language model with its tokenizer.
        weights: token -> query weight, for every token of the vocabulary.
        query_length: tokens kept of a query, which gets no special tokens.
        document_length: tokens kept of a document, special tokens included.
        trained: the query weights are parameters that training changes.
        options: `representation`, `activation`, `special_tokens` and `trust_remote_code`, see `text_modules`.

    Raises:
        UserError: as `text_modules`.
    """
    transformer, splade = text_modules(folder, length=document_length, **options)
    table = weight_vector(weights, transformer.tokenizer)
    query_tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=query_length)
    router = Router.for_query_document(
        query_modules=[SparseStaticEmbedding(tokenizer=query_tokenizer, weight=table, frozen=not trained)],
        document_modules=[transformer, splade],
    )
    return SparseEncoder(modules=[router], similarity_fn_name="dot", device="cpu")


def save_encoder(encoder: SparseEncoder, folder: Path, weights: dict[str, float] | None) -> None:
    """Save the retriever: `model/` for `SparseEncoder(path)`, `tokenizer.json` beside it, and `query_weights.json`.

    Args:
        encoder: built by `build_encoder` or `build_siamese`, without our head.
        folder: to write to.
        weights: token -> weight of the query side, or None where queries go through an encoder.
    """
    for module in encoder.modules():
        if hasattr(module, "tokenizer"):  # keeps the settings of its last batch, and would save them
            module.tokenizer.backend_tokenizer.no_truncation()
            module.tokenizer.backend_tokenizer.no_padding()
    encoder.save_pretrained(str(folder / "model"), create_model_card=False)
    for code in (folder / "model").glob("*_Transformer/*.py"):
        shutil.copy(code, folder / "model")  # where sentence-transformers looks for it
    if weights is not None:
        write_json(folder / "query_weights.json", weights)
    tokenizer = json.loads(encoder[0].sub_modules["document"][0].tokenizer.backend_tokenizer.to_str())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
