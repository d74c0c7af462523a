"""Published values: what papers print, model cards say and others measured again; and orderings that papers claim."""

from typing import Literal

from pydantic import Field, model_validator

from sparsemill.study.models.base import Measure, Model, Name, Paper, Scale

Evidence = Literal["printed", "quoted", "model card", "released code", "re-run", "recalled", "digitised"]
Tier = Literal["untrained", "released checkpoint", "retrained"]
SHOWN_ONLY = ("recalled", "digitised")
"""Evidence too weak for a check."""


class PublishedColumn(Model):
    """A column of a published table: a measure on a collection."""

    measure: Measure = Field(description="as in a table's column; names of the paper's own are shown only")
    collection: Name = Field(description="a collection or a group of collections; one that is not here is shown only")
    tolerance: float | None = Field(default=None, gt=0, description="replaces that of the table")


class PublishedCell(Model):
    """A value with something of its own to say."""

    value: float | None = Field(default=None, description="as printed; null: nothing is printed")
    evidence: Evidence | None = Field(default=None, description="replaces that of the row")
    source: str = Field(default="", description="replaces that of the row")
    tolerance: float | None = Field(default=None, gt=0, description="replaces that of the row")
    note: str = Field(default="", description="footnote, for example a misprint")


class PublishedRow(Model):
    """A row of a published table. Rows of a figure that share a label are points of one curve."""

    values: list[float | PublishedCell | None] = Field(
        description="one for each column, as printed; null: nothing is printed; a mapping: with a note of its own"
    )
    label: str = Field(default="", description="what the paper calls it (empty: the row's name)")
    system: Name | None = Field(default=None, description="system here that must reach the values (null: shown only)")
    tier: Tier | None = Field(default=None, description="replaces that of the table")
    scale: Scale | None = Field(default=None, description="replaces that of the table")
    evidence: Evidence | None = Field(default=None, description="replaces that of the table")
    source: str = Field(default="", description="replaces that of the table")
    tolerance: float | None = Field(default=None, gt=0, description="replaces that of the table")
    note: str = Field(default="", description="footnote of the row")


class Published(Model):
    """A table or figure as it was published; every value stands here once."""

    paper: Paper = Field(description="arXiv id, or what else names the publication")
    table: str = Field(description="for example `Table 3`")
    source: str = Field(description="where the values were read")
    evidence: Evidence = Field(
        description="printed: read in the paper; quoted: from the paper, by others; model card; released code: its "
        "config; re-run: measured again by others; recalled (from memory) and digitised (off a plot) values are shown "
        "and never checked"
    )
    percent: bool = Field(default=False, description="measures of rankings are printed times 100")
    scale: Scale | None = Field(default="paper", description="scale at which a check makes sense (null: at any)")
    tier: Tier | None = Field(default=None, description="what kind of check it is, where a row names a system")
    tolerance: float | None = Field(
        default=None, gt=0, description="on measures from 0 to 1: ok within it, near within three times it, else fail"
    )
    note: str = Field(default="", description="footnote of the table")
    columns: dict[Name, PublishedColumn] = Field(min_length=1, description="in the order of the rows' values")
    rows: dict[Name, PublishedRow] = Field(min_length=1, description="in the order of the paper")

    @model_validator(mode="after")
    def _rows_are_complete(self) -> "Published":
        for name, row in self.rows.items():
            if len(row.values) != len(self.columns):
                raise ValueError(f"row {name} has {len(row.values)} values for {len(self.columns)} columns")
            if row.system is not None and (row.tier or self.tier) is None:
                raise ValueError(f"row {name} names a system to check, but no tier")
            if row.system is not None and not self._tolerated(row):
                raise ValueError(f"row {name} names a system to check, but no tolerance")
        return self

    def _tolerated(self, row: PublishedRow) -> bool:
        """Whether a value of the row has a tolerance, or none of them could be checked."""
        cells = [cell if isinstance(cell, PublishedCell) else PublishedCell(value=cell) for cell in row.values]
        checkable = [
            cell.tolerance or row.tolerance or column.tolerance or self.tolerance
            for cell, column in zip(cells, self.columns.values(), strict=True)
            if cell.value is not None and (cell.evidence or row.evidence or self.evidence) not in SHOWN_ONLY
        ]
        return any(checkable) or not checkable


class Claim(Model):
    """An ordering that a paper claims, to be judged by a paired test.

    ok: the better side is significantly better; near: no significant difference; fail: significantly worse.
    """

    claim: str = Field(description="the sentence, in the field's terms")
    better: list[Name] = Field(
        min_length=1, description="the system that wins; several, or a sweep for its base and points, are a curve"
    )
    worse: list[Name] = Field(min_length=1, description="the system that loses, likewise")
    collection: Name = Field(description="where both are compared")
    measure: Measure = Field(default="nDCG@10", description="measure of the test")
    equal: str | None = Field(
        default=None, description="cost at which curves are compared, for example `FLOPS`, by interpolation along them"
    )
    alpha: float = Field(default=0.05, gt=0, lt=1, description="level of the two-sided test")
    source: str = Field(description="where it is claimed")

    @model_validator(mode="after")
    def _sides_are_curves_or_systems(self) -> "Claim":
        if self.equal is None and (len(self.better) > 1 or len(self.worse) > 1):
            raise ValueError("several systems on a side are a curve; say in `equal` at which cost curves are compared")
        return self
