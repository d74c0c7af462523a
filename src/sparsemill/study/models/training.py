"""Pre-training and fine-tuning."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from sparsemill.study.models.base import LATER, PRECISION, Assumed, Model, Name, Positive, Schedule, check_assumed
from sparsemill.study.models.engines import TwoPhaseSearch


class Regulariser(Model):
    """The penalty on documents: FLOPS (2411.04403, Eq. 3) or L1."""

    kind: Annotated[Literal["flops", "l1"], LATER] = Field(
        default="flops",
        description="flops: sum over the vocabulary of the squared mean activation; l1: mean sum of activations",
    )
    lambda_d: float = Field(default=1e-3, ge=0, description="weight of the penalty after its warm-up")
    warmup_steps: int = Field(default=0, ge=0, description="steps T of the ramp lambda * (min(t, T) / T)^2; 0: none")
    schedule: Schedule = Field(default="quadratic", description="shape of the ramp; linear: lambda * min(t, T) / T")
    reduction: Literal["concatenation", "mean_of_slots", "sum_of_slots"] = Field(
        default="concatenation",
        description="FLOPS over all documents of the batch, or per document slot: averaged (naver), added (OpenSearch)",
    )
    weighting: Literal["none", "inverse_idf"] = Field(
        default="none",
        description="inverse_idf: activations are divided by idf inside the penalty (2411.04403v1)",
    )
    mask_below: Annotated[Positive | None, LATER] = Field(
        default=None,
        description="l0 mask: documents with at most N active tokens cost nothing (2504.14839; null: every one costs)",
    )

    @model_validator(mode="after")
    def _l1_is_plain(self) -> "Regulariser":
        if self.kind == "l1" and (self.reduction, self.weighting) != ("concatenation", "none"):
            raise ValueError("reduction and weighting belong to kind flops; remove them or the kind l1")
        return self


class QueryRegulariser(Model):
    """The penalty on the queries of a siamese model (2107.05720; L1 in 2207.03834 and SPLADE-v3)."""

    kind: Literal["flops", "l1"] = Field(default="flops", description="as for documents")
    lambda_q: float = Field(default=1e-3, ge=0, description="weight of the penalty after its warm-up")
    warmup_steps: int = Field(default=0, ge=0, description="steps T of the ramp; 0: none")
    schedule: Schedule = Field(default="quadratic", description="shape of the ramp")


FIXED_QUERY_SIDES = frozenset({"binary", "idf", "learned"})
"""Query sides that look weights up, so that there is nothing to make sparse."""


IN_BATCH = ["none", "documents", "positives", "negatives", False, True]
"""What `in_batch` may be written as; the booleans stand for none and documents."""
InBatch = Annotated[Literal["none", "documents", "positives", "negatives"], WithJsonSchema({"enum": IN_BATCH})]


class Training(Model):
    """What pre-training and fine-tuning share."""

    training_set: Name = Field(description="queries and candidates that are learned from")
    ensemble: Name | None = Field(description="teachers whose scores are the targets (null: no distillation)")
    query_side: Literal["binary", "idf", "learned", "lexical", "splade"] = Field(
        description="weight of a query token: 1, its IDF, or learned (a table that starts from the IDF if `idf` is "
        "given, else from the weights of the pre-training that it starts from, else from 1); lexical: an encoder's, "
        "on the query's own tokens; splade: an encoder's, on all tokens"
    )
    idf: Name | None = Field(
        default=None, description="IDF table of the query side and of the inverse-IDF penalty (null: neither needs one)"
    )
    retrieval_idf: Name | dict[Name, Name] | None = Field(
        default=None,
        description="IDF table at search time: one, or by the collection that is searched (null: the one of training)",
    )
    query_learning_rate: Annotated[float, LATER] = Field(
        default=1e-3, gt=0, description="peak learning rate of a learned query table, which has no weight decay"
    )
    query_encoder: Annotated[Literal["shared", "separate"], LATER] = Field(
        default="shared",
        description="lexical, splade: queries are encoded by the document encoder, or by one of their own",
    )
    query_backbone: Annotated[Name | None, LATER] = Field(
        default=None, description="backbone of a separate query encoder (null: starts as the document encoder does)"
    )
    representation: Annotated[Literal["max", "sum"], LATER] = Field(
        default="max", description="of a text's tokens: SPLADE-max, or SPLADE-sum (2107.05720)"
    )
    activation: Annotated[Literal["log1p_relu", "double_log"], LATER] = Field(
        default="log1p_relu", description="of a logit x: log(1 + relu(x)), or log(1 + log(1 + relu(x))) (2504.14839)"
    )
    steps: Positive = Field(description="optimiser steps")
    queries_per_step: Positive = Field(description="queries in one batch, over all devices")
    documents_per_query: Positive = Field(description="the positive and N - 1 candidates")
    in_batch: InBatch = Field(
        default="none",
        description="whom a query is scored against besides its own documents. documents (or true): every document of "
        "the batch, in all losses; positives, negatives: those of the other queries, in InfoNCE only (2107.05720; "
        "SPLADE-v3's code); none (or false): nobody",
    )
    query_length: Positive = Field(default=64, description="tokens kept of a query")
    document_length: Positive = Field(default=256, description="tokens kept of a document")
    learning_rate: float = Field(default=2e-5, gt=0, description="peak learning rate of AdamW")
    warmup_steps: int = Field(default=0, ge=0, description="linear warm-up of the learning rate, then linear decay")
    weight_decay: float = Field(default=0.01, ge=0, description="weight decay of AdamW")
    max_grad_norm: float = Field(default=0.0, ge=0, description="gradient clipping; 0: none")
    kl_weight: float = Field(default=1.0, ge=0, description="weight of KL(teacher || student) over each query's row")
    infonce_weight: float = Field(default=0.0, ge=0, description="weight of InfoNCE over each query's row")
    margin_mse_weight: Annotated[float, LATER] = Field(
        default=0.0, ge=0, description="weight of MarginMSE over each query's row"
    )
    margin_mse: Annotated[Literal["lists", "pairs"], LATER] = Field(
        default="lists",
        description="margins compared: of all n^2 pairs of a row (SPLADE-v3), or of the positive over each other one",
    )
    anti_zero_weight: Annotated[float, LATER] = Field(
        default=0.0, ge=0, description="weight of 1 / (sum of query weights)^2 + 1 / (sum of document weights)^2"
    )
    temperature: float = Field(default=1.0, gt=0, description="divides the student's scores in KL and InfoNCE")
    teacher_temperature: Annotated[float, LATER] = Field(
        default=1.0, gt=0, description="divides the targets in KL; the loss is not multiplied by its square"
    )
    regulariser: Regulariser = Field(default=Regulariser(), description="the penalty on documents")
    query_regulariser: Annotated[QueryRegulariser | None, LATER] = Field(
        default=None, description="the penalty on queries, where they are encoded"
    )
    gather: Annotated[bool, LATER] = Field(
        default=True,
        description="several devices: in-batch documents are those of all devices, so that their number changes "
        "nothing; false: only those of the query's own device",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="fp32", description=f"{PRECISION}; fp16 (GPU only) scales the loss"
    )
    accumulation: Annotated[Positive, LATER] = Field(
        default=1,
        description="micro-batches that a step is split into; only for losses that are means over queries, without "
        "statistics of the batch",
    )
    grad_cache: Annotated[Positive | None, LATER] = Field(
        default=None,
        description="documents encoded at a time, in the memory of as many; the step stays whole, for every loss "
        "(null: all at once)",
    )
    gradient_checkpointing: Annotated[bool, LATER] = Field(
        default=False, description="compute activations again in the backward pass instead of keeping them"
    )
    compile: Annotated[bool, LATER] = Field(default=False, description="compile the encoder with torch.compile")
    checkpoint_steps: Positive = Field(
        default=1000, description="steps between checkpoints; changing it retrains nothing"
    )
    log_steps: Positive = Field(default=10, description="steps between metric records")
    assumed: Assumed = {}

    @model_validator(mode="after")
    def _assumed_keys_exist(self) -> "Training":
        check_assumed(type(self), self.assumed)
        return self

    @model_validator(mode="before")
    @classmethod
    def _in_batch_was_a_boolean(cls, values: Any) -> Any:
        words = {"false": "none", "true": "documents"}
        given = str(values.get("in_batch")).lower() if isinstance(values, dict) else ""
        return values | {"in_batch": words[given]} if given in words else values

    @model_validator(mode="after")
    def _accumulation_is_exact(self) -> "Training":
        if self.accumulation == 1:
            return self
        if self.grad_cache is not None:
            raise ValueError("accumulation and grad_cache both bound memory; remove accumulation")
        statistics = [name for name, used in self._statistics_of_the_batch().items() if used]
        if statistics:
            raise ValueError(
                f"accumulation: {statistics[0]} is a statistic of the whole batch, which micro-batches would change; "
                "use grad_cache instead"
            )
        return self

    def _statistics_of_the_batch(self) -> dict[str, bool]:
        queries = self.query_regulariser
        return {
            f"in_batch: {self.in_batch}": self.in_batch != "none",
            "anti_zero_weight": self.anti_zero_weight > 0,
            "regulariser.kind: flops": self.regulariser.kind == "flops" and self.regulariser.lambda_d > 0,
            "query_regulariser.kind: flops": queries is not None and queries.kind == "flops" and queries.lambda_q > 0,
        }

    @model_validator(mode="after")
    def _there_is_a_loss(self) -> "Training":
        if self.kl_weight == 0 and self.infonce_weight == 0 and self.margin_mse_weight == 0:
            raise ValueError("kl_weight, infonce_weight and margin_mse_weight are all 0: nothing would be learned")
        return self

    @model_validator(mode="after")
    def _losses_have_what_they_need(self) -> "Training":
        distilled = [key for key in ("kl_weight", "margin_mse_weight") if getattr(self, key)]
        if self.ensemble is None and distilled:
            raise ValueError(f"ensemble is null, but {distilled[0]} is not 0; name an ensemble, or set the weight to 0")
        if self.in_batch in ("positives", "negatives") and self.infonce_weight == 0:
            raise ValueError(f"in_batch: {self.in_batch} acts on InfoNCE alone, but infonce_weight is 0; raise it")
        if self.query_regulariser is not None and not self.siamese:
            raise ValueError(f"query_regulariser: queries of query_side {self.query_side} are not encoded; remove it")
        return self

    @property
    def siamese(self) -> bool:
        """Whether queries go through an encoder."""
        return self.query_side not in FIXED_QUERY_SIDES

    @model_validator(mode="after")
    def _query_side_is_complete(self) -> "Training":
        needed = {"query_side: idf": self.query_side == "idf", "inverse_idf": self.regulariser.weighting != "none"}
        if self.idf is None and any(needed.values()):
            raise ValueError(f"{next(key for key, wanted in needed.items() if wanted)} needs an IDF table: set `idf`")
        if self.query_side != "learned" and self.query_learning_rate != 1e-3:
            raise ValueError("query_learning_rate is that of `query_side: learned`; this query side is not trained so")
        if self.query_encoder == "separate" and not self.siamese:
            raise ValueError(f"query_encoder: separate needs `query_side: lexical` or `splade`, not {self.query_side}")
        if self.query_backbone is not None and self.query_encoder == "shared":
            raise ValueError("query_backbone needs `query_encoder: separate`")
        if self.retrieval_idf is not None and self.query_side not in ("binary", "idf"):
            raise ValueError(f"retrieval_idf replaces the weights of a binary or idf query side, not {self.query_side}")
        return self


class Pruning(Model):
    """Weights that a vector loses."""

    max_ratio: float | None = Field(
        default=None, gt=0, lt=1, description="drop weights below this share of the vector's largest (null: none)"
    )
    top_k: Positive | None = Field(default=None, description="keep the N largest weights (null: all)")


class Pretraining(Training):
    """Pre-training from a backbone; normalisation rows are built while training, from cached embeddings."""

    backbone: Name = Field(description="backbone to start from")


class Experiment(Training):
    """Fine-tuning: one retriever, one row of a table."""

    start: Name = Field(description="a backbone or a pre-training")
    model: Annotated[Name | None, LATER] = Field(
        default=None,
        description="experiment whose trained model this one takes, so that only encoding and search can differ "
        "(null: it trains its own)",
    )
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1, description="one model per seed")
    encode_length: Positive = Field(default=512, description="tokens kept of a document when the corpus is encoded")
    quantisation: int = Field(
        default=100, gt=0, le=100_000, description="impacts are round(weight * N) in the Lucene index"
    )
    postings: Annotated[Literal["float32", "blocked"], LATER] = Field(
        default="float32",
        description="form of the exact index: weights as they are, 6 bytes a posting; or in 8 bits, 3 bytes a posting",
    )
    prune: Annotated[Pruning, LATER] = Field(default=Pruning(), description="weights that encoded documents lose")
    query_prune: Annotated[Pruning, LATER] = Field(
        default=Pruning(), description="weights that encoded queries lose (query_side: lexical, splade)"
    )
    two_phase: Annotated[TwoPhaseSearch | None, LATER] = Field(
        default=None, description="search in two phases, in Lucene whatever the study's engine (null: in one)"
    )

    @field_validator("seeds")
    @classmethod
    def _seeds_are_distinct(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("a seed is named twice")
        return seeds

    @model_validator(mode="after")
    def _only_encoded_queries_are_pruned(self) -> "Experiment":
        if self.query_prune != Pruning() and not self.siamese:
            raise ValueError(f"query_prune: queries of query_side {self.query_side} are not encoded; remove it")
        return self
