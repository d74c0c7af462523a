"""What the points of a sweep have in its keys, and what their base has."""

from typing import Any

from sparsemill.study.models import Model, Study
from sparsemill.study.sweep_keys import ENSEMBLE, PRETRAINING, grid_of, short_keys
from sparsemill.study.sweeps import sweep_members


def _value(study: Study, entry: Any, key: str) -> Any:
    if key.startswith(PRETRAINING):
        return _value(study, study.pretrainings.get(entry.start), key.removeprefix(PRETRAINING))
    if key.startswith(ENSEMBLE):
        return _value(study, study.ensembles.get(entry.ensemble), key.removeprefix(ENSEMBLE))
    for part in key.split("."):
        entry = entry.get(part) if isinstance(entry, dict) else getattr(entry, part, None)
    return entry.model_dump() if isinstance(entry, Model) else entry


def sweep_points(study: Study, name: str) -> dict[str, dict[str, Any]]:
    """System -> swept key (short) -> value.

    The base comes first, unless a point has all its values or it has a mapping where points have values.
    """
    grid, _ = grid_of(name, study.sweeps[name])
    short = short_keys(sorted(grid))
    base = study.sweeps[name].base
    own = {short[key]: base if key == "extends" else _value(study, study.experiments[base], key) for key in short}
    points = {
        member: {short[key]: value for key, value in settings.items()}
        for member, settings in sweep_members(name, grid).items()
    }
    alone = own not in points.values() and not any(isinstance(value, dict) for value in own.values())
    return {base: own, **points} if alone else points
