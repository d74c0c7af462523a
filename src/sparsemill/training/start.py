"""The retriever as training starts: which modules the recipe asks for, and the query table while it is learned."""

from pathlib import Path
from typing import Any

import torch
from sentence_transformers.sparse_encoder import SparseEncoder
from torch import Tensor
from transformers import TrainerCallback

from sparsemill.models.encoder import build_encoder, query_weights, special_ids
from sparsemill.models.siamese import build_siamese
from sparsemill.study.models import Training


def start_weights(spec: Training, start: Path, table: Path | None) -> dict[str, float] | None:
    """Token -> query weight before training; None where queries go through an encoder.

    Args:
        spec: the recipe.
        start: folder with the tokenizer.
        table: `idf.json`, or the `query_weights.json` that a learned query side goes on from; None: all tokens 1.
    """
    if spec.siamese:
        return None
    return query_weights(start, None if spec.query_side == "binary" else table)


def build_start(
    spec: Training,
    start: Path,
    weights: dict[str, float] | None,
    *,
    query_start: Path | None,
    trust_remote_code: bool = False,
) -> SparseEncoder:
    """The retriever before training, with the modules that it will be saved with.

    Args:
        spec: the recipe.
        start: masked language model of the document encoder.
        weights: from `start_weights`.
        query_start: masked language model of a separate query encoder (None: the document encoder's).
        trust_remote_code: run the code that lies in these folders.

    Raises:
        UserError: a folder holds no masked language model, or one that does not fit the recipe.
    """
    options: dict[str, Any] = {
        "query_length": spec.query_length,
        "document_length": spec.document_length,
        "representation": spec.representation,
        "activation": spec.activation,
        "trust_remote_code": trust_remote_code,
    }
    if weights is not None:
        return build_encoder(start, weights, trained=spec.query_side == "learned", **options)
    queries = (query_start or start) if spec.query_encoder == "separate" else None
    return build_siamese(start, queries, lexical=spec.query_side == "lexical", **options)


class QueryTable(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Keeps a learned query table within what a search engine can hold.

    After every optimiser step negative weights become 0, because an inverted index holds none and engines that skip
    postings rely on it (projected gradient descent: the model that is trained is the one that is served), and so do
    the weights of special tokens. A weight at 0 can grow again.
    """

    def __init__(self, encoder: SparseEncoder) -> None:
        module = encoder[0].sub_modules["query"][0]
        self.weight: Tensor = module.weight
        self.tokenizer = module.tokenizer
        self.special = special_ids(module.tokenizer)

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Project."""
        self.weight.clamp_(min=0)
        self.weight[self.special] = 0

    def weights(self) -> dict[str, float]:
        """Token -> weight, in id order."""
        tokens = self.tokenizer.convert_ids_to_tokens(range(len(self.weight)))
        return dict(zip(tokens, self.weight.tolist(), strict=True))
