"""Teachers, and how their scores are combined."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sparsemill.study.models.base import (
    LATER,
    PRECISION,
    Assumed,
    Model,
    Name,
    Normalisation,
    Positive,
    Precision,
    check_assumed,
)
from sparsemill.study.models.sources import Weights


class Bm25Teacher(Model):
    """BM25 as Lucene computes it (defaults: Anserini's, flat)."""

    kind: Literal["bm25"]
    k1: float = Field(default=0.9, ge=0, description="saturation of term frequency")
    b: float = Field(default=0.4, ge=0, le=1, description="normalisation by document length")
    analyzer: Annotated[Literal["english", "standard"], LATER] = Field(
        default="english",
        description="english: Anserini's, 33 stop words removed, stemmed by Porter; standard: OpenSearch's default, "
        "stop words kept, nothing stemmed; both take standard tokens in lower case",
    )
    fields: Annotated[Literal["flat", "multifield"], LATER] = Field(
        default="flat",
        description="flat: title and text are one field; multifield: two, whose scores are added (Anserini's names)",
    )


class DenseTeacher(Model):
    """A siamese dense encoder (sentence-transformers folder)."""

    kind: Literal["dense"]
    weights: Weights = Field(description="where its files come from")
    layers: Annotated[Positive | None, LATER] = Field(
        default=None, description="keep the first N transformer layers (null: all)"
    )
    pooling: Literal["mean", "cls"] = Field(
        default="mean", description="a text's embedding: mean of its tokens, or [CLS]"
    )
    normalize: bool = Field(default=True, description="scale embeddings to unit length")
    query_prompt: str = Field(default="", description="text put before every query")
    document_prompt: str = Field(default="", description="text put before every document")
    max_length: Positive = Field(default=256, description="tokens kept of a text")
    precision: Precision = Field(default="fp32", description=PRECISION)
    tokens_per_batch: Positive = Field(default=8192, description="padded tokens in one batch")


class SparseTeacher(Model):
    """A siamese sparse encoder: a released SPLADE, or an experiment of this study."""

    kind: Literal["sparse"]
    weights: Weights | None = Field(
        default=None,
        description="where its files come from: a masked language model, or a sentence-transformers folder with "
        "`SpladePooling`",
    )
    experiment: Name | None = Field(
        default=None,
        description="an experiment of this study, in place of `weights`: queries as in its own searches but for "
        "`retrieval_idf`, documents without `prune`",
    )
    seed: int = Field(default=0, ge=0, description="which of the experiment's models")
    representation: Literal["max", "sum"] = Field(
        default="max", description="over the tokens of a text, for `weights`; a folder's `SpladePooling` must agree"
    )
    activation: Literal["log1p_relu", "double_log"] = Field(
        default="log1p_relu",
        description="log(1 + relu), or log(1 + log(1 + relu)), for `weights`; a folder's `SpladePooling` must agree",
    )
    special_tokens: Literal["keep", "zero"] = Field(
        default="keep", description="weights of [CLS], [SEP] ..., for `weights`; most released models keep them"
    )
    max_length: Positive = Field(default=256, description="tokens kept of a text (an experiment's queries: its own)")
    precision: Precision = Field(default="fp32", description=PRECISION)
    tokens_per_batch: Positive = Field(default=8192, description="padded tokens in one batch")

    @model_validator(mode="after")
    def _one_source(self) -> "SparseTeacher":
        if (self.weights is None) == (self.experiment is None):
            raise ValueError("give either weights or experiment")
        if self.experiment is None and self.seed:
            raise ValueError("seed belongs to experiment; weights have none")
        return self


class CrossEncoderTeacher(Model):
    """A cross-encoder: sequence classification of a query and a document; scores candidates only."""

    kind: Literal["cross_encoder"]
    weights: Weights | None = Field(default=None, description="where its files come from; one label or two")
    trained: Name | None = Field(default=None, description="an entry of `cross_encoders`, in place of `weights`")
    max_length: Positive = Field(default=512, description="tokens kept of query and document together")
    precision: Precision = Field(default="fp32", description=PRECISION)
    tokens_per_batch: Positive = Field(default=8192, description="padded tokens in one batch")

    @model_validator(mode="after")
    def _one_source(self) -> "CrossEncoderTeacher":
        if (self.weights is None) == (self.trained is None):
            raise ValueError("give either weights or trained")
        return self


class MonoT5Teacher(Model):
    """monoT5: log-probability of `true` against `false` as the first word of T5's answer; scores candidates only."""

    kind: Literal["monot5"]
    weights: Weights = Field(description="where its files come from")
    true_token: str = Field(default="\u2581true", description="token that says relevant")
    false_token: str = Field(default="\u2581false", description="token that says not relevant")
    template: str = Field(
        default="Query: {query} Document: {document} Relevant:",
        description="prompt; a document that is too long is cut, what follows it is kept",
    )
    max_length: Positive = Field(default=512, description="tokens kept of the prompt")
    precision: Precision = Field(default="fp32", description=PRECISION)
    tokens_per_batch: Positive = Field(default=8192, description="padded tokens in one batch")

    @field_validator("template")
    @classmethod
    def _template_has_both(cls, template: str) -> str:
        if template.count("{query}") != 1 or template.count("{document}") != 1:
            raise ValueError("needs {query} and {document}, each once")
        if template.index("{query}") > template.index("{document}"):
            raise ValueError("{query} comes before {document}, which is cut where the prompt is too long")
        return template


class ScoresTeacher(Model):
    """Scores computed elsewhere; scores candidates only."""

    kind: Literal["scores"]
    path: str = Field(
        description="Parquet or JSONL file, or a folder of them; relative paths start at `data`",
    )
    layout: Literal["pairs", "msmarco_hard_negatives", "opensearch"] = Field(
        default="pairs",
        description="pairs: a row is query_id, doc_id, score; msmarco_hard_negatives: what `convert_scores` makes of "
        "the pickle of sentence-transformers/msmarco-hard-negatives; opensearch: a row is query, docs, scores",
    )


SIAMESE = ("bm25", "dense", "sparse")
"""Kinds of teachers that encode queries and documents apart: embeddings are cached, whole collections searched."""

Teacher = Annotated[
    Bm25Teacher | DenseTeacher | SparseTeacher | CrossEncoderTeacher | MonoT5Teacher | ScoresTeacher,
    Field(discriminator="kind"),
]


class Ensemble(Model):
    """Teachers whose normalised scores are added: S * sum_j w_j * norm(s_j) (2411.04403, Eqs. 8 and 9)."""

    teachers: list[Name] = Field(min_length=1, description="whose scores are added")
    weights: list[Annotated[float, Field(ge=0)]] | None = Field(
        default=None, description="one per teacher (null: equal, summing to 1)"
    )
    normalisation: Normalisation = Field(default="minmax", description="per query and teacher, before adding")
    scale: float = Field(default=10.0, gt=0, description="S, brings targets to the range of the student's scores")
    rescale_to: Annotated[Name | None, LATER] = Field(
        default=None,
        description="one of the teachers: each query's sum gets mean and standard deviation of its raw scores "
        "(SPLADE-v3, 2403.06789); needs `scale: 1`",
    )

    @model_validator(mode="after")
    def _one_weight_each(self) -> "Ensemble":
        if self.weights is not None and len(self.weights) != len(self.teachers):
            raise ValueError(f"{len(self.teachers)} teachers but {len(self.weights)} weights")
        if self.weights is not None and not any(self.weights):
            raise ValueError("weights are all 0; give a teacher a weight")
        return self

    @model_validator(mode="after")
    def _teachers_are_distinct(self) -> "Ensemble":
        if len(set(self.teachers)) < len(self.teachers):
            raise ValueError("a teacher is named twice; give it a weight instead")
        return self

    @model_validator(mode="after")
    def _rescaling_sets_the_scale(self) -> "Ensemble":
        if self.rescale_to is not None and self.rescale_to not in self.teachers:
            raise ValueError(f"rescale_to: {self.rescale_to} is not one of the ensemble's teachers")
        if self.rescale_to is not None and self.scale != 1:
            raise ValueError("rescale_to gives the targets that teacher's range; set scale: 1")
        return self


class CrossEncoderTraining(Model):
    """A cross-encoder that the pipeline trains, to be a teacher (`kind: cross_encoder`, `trained`)."""

    weights: Weights = Field(description="encoder to start from; its classification head starts anew")
    layers: Positive | None = Field(default=None, description="keep the first N transformer layers (null: all)")
    training_set: Name = Field(description="judged pairs and candidates that are learned from")
    loss: Literal["binary", "listwise"] = Field(
        default="binary",
        description="binary: cross-entropy of each pair's label; listwise: of the positive among its query's documents",
    )
    steps: Positive = Field(description="optimiser steps")
    queries_per_step: Positive = Field(description="queries in one batch")
    documents_per_query: Annotated[int, Field(ge=2)] = Field(description="the positive and N - 1 candidates")
    max_length: Positive = Field(default=256, description="tokens kept of query and document together")
    learning_rate: float = Field(default=2e-5, gt=0, description="peak learning rate of AdamW")
    warmup_steps: int = Field(default=0, ge=0, description="linear warm-up of the learning rate, then linear decay")
    weight_decay: float = Field(default=0.01, ge=0, description="weight decay of AdamW")
    max_grad_norm: float = Field(default=1.0, ge=0, description="gradient clipping; 0: none")
    precision: Precision = Field(default="fp32", description=PRECISION)
    checkpoint_steps: Positive = Field(
        default=1000, description="steps between checkpoints; changing it retrains nothing"
    )
    log_steps: Positive = Field(default=10, description="steps between metric records")
    seed: int = Field(default=0, ge=0, description="of data order, head and dropout")
    assumed: Assumed = {}

    @model_validator(mode="after")
    def _assumed_keys_exist(self) -> "CrossEncoderTraining":
        check_assumed(type(self), self.assumed)
        return self
