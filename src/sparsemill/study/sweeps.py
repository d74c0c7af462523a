"""Sweeps: a base experiment and a grid, expanded to experiments, a table and a figure."""

import itertools
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from sparsemill.errors import UserError
from sparsemill.study.derived import Deriver, Resolve, Settings, check_length, labels, share_models
from sparsemill.study.explain import explain
from sparsemill.study.hints import listed, nearest
from sparsemill.study.models import Figure, Study, Sweep
from sparsemill.study.sweep_keys import ENSEMBLE, grid_of, plain_value, short_keys

MEMBER = "--"  # points are named SWEEP--KEY-VALUE--KEY-VALUE
SWEEP_KEYS = frozenset({"base", "collection", "label", "assumed"})
"""Keys of a sweep besides its grid."""


def sweep_members(name: str, grid: dict[str, list[Any]]) -> dict[str, Settings]:
    """Named points of a sweep's grid.

    Args:
        name: the sweep's name.
        grid: dotted key in full -> values; the order of its keys means nothing.

    Returns:
        `<sweep>--<last part of key>-<value>--...` -> value of each key, in the order of the values.

    Raises:
        UserError: a value is a mapping or there twice, or a key stands above another one.
    """
    keys = sorted(grid)
    for key in keys:
        # Not so for `ensemble`: points derive their ensembles from what it names.
        if any(other.startswith(f"{key}.") for other in keys) and f"{key}." != ENSEMBLE:
            raise UserError(f"config: sweeps.{name}.grid.{key}: the grid has keys below it too; keep one of them")
        if any(isinstance(value, dict) for value in grid[key]):
            raise UserError(
                f"config: sweeps.{name}.grid.{key}: a value is a mapping; give each key below it its own list"
            )
    members: dict[str, Settings] = {}
    for values in itertools.product(*([plain_value(value) for value in grid[key]] for key in keys)):
        settings = dict(zip(keys, values, strict=True))
        member = MEMBER.join([name, *labels(settings)])
        if member in members:
            alike = f"two points would be called {member}; rename what their lists name"
            twice = f"the point {member} is there twice"
            raise UserError(f"config: sweeps.{name}.grid: {twice if members[member] == settings else alike}")
        members[member] = settings
    return members


def _table(name: str, sweep: Sweep, members: list[str], measures: list[str]) -> dict[str, Any]:
    texts = {member: member.removeprefix(f"{name}{MEMBER}").replace(MEMBER, ", ") for member in members}
    rows = [{"system": member, "label": text, "compare": [sweep.base]} for member, text in texts.items()]
    return {
        "caption": f"Sweep {name}: one row per point of the grid, against {sweep.base}.",
        "rows": [{"system": sweep.base}, *rows],
        "columns": [
            *({"measure": measure, "collection": sweep.collection} for measure in (*measures, "FLOPS")),
            {"measure": "tokens/doc", "collection": sweep.collection, "digits": 1},
        ],
        "test_measure": measures[0],
    }


def _figures(name: str, sweep: Sweep, members: list[str], measures: list[str]) -> dict[str, dict[str, Any]]:
    """Effectiveness against FLOPS, and against each key that has several values."""
    common = {"collection": sweep.collection, "systems": [sweep.base, *members], "y": measures[0]}
    caption = f"Sweep {name}: effectiveness against"
    found = {f"sweep-{name}": {"kind": "tradeoff", "caption": f"{caption} FLOPS.", **common}}
    grid = grid_of(name, sweep)[0]
    for key, short in short_keys(sorted(grid)).items():
        if len(grid[key]) > 1:
            shown = {"kind": "sweep", "sweep": name, "key": short, "caption": f"{caption} {short}."}
            found[f"sweep-{name}-{short}"] = {**shown, **common}
    return found


def _written_in_full(chosen: dict[str, Any]) -> dict[str, Any]:
    """A sweep of the command line: what is no key of a sweep is one of its grid, unless it has a `grid`."""
    short = {key: value for key, value in chosen.items() if key not in SWEEP_KEYS}
    if "grid" in chosen or not short:
        return chosen
    return {**{key: value for key, value in chosen.items() if key in SWEEP_KEYS}, "grid": short}


