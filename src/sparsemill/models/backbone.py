"""Prepare a masked language model to start from: fewer layers, identity transform, a sparse start."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparsemill.data.tokenizer import read_tokenizer
from sparsemill.errors import UserError
from sparsemill.files import read_json
from sparsemill.models.buffers import refill_buffers
from sparsemill.models.encoder import special_ids
from sparsemill.models.max_logits import max_logits
from sparsemill.models.transform import HEADS, set_identity_transform
from sparsemill.models.vocabulary import cut_model, cut_tokenizer, kept_tokens
from sparsemill.models.weights import code_options, loading, model_folder
from sparsemill.study.models import Backbone

logger = logging.getLogger(__name__)
_DROPOUT = {
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout",
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
}
"""What the architectures call it; task heads have dropouts of their own, which nothing here uses."""


def _adjust(config: Any, backbone: Backbone, folder: Path) -> None:
    """Layers and dropout as asked for, and a decoder with a bias, which silences special tokens."""
    if backbone.layers is not None:
        if backbone.layers > config.num_hidden_layers:
            raise UserError(f"{folder}: has {config.num_hidden_layers} layers, `layers: {backbone.layers}` asked for")
        config.num_hidden_layers = backbone.layers
        if getattr(config, "layer_types", None):
            config.layer_types = config.layer_types[: backbone.layers]
    if backbone.dropout is not None:
        for name in _DROPOUT & config.to_dict().keys():
            setattr(config, name, backbone.dropout)
    if getattr(config, "decoder_bias", True) is False:
        config.decoder_bias = True


def _tie_decoder(model: Any, folder: Path, missing: set[str]) -> None:
    """Give the decoder a copy of the embeddings where the checkpoint holds none and its config does not say otherwise.

    transformers did so before version 5, and code that comes with older checkpoints relies on it.
    """
    decoder = model.get_output_embeddings()
    name = next((name for name, module in model.named_modules() if module is decoder), "")
    if f"{name}.weight" in missing and read_json(folder / "config.json").get("tie_word_embeddings", True):
        with torch.no_grad():
            decoder.weight.copy_(model.get_input_embeddings().weight)
        missing.discard(f"{name}.weight")
        model.config.tie_word_embeddings = False


def load_language_model(
    backbone: Backbone, folder: Path, *, hint: str = "for a checkpoint without an MLM head set `transform: identity`"
) -> tuple[Any, Any]:
    """A masked language model and its tokenizer, as many tokens in one as in the other.

    Args:
        backbone: its description.
        folder: its files.
        hint: what a user can do about weights that are missing.

    Raises:
        UserError: they cannot be loaded, weights are missing, or the tokenizer has more tokens than the model.
    """
    from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

    code = code_options(backbone.weights, folder)
    with loading(folder, "masked language model"):
        config = AutoConfig.from_pretrained(folder, **code)
        biased = getattr(config, "decoder_bias", True)
        _adjust(config, backbone, folder)
        model, report = AutoModelForMaskedLM.from_pretrained(folder, config=config, **code, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, **code)
    expected = HEADS if backbone.transform == "identity" else () if biased else ("decoder.bias",)
    absent = set(report["missing_keys"])
    _tie_decoder(model, folder, absent)
    missing = sorted(key for key in absent if not key.startswith(expected))
    if missing:
        raise UserError(f"{folder}: holds no {missing[0]} ({len(missing)} weights are missing); {hint}")
    if getattr(model.get_output_embeddings(), "bias", None) is None:
        raise UserError(f"{folder}: the decoder of {type(model).__name__} has no bias, which special tokens need")
    if not biased:
        torch.nn.init.zeros_(model.get_output_embeddings().bias)
    if len(tokenizer) > model.config.vocab_size:
        raise UserError(f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model {model.config.vocab_size}")
    if len(tokenizer) < model.config.vocab_size:
        model.resize_token_embeddings(len(tokenizer))  # rows that some models add for speed
    model.float().eval()
    refill_buffers(model)
    return model, tokenizer


def _hidden_states(model: Any, batch: Any) -> torch.Tensor:
    """The decoder's input [batch, length, width]."""
    captured: list[torch.Tensor] = []
    decoder: nn.Linear = model.get_output_embeddings()
    handle = decoder.register_forward_pre_hook(lambda _module, inputs: captured.append(inputs[0]))
    try:
        model(**batch)
    finally:
        handle.remove()
    return captured[0]


@torch.no_grad()
def sparse_start_bias(model: Any, tokenizer: Any, texts: Sequence[str], *, active: int, length: int = 64) -> float:
    """The decoder bias with which a text has `active` active tokens on average.

    Args:
        model: a masked language model; its own bias is left out of account.
        tokenizer: its tokenizer.
        texts: some tens of documents.
        active: wanted mean number of entries with a positive logit.
        length: tokens kept of a text.

    Raises:
        UserError: the vocabulary has not so many tokens.
    """
    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt")
    mask = batch["attention_mask"].bool()
    decoder = model.get_output_embeddings()
    largest = max_logits(
        _hidden_states(model, batch)[mask], decoder.weight, torch.zeros_like(decoder.bias), mask.sum(1).tolist()
    )
    special = special_ids(tokenizer)
    largest[:, special] = -torch.inf
    most = largest.shape[1] - len(special) - 1
    if active > most:
        raise UserError(f"start_active: {active} is more than the {most} tokens of this vocabulary that can be active")
    return -float(largest.flatten().topk(active * len(texts)).values[-1])


def _cut_vocabulary(model: Any, texts: Iterable[str], out: Path) -> Any:
    """Cut the model and the tokenizer that was saved to `out`; returns that tokenizer."""
    from transformers import AutoTokenizer

    kept = kept_tokens(read_tokenizer(out), texts)
    cut_model(model, kept)
    cut_tokenizer(out, kept)
    return AutoTokenizer.from_pretrained(out)


def prepare_backbone(
    backbone: Backbone, texts: Sequence[str], out: Path, *, vocabulary: Iterable[str] = ()
) -> dict[str, float | int]:
    """Write a masked language model folder as the config describes it.

    Args:
        backbone: its description.
        texts: documents on which `start_active` is measured; unused without it.
        out: folder to write to.
        vocabulary: documents whose tokens are kept where the description names collections for it.

    Returns:
        Facts: parameters, layers, tokens, and the starting bias where one was chosen.

    Raises:
        UserError: the weights cannot be had, or are not a masked language model.
    """
    folder = model_folder(backbone.weights)
    torch.manual_seed(0)
    model, tokenizer = load_language_model(backbone, folder)
    if backbone.transform == "identity":
        set_identity_transform(model, folder)
    tokenizer.save_pretrained(out)
    if backbone.vocabulary:
        tokenizer = _cut_vocabulary(model, vocabulary, out)
    facts: dict[str, float | int] = {
        "parameters": model.num_parameters(),
        "layers": model.config.num_hidden_layers,
        "tokens": len(tokenizer),
    }
    if backbone.start_active is not None:
        bias = sparse_start_bias(model, tokenizer, texts, active=backbone.start_active)
        with torch.no_grad():
            model.get_output_embeddings().bias.fill_(bias)
        facts["start_bias"] = bias
    model.save_pretrained(out)
    return facts
