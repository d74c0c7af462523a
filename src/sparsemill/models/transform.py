"""The MLM transform of each architecture: the layer between the encoder and the decoder."""

from operator import attrgetter
from pathlib import Path
from typing import Any

import torch

from sparsemill.errors import UserError

_PLACES = (
    ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),  # BERT
    ("vocab_transform", "vocab_layer_norm"),  # DistilBERT
    ("head.dense", "head.norm"),  # ModernBERT
    ("lm_head.dense", "lm_head.layer_norm"),  # RoBERTa
    ("lm_head.dense", "lm_head.norm"),  # GTE's own BERT
)
HEADS = ("cls.", "vocab_", "head.", "lm_head.", "decoder.")
"""Beginnings of the names of all weights that are no part of the encoder."""


def _find(model: Any, folder: Path) -> tuple[Any, Any]:
    for names in _PLACES:
        try:
            dense, norm = attrgetter(*names)(model)
        except AttributeError:
            continue
        return dense, norm
    raise UserError(
        f"{folder}: `transform: identity` knows the MLM heads of BERT, DistilBERT, ModernBERT, RoBERTa and GTE, "
        f"not that of {type(model).__name__}; use a checkpoint with an MLM head"
    )


@torch.no_grad()
def set_identity_transform(model: Any, folder: Path) -> None:
    """Transform = identity up to its activation and normalisation; the decoder is tied to the embeddings, its bias 0.

    Args:
        model: a masked language model, changed in place.
        folder: where it came from, for messages.

    Raises:
        UserError: an architecture whose transform is not known, or whose decoder is not tied to the embeddings.
    """
    dense, norm = _find(model, folder)
    decoder = model.get_output_embeddings()
    if decoder.weight.data_ptr() != model.get_input_embeddings().weight.data_ptr():
        raise UserError(f"{folder}: `transform: identity` needs a decoder that is tied to the embeddings")
    dense.weight.copy_(torch.eye(dense.out_features))
    norm.weight.fill_(1.0)
    for module in (dense, norm, decoder):
        if module.bias is not None:
            module.bias.zero_()
