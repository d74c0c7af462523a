"""The SPLADE head as a module of sentence-transformers, used while training and encoding.

Saved models hold the standard modules (masked language model + `SpladePooling`); `attach_head` and `detach_head`
exchange them for this head and back, so that nothing but speed and memory differs.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from sentence_transformers.base.modules.module import Module
from sentence_transformers.sparse_encoder import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling
from torch import Tensor, nn

from sparsemill.errors import UserError
from sparsemill.models.activation import ACTIVATIONS, activate
from sparsemill.models.attention import use_lean_attention
from sparsemill.models.even import use_even_transformer
from sparsemill.models.max_logits import max_logits
from sparsemill.models.products import use_fast_linear
from sparsemill.models.screened_logits import ScreenedLogits
from sparsemill.models.sum_activations import sum_activations

MaxLogits = Callable[[Tensor, Tensor, Tensor, list[int]], Tensor]
"""A function with the contract of `sparsemill.models.max_logits.max_logits`."""


def max_logits_of(kind: str, *, device: str) -> MaxLogits:
    """The implementation that the config key `head` names: `chunked`, or `triton`, which runs on a GPU alone.

    Raises:
        UserError: `triton` where the package or the GPU is missing; nothing takes its place.
    """
    if kind == "chunked":
        return max_logits
    if find_spec("triton") is None:
        raise UserError("head: triton is not installed; run `pip install triton==3.7.1`, or set head: chunked")
    if not device.startswith("cuda"):
        raise UserError(f"head: triton runs on a CUDA device, this stage runs on {device}; set head: chunked")
    from sparsemill.models import max_logits_triton

    return max_logits_triton.max_logits


def _real_tokens(embeddings: Tensor, mask: Tensor, count: int) -> Tensor:
    """[count, width]: embeddings [batch, length, width] where the mask is true, which is at `count` places."""
    flat = embeddings.flatten(0, 1)
    if count == mask.numel():
        return flat
    return flat.index_select(0, torch.nonzero_static(mask.flatten(), size=count).squeeze(1))


class SpladeHead(Module):  # type: ignore[misc]  # sentence-transformers is untyped
    """Weights w_j from the decoder's input: max_i or sum_i of log(1 + relu(logit_ij)), or of its double logarithm.

    The maximum is Eq. 6 of 2109.10086, the sum that of 2107.05720.

    Args:
        decoder: the language model's output layer, with a bias.
        parent: the module that the decoder was taken from.
        name: the decoder's name in it.
        pooling: what the head stands in for; says which representation and activation.
    """

    config_keys: list[str] = []

    def __init__(
        self,
        decoder: nn.Linear,
        *,
        parent: nn.Module,
        name: str,
        pooling: SpladePooling,
        max_logits: MaxLogits = max_logits,
    ) -> None:
        super().__init__()
        self.max_logits = max_logits
        self.decoder = decoder
        self.place = [(parent, name, pooling)]
        """What to put back; in a list, so that none of it is a sub-module of the head."""
        self.representation: str = pooling.pooling_strategy
        self.activation = {theirs: ours for ours, theirs in ACTIVATIONS.items()}[pooling.activation_function]

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Read `token_embeddings` [batch, length, width] and `attention_mask`; add `sentence_embedding`.

        `lengths`, the tokens of each text, spare a GPU the wait for the mask where they are known.
        """
        mask = features["attention_mask"].bool()
        lengths: list[int] = features["lengths"] if "lengths" in features else mask.sum(1).tolist()
        hidden = _real_tokens(features["token_embeddings"], mask, sum(lengths))
        tokens = hidden, self.decoder.weight, self.decoder.bias, lengths
        features["sentence_embedding"] = (
            activate(self.max_logits(*tokens), self.activation)
            if self.representation == "max"
            else sum_activations(*tokens, activation=self.activation)
        )
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


def _take_head(language_model: Any, pooling: SpladePooling, max_logits: MaxLogits) -> SpladeHead:
    decoder = language_model.get_output_embeddings()
    parent, name = _find_parent(language_model, decoder)
    setattr(parent, name, nn.Identity())
    return SpladeHead(decoder, parent=parent, name=name, pooling=pooling, max_logits=max_logits)


def _routes_with(encoder: SparseEncoder, kind: type[nn.Module]) -> list[Any]:
    """Routes whose second module is of a kind; the first one is their transformer."""
    routes = encoder[0].sub_modules.values()
    return [route for route in routes if len(route) > 1 and isinstance(route[1], kind)]


def attach_head(encoder: SparseEncoder, *, kind: str = "chunked", device: str = "cpu") -> None:
    """Exchange the logits and `SpladePooling` of every route for `SpladeHead`, in place.

    Routes that share a transformer share its head. Transformers train on groups of like length, and on a CPU with less
    memory for attention; there the linear layers become `FastLinear`.

    Args:
        encoder: from `build_encoder`, or loaded.
        kind: `chunked` or `triton`.
        device: where the encoder will run.

    Raises:
        UserError: `triton` where it cannot run, or for a representation that is no maximum.
    """
    max_logits = max_logits_of(kind, device=device)
    heads: dict[int, SpladeHead] = {}
    for route in _routes_with(encoder, SpladePooling):
        key = id(route[0])
        if kind == "triton" and route[1].pooling_strategy != "max":
            raise UserError("head: triton computes a maximum, not representation: sum; set head: chunked")
        if key not in heads:
            heads[key] = _take_head(route[0].auto_model, route[1], max_logits)
        route[1] = heads[key]
        use_even_transformer(route[0])
        use_lean_attention(route[0].auto_model, lean=device == "cpu")
    use_fast_linear(encoder, fast=device == "cpu")


def detach_head(encoder: SparseEncoder) -> None:
    """Undo `attach_head`, in place."""
    use_fast_linear(encoder, fast=False)
    for route in _routes_with(encoder, SpladeHead):
        head: SpladeHead = route[1]
        parent, name, pooling = head.place[0]
        setattr(parent, name, head.decoder)
        route[1] = pooling
        use_even_transformer(route[0], even=False)
        use_lean_attention(route[0].auto_model, lean=False)


def use_bf16_weights(encoder: SparseEncoder) -> None:
    """Make the weights of every route with our head bfloat16, in place, for encoding.

    Faster than autocast, which keeps what lies between products in float32. The decoder's bias stays float32:
    what half precision loses of it is added to maxima, which are float32. Weights that are bfloat16 already stay.
    """
    for route in _routes_with(encoder, SpladeHead):
        decoder = route[1].decoder
        if decoder.weight.dtype == torch.bfloat16:
            continue
        bias = decoder.bias.detach().float()  # before a model that holds it too converts it
        for parameter in route[0].parameters():  # buffers stay: rotary frequencies would lose their phase
            parameter.data = parameter.data.bfloat16()
        decoder.bfloat16()
        decoder.bias = nn.Parameter(bias, requires_grad=False)


def use_screened_logits(encoder: SparseEncoder) -> None:
    """Let every float32 route with our chunked head multiply in bfloat16 first, in place, for encoding on a CPU."""
    for route in _routes_with(encoder, SpladeHead):
        if route[1].max_logits is max_logits and route[1].decoder.weight.dtype == torch.float32:
            route[1].max_logits = ScreenedLogits(route[1].decoder.weight)
