"""What a study is judged by: the published values and the claims that what it shows can answer."""

from sparsemill.evaluation.measures import is_ranking_measure
from sparsemill.study.groups import members
from sparsemill.study.measures import LATENCY, SPARSITY, uses
from sparsemill.study.models import Claim, Study
from sparsemill.study.published import Value, checked_values
from sparsemill.study.specs import system_kind
from sparsemill.study.sweeps import written_out

Shown = set[tuple[str, str]]
"""(system, collection) of all that a table, figure or expected value shows; a verdict runs nothing of its own."""


def _shown(study: Study) -> Shown:
    return {
        (system, member)
        for use in uses(study)
        for system in use.systems
        for collection in use.collections
        for member in members(study, collection)
    }


def _measured(study: Study, shown: Shown, system: str, collection: str) -> bool:
    known = collection in study.collections or collection in study.groups
    return known and all((system, member) in shown for member in members(study, collection))


def _shown_costs(study: Study) -> set[tuple[str, str, str]]:
    """(system, collection, measure) of all that is shown; the measures of latency are measured together."""
    return {
        (system, member, LATENCY[0] if use.measure in LATENCY else use.measure)
        for use in uses(study)
        for system in use.systems
        for collection in use.collections
        for member in members(study, collection)
    }


def _has_measure(study: Study, costs: set[tuple[str, str, str]], system: str, collection: str, measure: str) -> bool:
    """Whether the measure of a system that is shown is there: every ranking's is, of costs only some."""
    if is_ranking_measure(measure):
        return True
    kind = system_kind(study, system)
    if measure in SPARSITY:
        return kind in ("experiment", "released", "bm25", "sparse")
    name = LATENCY[0] if measure in LATENCY else measure
    indexed = kind in ("experiment", "released", "bm25")
    return indexed and all((system, member, name) in costs for member in members(study, collection))


def due_values(study: Study) -> list[Value]:
    """The published values that what a study shows must reach, of what is measured for it."""
    shown, costs = _shown(study), _shown_costs(study)
    return [
        value
        for value in checked_values(study)
        if value.system is not None
        and _measured(study, shown, value.system, value.collection)
        and _has_measure(study, costs, value.system, value.collection, value.measure)
    ]


def due_claims(study: Study) -> dict[str, Claim]:
    """The claims that what a study shows can answer, their sweeps written out as systems."""
    shown = _shown(study)
    found = {}
    for name, claim in study.claims.items():
        better, worse = (written_out(study, names) for names in (claim.better, claim.worse))
        if better and worse and all(_measured(study, shown, one, claim.collection) for one in (*better, *worse)):
            found[name] = claim.model_copy(update={"better": better, "worse": worse})
    return found


def claim_evaluations(study: Study) -> dict[str, list[str]]:
    """The systems of all due claims -> the collections on which they are compared."""
    found: dict[str, dict[str, None]] = {}
    for claim in due_claims(study).values():
        for system in (*claim.better, *claim.worse):
            found.setdefault(system, {}).update(dict.fromkeys(members(study, claim.collection)))
    return {system: list(collections) for system, collections in found.items()}
