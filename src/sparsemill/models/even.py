"""A transformer that trains on groups of texts of like length, so that little of its work and memory is padding."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from sentence_transformers.sparse_encoder.modules import Transformer
from torch import Tensor

from sparsemill.models.batches import few_shapes, token_batches
from sparsemill.models.products import ONEDNN

TOKENS = {"cpu": 2048, "cuda": 262_144}
"""Bound on the padded tokens of a group. On a CPU larger products are no faster; a GPU computes padding sooner than it
launches the layers once more."""
FEW_SHAPES_TOKENS = 1024
"""The bound where groups come in few shapes: half as many texts are padded less."""


def _groups(lengths: list[int], *, device: str, longest: int) -> list[tuple[list[int], int]]:
    """Rows of each group and the length that they are padded to."""
    if device == "cpu" and ONEDNN:
        return list(few_shapes(lengths, tokens=FEW_SHAPES_TOKENS, longest=longest))
    return [(rows, lengths[rows[0]]) for rows in token_batches(lengths, tokens=TOKENS[device])]


def _input(model: Any, features: Mapping[str, Any]) -> tuple[str, Tensor]:
    """What is cut into groups: embedded tokens, so that the gradient of the large embedding matrix is made once."""
    if "inputs_embeds" in inspect.signature(model.forward).parameters:
        return "inputs_embeds", model.get_input_embeddings()(features["input_ids"])
    return "input_ids", features["input_ids"]


class EvenTransformer(Transformer):  # type: ignore[misc]  # sentence-transformers is untyped
    """`Transformer` that cuts a training batch into groups; elsewhere, and for one group, it is `Transformer`.

    Token embeddings of padding are zeros where a group has no such position. Groups follow from the lengths and the
    kind of processor alone, so equal batches give equal groups; dropout draws its masks group by group.
    """

    def forward(self, features: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Read `input_ids` and `attention_mask` [batch, length]; add `token_embeddings` [batch, length, width]."""
        whole: dict[str, Any]
        if not self.training:  # on a GPU reading the lengths would wait for all that was launched
            whole = super().forward(features, **options)
            return whole
        mask = features["attention_mask"]
        places = torch.arange(1, mask.shape[1] + 1, device=mask.device)
        features["lengths"] = mask.sum(1).tolist()
        lengths = (mask.bool() * places).amax(1).tolist()  # up to the last token, on whatever side the padding is
        groups = _groups(lengths, device=mask.device.type, longest=mask.shape[1])
        if len(groups) < 2:
            whole = super().forward(features, **options)
            return whole
        columns = {name: value for name, value in features.items() if isinstance(value, Tensor) and value.ndim > 1}
        rest = {name: value for name, value in features.items() if name not in columns}
        del columns["input_ids"]
        name, columns[name] = _input(self.auto_model, features)
        output: Tensor | None = None
        for group, longest in groups:
            rows = torch.tensor(group, device=mask.device)
            part = {name: value[rows, :longest] for name, value in columns.items()}
            found = super().forward({**rest, **part}, **options)["token_embeddings"]
            if output is None:
                output = found.new_zeros(*mask.shape, found.shape[-1])
            output[rows, :longest] = found
        features["token_embeddings"] = output
        return features


def use_even_transformer(transformer: Transformer, *, even: bool = True) -> None:
    """Make a `Transformer` an `EvenTransformer`, or back, in place; parameters and their names stay."""
    old, new = (Transformer, EvenTransformer) if even else (EvenTransformer, Transformer)
    if type(transformer) is old:
        transformer.__class__ = new
