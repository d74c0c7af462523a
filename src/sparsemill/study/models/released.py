"""Released checkpoints: sparse retrievers that others have trained."""

from typing import Literal

from pydantic import Field, model_validator

from sparsemill.study.models.base import Model, Positive
from sparsemill.study.models.sources import Weights
from sparsemill.study.models.training import Pruning


class Released(Model):
    """A released checkpoint as a system: encoded, indexed, searched and measured as an experiment's model is.

    Its repository is read as it is: a masked language model, with or without `idf.json`, or a sentence-transformers
    folder with `SpladePooling`, with or without a `Router` to a `SparseStaticEmbedding` for queries.
    """

    weights: Weights = Field(description="where its files come from; safetensors only")
    query_side: Literal["splade", "lexical", "binary", "table"] = Field(
        description="splade: queries are encoded as documents are; lexical: so, on the query's own tokens; binary: 1 "
        "for each of its tokens; table: weights that the repository brings, its `SparseStaticEmbedding` or `idf.json`"
    )
    representation: Literal["max", "sum"] = Field(
        default="max", description="over the tokens of a text; a folder's `SpladePooling` must agree"
    )
    activation: Literal["log1p_relu", "double_log"] = Field(
        default="log1p_relu",
        description="log(1 + relu), or log(1 + log(1 + relu)) (OpenSearch v3); a folder's `SpladePooling` must agree",
    )
    special_tokens: Literal["keep", "zero"] = Field(
        default="keep",
        description="weights of [CLS], [UNK] ... on both sides: keep, as SPLADE does, but for [PAD], [CLS] and [SEP] "
        "of binary and lexical queries; zero, as OpenSearch does",
    )
    query_length: Positive = Field(
        default=256, description="tokens kept of a query, with special tokens where the query is encoded"
    )
    encode_length: Positive = Field(default=256, description="tokens kept of a document, special tokens included")
    quantisation: int = Field(
        default=100, gt=0, le=100_000, description="impacts are round(weight * N) in the Lucene index"
    )
    prune: Pruning = Field(default=Pruning(), description="weights that encoded documents lose")
    query_prune: Pruning = Field(
        default=Pruning(), description="weights that encoded queries lose (query_side: lexical, splade)"
    )

    @property
    def siamese(self) -> bool:
        """Whether queries go through an encoder."""
        return self.query_side in ("splade", "lexical")

    @model_validator(mode="after")
    def _only_encoded_queries_are_pruned(self) -> "Released":
        if self.query_prune != Pruning() and not self.siamese:
            raise ValueError(f"query_prune: queries of query_side {self.query_side} are not encoded; remove it")
        return self
