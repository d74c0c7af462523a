"""From the config that Snakemake merged to a checked `Study`: presets, overlays, `extends`, sweeps."""

import itertools
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from sparsemill.errors import UserError
from sparsemill.files import canonical_json
from sparsemill.study.check import check_references
from sparsemill.study.hints import nearest
from sparsemill.study.models import Study

SECTIONS = (
    "collections",
    "backbones",
    "idfs",
    "training_sets",
    "teachers",
    "ensembles",
    "pretrainings",
    "experiments",
    "sweeps",
    "tables",
    "figures",
    "explanations",
)
"""Sections of named entries; a name stands for one thing, whoever defines it."""


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a mapping of sections")
    return content


def _preset_files(config: dict[str, Any], root: Path) -> list[Path]:
    presets = config.get("presets", Study().presets)
    if not isinstance(presets, list):
        raise UserError(f"config: presets: expected a list of names, got {presets!r}")
    available = {path.stem: path for path in sorted((root / "papers").glob("*.yaml"))}
    for preset in presets:
        if preset not in available:
            raise UserError(f"config: presets: no preset {preset!r}; {nearest(str(preset), available)}")
    shared = sorted((root / "registry").glob("*.yaml")) + sorted((root / "sweeps").glob("*.yaml"))
    return shared + [available[preset] for preset in presets]


def _merge(target: dict[str, Any], addition: dict[str, Any], source: str) -> None:
    """Add named entries; the same name with another meaning is refused."""
    for section, entries in addition.items():
        if section not in SECTIONS:
            if section == "expected":
                target.setdefault("expected", []).extend(entries)
            else:
                target[section] = entries
            continue
        if not isinstance(entries, dict):
            raise UserError(f"{source}: {section}: expected a mapping of names")
        known = target.setdefault(section, {})
        for name, entry in entries.items():
            if name in known and canonical_json(known[name]) != canonical_json(entry):
                raise UserError(
                    f"{source}: {section}.{name} is a preset already; give yours another name "
                    f"(with `extends: {name}` it starts from the preset)"
                )
            known[name] = entry


