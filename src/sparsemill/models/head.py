"""The SPLADE head as a module of sentence-transformers, used while training and encoding.

Saved models hold the standard modules (masked language model + `SpladePooling`); `attach_head` and `detach_head`
exchange them for this head and back, so that nothing but speed and memory differs.
"""

from typing import Any

import torch
from sentence_transformers.base.modules.module import Module
from sentence_transformers.sparse_encoder import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling
from torch import Tensor, nn

from sparsemill.errors import UserError
from sparsemill.models.max_logits import max_logits


class SpladeHead(Module):  # type: ignore[misc]  # sentence-transformers is untyped
    """w_j = log(1 + relu(max_i logit_ij)), SPLADE-max (2109.10086, Eq. 6), from the decoder's input."""

    config_keys: list[str] = []

    def __init__(self, decoder: nn.Linear, *, parent: nn.Module, name: str) -> None:
        super().__init__()
        self.decoder = decoder
        self.place = [(parent, name)]
        """Where the decoder came from; in a list, so that the parent is no sub-module of the head."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Read `token_embeddings` [batch, length, width] and `attention_mask`; add `sentence_embedding`."""
        mask = features["attention_mask"].bool()
        hidden = features["token_embeddings"][mask]
        largest = max_logits(hidden, self.decoder.weight, self.decoder.bias, mask.sum(1).tolist())
        features["sentence_embedding"] = torch.log1p(torch.relu(largest))
        return features

    def get_embedding_dimension(self) -> int:
        """The size of the vocabulary."""
        return self.decoder.out_features

    def save(self, output_path: str, *args: object, safe_serialization: bool = True, **kwargs: object) -> None:
        """Refuse: saved models hold the standard modules."""
        raise RuntimeError("call detach_head before saving")


def _find_parent(model: nn.Module, child: nn.Module) -> tuple[nn.Module, str]:
    for parent in model.modules():
        for name, module in parent.named_children():
            if module is child:
                return parent, name
    raise UserError(f"{type(model).__name__} has no output layer over the vocabulary: not a masked language model")


def _document_route(encoder: SparseEncoder) -> Any:
    return encoder[0].sub_modules["document"]


def attach_head(encoder: SparseEncoder) -> None:
    """Exchange the logits and `SpladePooling` of the document route for `SpladeHead`, in place."""
    route = _document_route(encoder)
    language_model = route[0].auto_model
    decoder = language_model.get_output_embeddings()
    parent, name = _find_parent(language_model, decoder)
    setattr(parent, name, nn.Identity())
    route[1] = SpladeHead(decoder, parent=parent, name=name)


def detach_head(encoder: SparseEncoder) -> None:
    """Undo `attach_head`, in place."""
    route = _document_route(encoder)
    head: SpladeHead = route[1]
    parent, name = head.place[0]
    setattr(parent, name, head.decoder)
    route[1] = SpladePooling(pooling_strategy="max", embedding_dimension=head.decoder.out_features)
