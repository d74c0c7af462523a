"""Keys of a sweep's grid: those of an experiment, of its ensemble (`ensemble.KEY`) and of its pre-training."""

import re
from functools import cache
from typing import Any

from sparsemill.errors import UserError
from sparsemill.study.hints import nearest
from sparsemill.study.models import Ensemble, Experiment, Model, Pretraining, Sweep, models_in

ENSEMBLE, PRETRAINING = "ensemble.", "pretraining."
"""Start of a key of the base's ensemble, or of its pre-training."""

_INTEGER = re.compile(r"[-+]?\d+")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
WORDS = {"true": True, "false": False, "null": None}


def plain_value(value: Any) -> Any:
    """A value of a grid as what it stands for: values below `--config` and YAML 1.1's `1e-3` arrive as text."""
    if isinstance(value, list):
        return [plain_value(item) for item in value]
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return WORDS.get(value, value) if isinstance(value, str) else value


def _keys(model: type[Model], prefix: str = "") -> list[str]:
    """Dotted keys of a model, those of mappings below it included."""
    found = []
    for key, field in model.model_fields.items():
        found.append(f"{prefix}{key}")
        for inner in models_in(field.annotation):
            found += _keys(inner, f"{prefix}{key}.")
    return found


def _long(where: str, key: str, keys: list[str], section: str) -> str:
    """The key that `key` is short for: itself, or the one that ends in it."""
    if key in keys:
        return key
    found = [other for other in keys if other.endswith(f".{key}")]
    if len(found) > 1:
        raise UserError(f"config: {where}: {key} is short for {' and '.join(found)}; write one of them")
    if not found and "." not in key:
        valid = {name.rsplit(".", 1)[-1] for name in keys}
        raise UserError(f"config: {where}: no key {key!r} in {section}; {nearest(key, valid)}")
    return found[0] if found else key


def long_key(where: str, key: str) -> str:
    """The dotted key that a key of a grid stands for.

    Raises:
        UserError: no key is called so, or several are.
    """
    below = [f"{ENSEMBLE}{name}" for name in Ensemble.model_fields]
    if key.startswith(PRETRAINING):
        keys = [*_keys(Pretraining), *below]
        return PRETRAINING + _long(where, key.removeprefix(PRETRAINING), keys, "pretrainings")
    if key.startswith(ENSEMBLE) and key not in below:
        last = key.removeprefix(ENSEMBLE)
        raise UserError(f"config: {where}: no key {last!r} in ensembles; {nearest(last, Ensemble.model_fields)}")
    return _long(where, key, [*_keys(Experiment), "extends", *below], "experiments")


def grid_of(name: str, sweep: Sweep) -> tuple[dict[str, list[Any]], list[int] | None]:
    """The grid, keys in full and values as what they stand for, and the seeds of every point (None: the base's).

    A plain list of seeds is no key that is swept; a list of lists is.

    Raises:
        UserError: a key that does not exist, is short for several, or is there twice.
    """
    grid: dict[str, list[Any]] = {}
    for key, values in sweep.grid.items():
        long = long_key(f"sweeps.{name}.grid.{key}", key)
        if long in grid:
            raise UserError(f"config: sweeps.{name}.grid: {long} is there twice; keep one of them")
        grid[long] = [plain_value(value) for value in values]
    seeds = grid.get("seeds", [])
    if not seeds or any(isinstance(value, list) for value in seeds):
        return grid, None
    if len(grid) == 1:
        return {"seeds": [seeds]}, None
    return {key: values for key, values in grid.items() if key != "seeds"}, seeds


@cache
def _shared_endings() -> frozenset[str]:
    """Last parts that are keys of experiments themselves, or end several of their keys."""
    endings = [key.rsplit(".", 1)[-1] for key in _keys(Experiment)]
    return frozenset(last for last in endings if last in Experiment.model_fields or endings.count(last) > 1)


def short_keys(keys: list[str]) -> dict[str, str]:
    """Key -> its last part, or the whole where another key ends so, or has that last part among these."""
    short = {}
    for key in keys:
        start = PRETRAINING if key.startswith(PRETRAINING) else ""
        last = key.rsplit(".", 1)[-1]
        short[key] = key if last in _shared_endings() else start + last
    names = list(short.values())
    return {key: name if names.count(name) == 1 else key for key, name in short.items()}
