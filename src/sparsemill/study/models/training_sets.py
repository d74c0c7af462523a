"""Training sets: what is mined, from where, and how it is filtered."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from sparsemill.study.models.base import LATER, Model, Name, Positive
from sparsemill.study.models.sources import (
    PairDocument,
    PairFormat,
    PairLines,
    PairOrigin,
    PairPath,
    PairQuery,
    PairTitle,
)


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
        description="who finds the candidates: a teacher of kind bm25, dense or sparse, a released checkpoint, an "
        "experiment (its model of seed 0), or, alone, a teacher of kind scores: what its file scores, best first; "
        "positives without a score are left out",
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
    """Several training sets: each step draws one of them and takes all its queries there (2411.04403, Table 1)."""

    kind: Literal["mixture"]
    sets: dict[Name, Annotated[float, Field(gt=0)]] = Field(
        min_length=1, description="training set of another kind -> how often it is drawn, beside the others"
    )


def _judged_by_default(entry: Any) -> Any:
    return {"kind": "judged", **entry} if isinstance(entry, dict) else entry


AnyTrainingSet = Annotated[
    TrainingSet | PairSet | MixtureSet, Field(discriminator="kind"), BeforeValidator(_judged_by_default)
]
