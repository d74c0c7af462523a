"""Names in claims and published rows: a misspelt one would wait for ever for what shows it."""

from collections.abc import Iterator, Mapping

from sparsemill.errors import UserError
from sparsemill.study.hints import nearest
from sparsemill.study.measures import COSTS, check_evaluated, check_ranking
from sparsemill.study.models import Study
from sparsemill.study.sweeps import MEMBER
from sparsemill.study.timings import FORMS, parse_timing
from sparsemill.study.verdicts import due_claims

SYSTEMS = ("experiments", "released", "teachers", "ensembles")
Names = Mapping[str, set[str]]
"""Section -> names of its entries, at any scale, in this config or in any preset."""


def _names_used(study: Study, names: Names) -> Iterator[tuple[str, str, set[str], str]]:
    """Where it stands, the name used, the names there are, what it should name."""
    systems = {name for section in SYSTEMS for name in names[section]} | study.experiments.keys()
    sweeps, places = names["sweeps"], names["collections"] | names["groups"]
    for name, claim in study.claims.items():
        for side, used in (("better", claim.better), ("worse", claim.worse)):
            for system in used:
                # Points of a sweep that is not chosen have no entries.
                if system.partition(MEMBER)[0] not in sweeps:
                    yield f"claims.{name}.{side}", system, systems | sweeps, "system or sweep"
        yield f"claims.{name}.collection", claim.collection, places, "collection or group"
    for name, published in study.published.items():
        for row, line in published.rows.items():
            if line.system is not None:
                yield f"published.{name}.rows.{row}.system", line.system, systems, "system"


def check_judged(study: Study, names: Names) -> None:
    """Raise a UserError for the first claim or published row that no preset and no scale could answer.

    What is not loaded, or not of this scale, may be named: nothing is judged then.
    """
    for where, name, valid, kind in _names_used(study, names):
        if name not in valid:
            raise UserError(f"config: {where}: no {kind} {name!r}; {nearest(name, valid)}")
    due = due_claims(study)
    for name, claim in study.claims.items():
        check_ranking(f"claims.{name}.measure", claim.measure)
        if name in due:
            check_evaluated(f"claims.{name}.measure", claim.measure, study)
        if claim.equal is not None and claim.equal not in COSTS and parse_timing(claim.equal) is None:
            raise UserError(
                f"config: claims.{name}.equal: no cost {claim.equal!r}; {nearest(claim.equal, COSTS)} "
                f"(costs: {', '.join(COSTS)}; times: {FORMS})"
            )