def _deep_update(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = deepcopy(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _deep_update(merged[key], value)
        else:
            merged[key] = value
    return merged


def _resolve_extends(section: str, entries: dict[str, Any], name: str, path: tuple[str, ...] = ()) -> dict[str, Any]:
    if name in path:
        raise UserError(f"config: {section}.{name}: `extends` runs in a circle: {' -> '.join((*path, name))}")
    entry = entries[name]
    if not isinstance(entry, dict):
        raise UserError(f"config: {section}.{name}: expected a mapping, got {entry!r}")
    if "extends" not in entry:
        return entry
    base = entry["extends"]
    if base not in entries:
        raise UserError(f"config: {section}.{name}: extends unknown {base!r}; {nearest(str(base), entries)}")
    rest = {key: value for key, value in entry.items() if key != "extends"}
    return _deep_update(_resolve_extends(section, entries, base, (*path, name)), rest)


def _value_label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def sweep_members(name: str, grid: dict[str, list[Any]]) -> dict[str, dict[str, Any]]:
    """Named points of a sweep's grid.

    Args:
        name: the sweep's name.
        grid: dotted experiment key -> values.

    Returns:
        `<sweep>--<last part of key>-<value>--...` -> nested overrides, in grid order.
    """
    members = {}
    for values in itertools.product(*grid.values()):
        overrides: dict[str, Any] = {}
        label = name
        for key, value in zip(grid, values, strict=True):
            *parents, last = key.split(".")
            level = overrides
            for parent in parents:
                level = level.setdefault(parent, {})
            level[last] = value
            label += f"--{last}-{_value_label(value)}"
        members[label] = overrides
    return members


def _sweep_table(name: str, base: str, members: list[str], collection: str) -> dict[str, Any]:
    measures = ("nDCG@10", "MRR@10", "R@100", "FLOPS", "tokens/doc")
    rows = [{"system": base}] + [{"system": member, "compare": [base]} for member in members]
    columns = [{"measure": measure, "collection": collection} for measure in measures]
    return {"caption": f"Sweep {name}: one row per point of the grid, against {base}.", "rows": rows, "columns": columns}


def _expand_sweeps(merged: dict[str, Any]) -> None:
    """Turn each chosen sweep into experiments, a table and a figure of its own."""
    sweeps = merged.get("sweeps", {})
    chosen = merged.get("sweep", [])
    if isinstance(chosen, dict):
        merged["sweeps"] = sweeps = {**sweeps, "sweep": chosen}
        merged["sweep"] = chosen = ["sweep"]
    for name in chosen:
        if name not in sweeps:
            raise UserError(f"config: sweep: no sweep {name!r}; {nearest(str(name), sweeps)}")
        sweep = sweeps[name]
        if not isinstance(sweep, dict) or not {"base", "grid", "collection"} <= sweep.keys():
            raise UserError(f"config: sweeps.{name}: needs base, grid and collection")
        experiments = merged.setdefault("experiments", {})
        if sweep["base"] not in experiments:
            raise UserError(
                f"config: sweeps.{name}.base: no experiment {sweep['base']!r}; {nearest(str(sweep['base']), experiments)}"
            )
        members = sweep_members(name, sweep["grid"])
        for member, overrides in members.items():
            experiments[member] = {"extends": sweep["base"], **overrides}
        systems = list(members)
        merged.setdefault("tables", {})[f"sweep-{name}"] = _sweep_table(
            name, sweep["base"], systems, sweep["collection"]
        )
        merged.setdefault("figures", {})[f"sweep-{name}"] = {
            "kind": "tradeoff",
            "caption": f"Sweep {name}: effectiveness against FLOPS.",
            "collection": sweep["collection"],
            "systems": [sweep["base"], *systems],
        }


def _model_at(model: type[BaseModel] | None, path: tuple[Any, ...]) -> set[str]:
    """Field names valid at the parent of `path`, as far as the models tell."""
    schema = Study.model_json_schema() if model is None else model.model_json_schema()
    node: dict[str, Any] = schema
    for part in path:
        while "$ref" in node:
            node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        if "discriminator" in node:
            mapping = node["discriminator"]["mapping"]
            node = schema["$defs"][mapping[part].rsplit("/", 1)[1]] if part in mapping else {}
            continue
        properties = node.get("properties", {})
        node = properties.get(part) or node.get("additionalProperties") or node.get("items") or {}
        if not isinstance(node, dict):
            return set()
        if "patternProperties" in node:
            node = {"additionalProperties": next(iter(node["patternProperties"].values()))}
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return set(node.get("properties", {}))


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    location = tuple(first["loc"])
    shown = ".".join(str(part) for part in location if part != "[key]")
    if first["type"] == "extra_forbidden":
        valid = _model_at(None, location[:-1])
        return f"config: {shown}: unknown key; {nearest(str(location[-1]), valid)}"
    more = f" (and {len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
    message = first["msg"].removeprefix("Value error, ")
    given = "" if first["type"] == "missing" else f", got {first['input']!r}"
    return f"config: {shown}: {message}{given if len(given) < 120 else ''}{more}"


def load_study(config: dict[str, Any], root: Path) -> Study:
    """Resolve and check a config.

    Args:
        config: what Snakemake merged from `config/config.yaml`, `--configfile` and `--config`.
        root: the `config/` folder, for presets, registry and sweeps.

    Returns:
        The study, with presets loaded, `extends` resolved and sweeps expanded.

    Raises:
        UserError: unknown key or name (with the nearest valid one), wrong type, redefined preset.
    """
    merged: dict[str, Any] = {}
    for path in _preset_files(config, root):
        _merge(merged, deepcopy(_read_yaml(path)), str(path))
    _merge(merged, deepcopy(dict(config)), "config")
    _expand_sweeps(merged)
    for section in SECTIONS:
        if section in merged and section != "sweeps":
            entries = merged[section]
            merged[section] = {name: _resolve_extends(section, entries, name) for name in entries}
    try:
        study = Study.model_validate(merged)
    except ValidationError as error:
        raise UserError(_explain(error)) from None
    check_references(study)
    return study
