"""What is shown: tables, figures, pages, expected values, sweeps."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sparsemill.study.models.base import LATER, Measure, Model, Name, Paper, Positive, Scale
from sparsemill.study.models.published import Tier

PAIR_COUNTS = ("training tuples", "queries left")
"""Measures of training sets: what their sources hold, and the queries that filter and sampling leave."""


class Row(Model):
    """A row of a table: a system and what it is compared with, a training set, or published values alone."""

    system: Name | Literal[""] = Field(
        default="",
        description="an experiment, a released checkpoint, a teacher, or an ensemble (fusion of its teachers' runs); "
        "empty: the row is cited, nothing of it is run",
    )
    training_set: Annotated[Name | Literal[""], LATER] = Field(
        default="",
        description="instead of a system: a training set, whose pairs are counted (all, of a mixture)",
    )
    label: str = Field(default="", description="what the table calls it (empty: its name)")
    note: str = Field(default="", description="footnote of the row")
    compare: list[Name] = Field(default=[], description="systems it is tested against (paired test)")
    published: Annotated[Name | None, LATER] = Field(
        default=None, description="its row in the table's `published` (null: the one with the system's name, if any)"
    )

    @model_validator(mode="after")
    def _is_of_something(self) -> "Row":
        if self.system and self.training_set:
            raise ValueError("a row names a system or a training set, not both")
        if not self.system and self.compare:
            raise ValueError("a row without a system has nothing to compare with")
        if self.system and self.system in self.compare:
            raise ValueError(f"compare: {self.system} is the row's own system; name another one")
        if not (self.system or self.training_set or self.published):
            raise ValueError("a row names a system, a training set, or a published row")
        return self

    @property
    def name(self) -> str:
        """The system or the training set; empty for a cited row."""
        return self.system or self.training_set


class Column(Model):
    """A column of a table: a measure on a collection."""

    measure: Measure = Field(
        description="`nDCG@10`, `MRR@10`, `R@100`, `FLOPS`, `tokens/doc`, `latency/BM25`, "
        "`exact:latency/bm25@1000` (engine alone), `lucene:p99_ms@10-clients` ...; of training sets "
        "`training tuples` and `queries left`"
    )
    collection: Name = Field(description="where it is measured")
    label: str = Field(default="", description="title of the column (empty: the measure)")
    digits: int = Field(default=3, ge=0, le=6, description="decimals shown")
    cited: Annotated[bool, LATER] = Field(
        default=False, description="published values alone: nothing is measured for it, its collection need not be here"
    )


class Table(Model):
    """A table as data: rows, columns, tests."""

    caption: str = Field(description="stands above the table")
    rows: list[Row] = Field(min_length=1, description="systems, from top to bottom")
    columns: list[Column] = Field(min_length=1, description="measures on collections, from left to right")
    test_measure: Measure = Field(default="nDCG@10", description="measure of the paired tests")
    test: Literal["t-test", "permutation"] = Field(default="t-test", description="paired test over queries")
    alpha: float = Field(default=0.05, gt=0, lt=1, description="level after Holm's correction over the whole table")
    published: Annotated[list[Name], LATER] = Field(
        default=[], description="published tables whose values stand beside ours; the first that has a value counts"
    )
    paper: Annotated[Paper, LATER] = Field(default="", description="arXiv id of the paper that it belongs to")
    notes: Annotated[list[str], LATER] = Field(default=[], description="sentences below it")

    @property
    def measured_rows(self) -> list[Row]:
        """The rows that something is run for."""
        return [row for row in self.rows if row.system]

    @property
    def measured_columns(self) -> list[Column]:
        """The columns that systems are measured for."""
        return [column for column in self.columns if not (column.cited or column.measure in PAIR_COUNTS)]

    @property
    def counted_sets(self) -> list[str]:
        """The training sets whose pairs are counted for it."""
        if not any(column.measure in PAIR_COUNTS and not column.cited for column in self.columns):
            return []
        return [row.training_set for row in self.rows if row.training_set]


class Figure(Model):
    """A figure as data."""

    kind: Literal["tradeoff", "activation", "sweep"] = Field(
        description="tradeoff: effectiveness against a cost; activation: activation against penalty percentile by "
        "token; sweep: effectiveness against a swept key"
    )
    caption: str = Field(description="stands below the figure")
    collection: Name = Field(description="where its systems were measured")
    systems: list[Name] = Field(
        min_length=1,
        description="systems shown (activation: experiments, released checkpoints); a sweep stands for its base and "
        "points, and where it is not chosen there is no such figure",
    )
    x: Measure = Field(default="FLOPS", description="cost measure of a tradeoff figure")
    y: Measure = Field(default="nDCG@10", description="effectiveness measure of a tradeoff or sweep figure")
    sweep: Annotated[Name | None, LATER] = Field(default=None, description="chosen sweep that a sweep figure shows")
    key: Annotated[str, LATER] = Field(
        default="", description="swept key on the axis of a sweep figure; each value of the others is a line"
    )
    published: Annotated[list[Name], LATER] = Field(
        default=[], description="published figures or tables whose points a tradeoff figure draws below ours"
    )
    paper: Annotated[Paper, LATER] = Field(default="", description="arXiv id of the paper that it belongs to")

    @model_validator(mode="after")
    def _a_sweep_has_a_key(self) -> "Figure":
        if (self.kind == "sweep") != bool(self.sweep and self.key):
            raise ValueError("kind sweep, and no other, has `sweep` and `key`")
        return self


class Explanation(Model):
    """A page that shows how trained systems read a few test queries: tokens, top documents, expansion terms."""

    collection: Name = Field(description="whose queries and documents are shown")
    systems: list[Name] = Field(min_length=1, description="experiments or released checkpoints, side by side")
    baseline: Name | None = Field(default=None, description="system whose ranks are shown beside")
    queries: Positive = Field(default=4, description="test queries shown")
    pick: Annotated[Literal["hash", "extremes"], LATER] = Field(
        default="hash",
        description="hash: queries chosen by hash of the id; extremes: the best and the worst ones of the first "
        "system, against the second one if there is one",
    )
    measure: Annotated[Measure, LATER] = Field(
        default="nDCG@10", description="by which `pick: extremes` judges queries"
    )


class Expected(Model):
    """A value that a row must reach."""

    system: Name = Field(description="an experiment, a released checkpoint, a teacher, or an ensemble")
    collection: Name = Field(description="where it is measured")
    measure: Measure = Field(description="as in a table's column")
    value: float = Field(description="the published value")
    tolerance: float = Field(gt=0, description="ok within it, near within three times it, else fail")
    source: str = Field(description="where the value was published, for example `2411.04403, Table 2`")
    scale: Scale | None = Field(default=None, description="scale at which it is expected (null: at any)")
    tier: Annotated[Tier | Literal["expected"], LATER] = Field(
        default="expected", description="expected: a value of one's own; the others are those of `published`"
    )


class Sweep(Model):
    """A base experiment and a grid; expands to named experiments."""

    base: Name = Field(default="ours", description="experiment that the points change")
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        min_length=1,
        description="key -> values: of the experiment (`steps`, `regulariser.lambda_d`; short where nothing else is "
        "called so: `lambda_d`), of its ensemble (`ensemble.scale`) or pre-training (`pretraining.temperature`), "
        "`extends` for other bases; a plain list of `seeds` is that of every point",
    )
    collection: Name | None = Field(
        default=None, description="where it is evaluated (null: where the first table that shows the base measures)"
    )
    label: str = Field(default="", description="its name in the legends of figures (empty: its own)")
    assumed: dict[str, str] = Field(default={}, description="marks added to every point, as in `experiments`")
