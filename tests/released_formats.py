"""Small models saved in the formats that released checkpoints have on the hub."""

import shutil
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.sparse_encoder import SparseEncoder
from sentence_transformers.sparse_encoder.modules import Router, SparseStaticEmbedding, SpladePooling, Transformer
from tiny import TOKENS, idf_table, tokenizer

from sparsemill.files import write_json

OLD = "sentence_transformers.sparse_encoder.models."
"""Where modules lived when the OpenSearch models got their sentence-transformers files."""


def modules(folder: Path, activation: str = "relu", pooling: str = "max") -> list[Any]:
    transformer = Transformer(str(folder), transformer_task="fill-mask", max_seq_length=32)
    return [transformer, SpladePooling(pooling_strategy=pooling, activation_function=activation)]


def static(folder: Path) -> SparseStaticEmbedding:
    weights = torch.tensor([idf_table()[token] for token in TOKENS])
    return SparseStaticEmbedding(tokenizer=tokenizer(), weight=weights, frozen=True)


def save_router(model: Path, folder: Path, activation: str = "relu") -> Path:
    """As sentence-transformers saves an inference-free retriever today."""
    router = Router.for_query_document(query_modules=[static(model)], document_modules=modules(model, activation))
    SparseEncoder(modules=[router], similarity_fn_name="dot", device="cpu").save_pretrained(
        str(folder), create_model_card=False
    )
    return folder


def save_opensearch(model: Path, folder: Path, transformer: str = "") -> Path:
    """As the OpenSearch repositories are: plain files and `idf.json`, the old Router's beside them."""
    save_router(model, folder / "new", "log1p_relu")
    for name in ("query_0_SparseStaticEmbedding", "document_1_SpladePooling", "config_sentence_transformers.json"):
        shutil.move(folder / "new" / name, folder / name)
    shutil.rmtree(folder / "new")
    shutil.copytree(model, folder / transformer, dirs_exist_ok=True)
    write_json(folder / "idf.json", idf_table())
    static = "query_0_SparseStaticEmbedding"
    pooling = "document_1_SpladePooling"
    kinds = {
        static: f"{OLD}SparseStaticEmbedding.SparseStaticEmbedding",
        transformer: f"{OLD}MLMTransformer.MLMTransformer",
        pooling: f"{OLD}SpladePooling.SpladePooling",
    }
    write_json(
        folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Router"}]
    )
    structure = {"query": [static], "document": [transformer, pooling]}
    parameters = {"default_route": "document", "allow_empty_key": True}
    write_json(folder / "router_config.json", {"types": kinds, "structure": structure, "parameters": parameters})
    config = {"pooling_strategy": "max", "activation_function": "log1p_relu", "word_embedding_dimension": None}
    write_json(folder / pooling / "config.json", config)
    return folder
