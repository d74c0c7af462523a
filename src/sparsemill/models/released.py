"""Released checkpoints as retrievers: whatever format they come in, they are saved as training saves its own."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sparsemill.errors import UserError
from sparsemill.models.backbone import load_language_model
from sparsemill.models.encoder import build_encoder, query_weights, save_encoder
from sparsemill.models.formats import Format, check_pooling, read_format, read_table
from sparsemill.models.siamese import build_siamese
from sparsemill.models.weights import check_language_model, repository_folder
from sparsemill.study.models import Backbone, HubWeights, Released


def _check_query_side(folder: Path, found: Format, released: Released) -> None:
    if released.query_side == "table" and found.table is None:
        raise UserError(f"{folder}: has neither a SparseStaticEmbedding nor idf.json; set query_side: splade or binary")
    if released.siamese and found.inference_free:
        raise UserError(f"{folder}: its queries are looked up, not encoded; set query_side: table or binary")


def _weights(found: Format, released: Released, folder: Path, tokenizer: Any) -> dict[str, float]:
    """Query weights of every token of the language model in `folder`."""
    binary = query_weights(folder, None, special_tokens=released.special_tokens)
    if released.query_side == "binary" or found.table is None:
        return binary
    table = read_table(found.table, tokenizer.get_vocab())
    if released.special_tokens == "zero":
        table |= {token: 0.0 for token, weight in binary.items() if weight == 0}
    return table


def prepare_released(released: Released, out: Path) -> dict[str, Any]:
    """Write a released checkpoint as `save_encoder` writes a trained retriever.

    Args:
        released: its config.
        out: folder to write to.

    Returns:
        Facts: format, parameters, layers.

    Raises:
        UserError: the files cannot be had, are in no format that is known, or say other than the config.
    """
    source = repository_folder(released.weights)
    found = read_format(source)
    check_pooling(source, found, released)
    _check_query_side(source, found, released)
    check_language_model(found.transformer)
    model, tokenizer = load_language_model(
        Backbone(weights=released.weights), found.transformer, hint="a SPLADE needs its MLM head"
    )
    facts = {
        "format": "masked language model" if found.pooling is None else "sentence-transformers",
        "architecture": type(model).__name__,
        "parameters": model.num_parameters(),
        "layers": model.config.num_hidden_layers,
    }
    options: dict[str, Any] = {
        "query_length": released.query_length,
        "document_length": released.encode_length,
        "representation": released.representation,
        "activation": released.activation,
        "special_tokens": released.special_tokens,
        "trust_remote_code": isinstance(released.weights, HubWeights) and released.weights.trust_remote_code,
    }
    with TemporaryDirectory(dir=out) as name:
        folder = Path(name)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        if released.siamese:
            encoder = build_siamese(folder, None, lexical=released.query_side == "lexical", **options)
            weights = None
        else:
            weights = _weights(found, released, folder, tokenizer)
            encoder = build_encoder(folder, weights, **options)
        save_encoder(encoder, out, weights)
    return facts
