"""Formats of released sparse retrievers: which files of a repository are the model, its pooling, its queries."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

import numpy as np

from sparsemill.errors import UserError
from sparsemill.files import read_json
from sparsemill.models.activation import ACTIVATIONS
from sparsemill.models.weights import FILE

IDF = "idf.json"
ENCODERS = ("Transformer", "MLMTransformer")
"""Modules of sentence-transformers that hold a masked language model; the second is the name before 5.4."""


class Format(NamedTuple):
    """How a repository stores a sparse retriever.

    Attributes:
        transformer: folder of the masked language model.
        pooling: `representation` and `activation` of its `SpladePooling`; None where it has none.
        table: folder of a `SparseStaticEmbedding`, or `idf.json`; None where queries have no table.
        inference_free: whether the repository's own query route is that table.
    """

    transformer: Path
    pooling: dict[str, str] | None
    table: Path | None
    inference_free: bool


class Pooled(Protocol):
    """A config entry that says how logits are pooled."""

    @property
    def representation(self) -> str:
        """`max` or `sum`."""

    @property
    def activation(self) -> str:
        """See `sparsemill.models.activation.activate`."""


class _Module(NamedTuple):
    kind: str
    path: Path


def _module(folder: Path, type_: str, path: str) -> _Module:
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts:
        raise UserError(f"{folder}: the module {path!r} lies outside the folder; do not use these files")
    return _Module(type_.rpartition(".")[2], folder / relative)


def _routes(folder: Path) -> tuple[list[_Module], list[_Module]]:
    """The modules of the query route and of the document route."""
    config = read_json(folder / "router_config.json")
    structure = config["structure"]
    if missing := {"query", "document"} - structure.keys():
        raise UserError(f"{folder}: its Router has no route {min(missing)!r}")
    query, document = (
        [_module(folder, config["types"][name], name) for name in structure[route]] for route in ("query", "document")
    )
    return query, document


def _kinds(modules: Sequence[_Module]) -> str:
    return ", ".join(module.kind for module in modules)


def _pooling(folder: Path) -> dict[str, str]:
    found = read_json(folder / "config.json")
    ours = {theirs: name for name, theirs in ACTIVATIONS.items()}
    return {
        "representation": found.get("pooling_strategy", "max"),
        "activation": ours.get(found.get("activation_function", "relu"), "another"),
    }


def _check_plain(folder: Path) -> None:
    """Refuse what sentence-transformers would do to texts and vectors beyond its modules."""
    path = folder / "config_sentence_transformers.json"
    config = read_json(path) if path.is_file() else {}
    if any((config.get("prompts") or {}).values()):
        raise UserError(f"{path}: it puts prompts before texts, which is not supported")
    if config.get("max_active_dims"):
        raise UserError(
            f"{path}: it keeps {config['max_active_dims']} weights of a vector; remove that key and set `prune: top_k`"
        )


def read_format(folder: Path) -> Format:
    """Recognise the format of a repository by its files.

    Raises:
        UserError: modules of sentence-transformers that are no sparse retriever, or more than one.
    """
    idf = folder / IDF
    if not (folder / "modules.json").is_file():
        return Format(folder, None, idf if idf.is_file() else None, inference_free=False)
    _check_plain(folder)
    documents = [_module(folder, str(module["type"]), module["path"]) for module in read_json(folder / "modules.json")]
    table, inference_free = idf if idf.is_file() else None, False
    if [module.kind for module in documents] == ["Router"]:
        queries, documents = _routes(documents[0].path)
        if [module.kind for module in queries] != ["SparseStaticEmbedding"]:
            raise UserError(
                f"{folder}: modules {_kinds(queries)} of the query route are no SparseStaticEmbedding; "
                "a query encoder of its own is not supported"
            )
        table, inference_free = queries[0].path, True
    if len(documents) != 2 or documents[0].kind not in ENCODERS or documents[1].kind != "SpladePooling":
        raise UserError(f"{folder}: modules {_kinds(documents)} are no SPLADE (a transformer and SpladePooling)")
    return Format(documents[0].path, _pooling(documents[1].path), table, inference_free)


def check_pooling(folder: Path, found: Format, spec: Pooled) -> None:
    """Raise a UserError where the folder's `SpladePooling` says other than the config."""
    for key, value in (found.pooling or {}).items():
        if value != getattr(spec, key):
            raise UserError(f"{folder}: its SpladePooling has {key} {value}; set {key}: {value}")


def read_table(table: Path, vocabulary: Mapping[str, int]) -> dict[str, float]:
    """Query weight of every token, in the order of ids; tokens that a table does not name weigh nothing.

    Args:
        table: see `Format`.
        vocabulary: token -> id of the document encoder's tokenizer.

    Raises:
        UserError: the table belongs to another tokenizer, or has a weight that is negative or not finite.
    """
    weights = _embedded(table, vocabulary) if table.is_dir() else read_json(table)
    unknown = sorted(weights.keys() - vocabulary.keys())
    if unknown:
        raise UserError(f"{table}: {len(unknown)} tokens are not in the tokenizer, the first is {unknown[0]!r}")
    bad = [token for token, weight in weights.items() if not (np.isfinite(weight) and weight >= 0)]
    if bad:
        raise UserError(f"{table}: the weight of {bad[0]!r} is negative or not finite; an inverted index cannot use it")
    return {token: float(weights.get(token, 0.0)) for token in sorted(vocabulary, key=vocabulary.__getitem__)}


def _embedded(folder: Path, vocabulary: Mapping[str, int]) -> dict[str, Any]:
    """Token -> weight of a `SparseStaticEmbedding`."""
    from safetensors.numpy import load_file
    from transformers import AutoTokenizer

    if not (folder / FILE).is_file():
        raise UserError(f"{folder}: no {FILE}; only safetensors are read")
    weight = load_file(folder / FILE)["weight"]
    own: dict[str, int] = AutoTokenizer.from_pretrained(folder, local_files_only=True).get_vocab()
    if own != vocabulary or weight.shape != (len(own),):
        raise UserError(f"{folder}: {weight.size} weights for another vocabulary than that of the document encoder")
    return {token: float(weight[row]) for token, row in own.items()}
