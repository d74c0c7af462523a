"""Sweeps: a base experiment and a grid, expanded to experiments, a table and a figure."""

import itertools
import re
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from sparsemill.errors import UserError
from sparsemill.study.explain import explain
from sparsemill.study.hints import nearest
from sparsemill.study.models import Experiment, Figure, Study, Sweep

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_WORDS = {"true": True, "false": False, "null": None}


def plain_value(value: Any) -> Any:
    """A value of a grid as what it stands for: values below `--config` and YAML 1.1's `1e-3` arrive as text."""
    if isinstance(value, list):
        return [plain_value(item) for item in value]
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return _WORDS.get(value, value) if isinstance(value, str) else value


def _label(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(map(_label, value))
    for word, meaning in _WORDS.items():
        if value is meaning:
            return word
    return str(value).replace("+", "")  # 1e+20


def _point(keys: list[str], values: tuple[Any, ...]) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for key, value in zip(keys, values, strict=True):
        *parents, last = key.split(".")
        level = overrides
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = value
    return overrides


def _short(key: str) -> str:
    """The last part of a dotted key, unless a key of experiments is called so too."""
    last = key.rsplit(".", 1)[-1]
    return key if last in Experiment.model_fields else last


def sweep_members(name: str, grid: dict[str, list[Any]]) -> dict[str, dict[str, Any]]:
    """Named points of a sweep's grid.

    Args:
        name: the sweep's name.
        grid: dotted experiment key -> values; the order of its keys means nothing.

    Returns:
        `<sweep>--<last part of key>-<value>--...` -> nested overrides, in the order of the values.

    Raises:
        UserError: a value is a mapping or there twice, or a key stands above another one.
    """
    keys = sorted(grid)
    for key in keys:
        if any(other.startswith(f"{key}.") for other in keys):
            raise UserError(f"config: sweeps.{name}.grid.{key}: the grid has keys below it too; keep one of them")
        if any(isinstance(value, dict) for value in grid[key]):
            raise UserError(
                f"config: sweeps.{name}.grid.{key}: a value is a mapping; give each key below it its own list"
            )
    members: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*([plain_value(value) for value in grid[key]] for key in keys)):
        member = "--".join([name, *(f"{_short(key)}-{_label(value)}" for key, value in zip(keys, values, strict=True))])
        if member in members:
            raise UserError(f"config: sweeps.{name}.grid: the point {member} is there twice")
        members[member] = _point(keys, values)
    return members


def _table(name: str, sweep: Sweep, members: list[str], measures: list[str]) -> dict[str, Any]:
    labels = {member: member.removeprefix(f"{name}--").replace("--", ", ") for member in members}
    rows = [{"system": member, "label": label, "compare": [sweep.base]} for member, label in labels.items()]
    return {
        "caption": f"Sweep {name}: one row per point of the grid, against {sweep.base}.",
        "rows": [{"system": sweep.base}, *rows],
        "columns": [
            {"measure": measure, "collection": sweep.collection} for measure in (*measures, "FLOPS", "tokens/doc")
        ],
        "test_measure": measures[0],
    }


def _figure(name: str, sweep: Sweep, members: list[str], measures: list[str]) -> dict[str, Any]:
    return {
        "kind": "tradeoff",
        "caption": f"Sweep {name}: effectiveness against FLOPS.",
        "collection": sweep.collection,
        "systems": [sweep.base, *members],
        "y": measures[0],
    }


def _chosen(merged: dict[str, Any]) -> dict[str, Sweep]:
    chosen, sweeps = merged.get("sweep", []), merged.get("sweeps", {})
    if isinstance(chosen, dict):  # written on the command line, and called by the name of its base
        name = str(chosen.get("base", "sweep"))
        chosen, sweeps = [name], {name: chosen}
    if not isinstance(chosen, list):
        raise UserError(f"config: sweep: expected a list of names or {{base, grid, collection}}, got {chosen!r}")
    found = {}
    for name in map(str, chosen):
        if name not in sweeps:
            raise UserError(f"config: sweep: no sweep {name!r}; {nearest(name, sweeps)}")
        try:
            found[name] = Sweep.model_validate(sweeps[name])
        except ValidationError as error:
            raise UserError(explain(error, below=("sweeps", name))) from None
    return found


def expand_sweeps(merged: dict[str, Any]) -> dict[str, Any]:
    """What the chosen sweeps stand for: their names (`sweep`), experiments, and a table and a figure for each.

    Args:
        merged: the whole config, `extends` and `scales` resolved in its sweeps alone; `sweep` holds names, or one
            sweep as a mapping.

    Raises:
        UserError: no such sweep or base experiment, or a grid that makes no sense.
    """
    known = merged.get("experiments", {})
    measures = merged.get("measures")
    shown = measures[:3] if isinstance(measures, list) and measures else Study().measures[:3]
    chosen = _chosen(merged)
    added: dict[str, Any] = {"sweep": list(chosen), "experiments": {}, "tables": {}, "figures": {}}
    for name, sweep in chosen.items():
        if sweep.base not in known:
            raise UserError(f"config: sweeps.{name}.base: no experiment {sweep.base!r}; {nearest(sweep.base, known)}")
        members = sweep_members(name, sweep.grid)
        for member, overrides in members.items():
            added["experiments"][member] = {"extends": sweep.base, **overrides, "assumed": sweep.assumed}
        added["tables"][f"sweep-{name}"] = _table(name, sweep, list(members), shown)
        added["figures"][f"sweep-{name}"] = _figure(name, sweep, list(members), shown)
    return added


def written_out(study: Study, names: Iterable[str]) -> list[str]:
    """Names of systems; a chosen sweep stands for its base and its points, one that is not chosen for nothing."""
    found: dict[str, None] = {}
    for name in names:
        if name not in study.sweeps:
            found[name] = None
        elif name in study.sweep:
            points = [system for system in study.experiments if system.startswith(f"{name}--")]
            found |= dict.fromkeys([study.sweeps[name].base, *points])
    return list(found)


def sweep_figures(study: Study) -> dict[str, Figure]:
    """The figures with the sweeps among their systems written out; one of sweeps that are not chosen is left out."""
    shown = {name: written_out(study, figure.systems) for name, figure in study.figures.items()}
    return {
        name: figure.model_copy(update={"systems": shown[name]})
        for name, figure in study.figures.items()
        if shown[name] and not any(system in study.sweeps and system not in study.sweep for system in figure.systems)
    }
