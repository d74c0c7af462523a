"""Memory and speed of the encoder, where the recipe asks for them; what is computed stays the same."""

from typing import Any

from sentence_transformers.sparse_encoder.modules import Transformer

from sparsemill.study.models import Training


def spare(encoder: Any, spec: Training) -> None:
    """Apply `gradient_checkpointing` and `compile` to every transformer of a retriever, in place."""
    for module in list(encoder.modules()):
        if isinstance(module, Transformer):
            if spec.gradient_checkpointing:
                module.auto_model.gradient_checkpointing_enable({"use_reentrant": False})
            if spec.compile:
                # not the model with its head: sentence-transformers calls that one's `forward` past what is compiled
                module.auto_model.base_model.compile(dynamic=True)