def _chosen(merged: dict[str, Any]) -> dict[str, Sweep]:
    chosen: Any = merged.get("sweep", [])
    sweeps = merged.get("sweeps", {})
    if isinstance(chosen, dict):  # written on the command line, and called by the name of its base
        name = str(chosen.get("base", Sweep.model_fields["base"].default))
        chosen, sweeps = [name], {name: _written_in_full(chosen)}
    if not isinstance(chosen, list):
        told = f"expected a list of names, or a mapping of keys to values, got {chosen!r}{listed(chosen)}"
        raise UserError(f"config: sweep: {told}")
    found = {}
    for name in map(str, chosen):
        if name not in sweeps:
            raise UserError(f"config: sweep: no sweep {name!r}; {nearest(name, sweeps)}")
        try:
            found[name] = Sweep.model_validate(sweeps[name])
        except ValidationError as error:
            raise UserError(explain(error, below=("sweeps", name))) from None
    return found


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _collection(merged: dict[str, Any], name: str, sweep: Sweep, resolve: Resolve) -> str:
    """Where the first table that shows the base measures first."""
    if sweep.collection is not None:
        return sweep.collection
    for table in merged.get("tables") or {}:
        found = resolve("tables", table, {})
        shown = [row.get("system") for row in _mappings(found.get("rows"))]
        places = [col.get("collection") for col in _mappings(found.get("columns")) if not col.get("cited")]
        if sweep.base in shown and places and places[0]:
            return str(places[0])
    raise UserError(f"config: sweeps.{name}.collection: no table shows {sweep.base}; say where it is evaluated")


def _check_base(where: str, base: str, merged: dict[str, Any], resolve: Resolve) -> None:
    known = merged.get("experiments") or {}
    if base not in known:
        raise UserError(f"config: {where}: no experiment {base!r}; {nearest(base, known)}")
    if not resolve("experiments", base, {}):
        raise UserError(f"config: {where}: {base} is left out at this scale; choose another base or another `scale`")


def _points(name: str, sweep: Sweep) -> dict[str, Settings]:
    return sweep_members(name, grid_of(name, sweep)[0])


def _members(
    name: str, sweep: Sweep, merged: dict[str, Any], deriver: Deriver, resolve: Resolve
) -> dict[str, dict[str, Any]]:
    """The points as entries of `experiments`."""
    seeds = grid_of(name, sweep)[1]
    members: dict[str, tuple[str, dict[str, Any]]] = {}
    for member, settings in _points(name, sweep).items():
        check_length(f"sweeps.{name}.grid", member)
        base = str(settings.get("extends", sweep.base))
        _check_base(f"sweeps.{name}.grid.extends", base, merged, resolve)
        changes = {key: value for key, value in settings.items() if key != "extends"}
        overrides = deriver.experiment(f"sweeps.{name}.grid", base, changes)
        members[member] = base, overrides if seeds is None else {**overrides, "seeds": seeds}
    shared = share_models(resolve, members)
    return {
        member: {"extends": base, "model": shared.get(member), **overrides, "assumed": sweep.assumed}
        for member, (base, overrides) in members.items()
    }


def _add(known: dict[str, Any], entries: dict[str, Any], where: str) -> None:
    for entry in entries:
        if entry in known:
            raise UserError(f"config: {where}.{entry} is that of another chosen sweep; rename one of the two sweeps")
    known |= entries


def expand_sweeps(merged: dict[str, Any], resolve: Resolve) -> dict[str, Any]:
    """What the chosen sweeps stand for: their names (`sweep`), experiments, a table and figures for each.

    Args:
        merged: the whole config, `extends` and `scales` resolved in its sweeps alone; `sweep` holds names, or one
            sweep as a mapping.
        resolve: an entry with `extends` and `scales` resolved.

    Raises:
        UserError: no such sweep or base experiment, or a grid that makes no sense.
    """
    measures = merged.get("measures")
    shown = measures[:3] if isinstance(measures, list) and measures else Study().measures[:3]
    deriver = Deriver(resolve, merged)
    added: dict[str, Any] = {"sweeps": {}, "experiments": {}, "tables": {}, "figures": {}, **deriver.added}
    for name, sweep in _chosen(merged).items():
        _check_base(f"sweeps.{name}.base", sweep.base, merged, resolve)
        placed = sweep.model_copy(update={"collection": _collection(merged, name, sweep, resolve)})
        members = _members(name, placed, merged, deriver, resolve)
        table = {f"sweep-{name}": _table(name, placed, list(members), shown)}
        figures = _figures(name, placed, list(members), shown)
        for section, entries in (("experiments", members), ("tables", table), ("figures", figures)):
            _add(added[section], entries, f"sweeps.{name}: {section}")
        if isinstance(merged.get("sweep"), dict):
            added["sweeps"][name] = placed.model_dump()
    return {**added, "sweep": list(_chosen(merged))}


def written_out(study: Study, names: Iterable[str]) -> list[str]:
    """Names of systems; a chosen sweep stands for its base and its points, one that is not chosen for nothing."""
    found: dict[str, None] = {}
    for name in names:
        if name not in study.sweeps or name in study.experiments:
            found[name] = None
        elif name in study.sweep:
            points = [system for system in study.experiments if system.startswith(f"{name}{MEMBER}")]
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
