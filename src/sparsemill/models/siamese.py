"""Retrievers whose queries go through an encoder: SPLADE (full expansion) and SPLADE-lexical (own tokens only).

The saved folder holds modules of sentence-transformers alone, so that `SparseEncoder(path)` opens it without
`trust_remote_code`: a lexical query is a `SpladePooling` followed by a `SparseStaticEmbedding` of ones, which
multiplies the encoder's vector with the presence of each token in the query.
"""

from pathlib import Path
from typing import Any

from sentence_transformers.sparse_encoder import SparseEncoder
from sentence_transformers.sparse_encoder.modules import Router, SparseStaticEmbedding
from transformers import AutoTokenizer

from sparsemill.errors import UserError
from sparsemill.models.encoder import check_length, query_weights, text_modules, weight_vector


def build_siamese(
    folder: Path,
    query_folder: Path | None,
    *,
    lexical: bool,
    query_length: int,
    document_length: int,
    **options: Any,
) -> SparseEncoder:
    """Build a retriever with an encoder on both sides.

    Args:
        folder: masked language model that documents start from.
        query_folder: masked language model of a separate query encoder, or None: both sides are one and the same.
        lexical: a query keeps the weights of its own tokens only (SPLADE-lexical); special tokens are none of them.
        query_length: tokens kept of a query, special tokens included.
        document_length: tokens kept of a document, special tokens included.
        options: `representation`, `activation`, `special_tokens` and `trust_remote_code`, see `text_modules`.

    Raises:
        UserError: as `text_modules`, or the two models have different vocabularies.
    """
    documents = list(text_modules(folder, length=document_length, **options))
    queries = list(documents)
    if query_folder is not None:
        queries = list(text_modules(query_folder, length=query_length, key="query_length", **options))
        if queries[0].tokenizer.get_vocab() != documents[0].tokenizer.get_vocab():
            raise UserError(f"{query_folder}: another vocabulary than {folder}; both encoders must have the same")
    check_length(queries[0].auto_model.config, query_length, key="query_length")
    queries[0].query_length = query_length  # which the transformer applies to queries, also where it is shared
    if lexical:
        tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=query_length)
        present = query_weights(folder, None, special_tokens=options.get("special_tokens", "zero"))
        presence = weight_vector(present, tokenizer)
        queries.append(SparseStaticEmbedding(tokenizer=tokenizer, weight=presence, frozen=True))
    # Documents first: shared modules are saved under the name of the first route.
    router = Router(sub_modules={"document": documents, "query": queries}, default_route="document")
    return SparseEncoder(modules=[router], similarity_fn_name="dot", device="cpu")
