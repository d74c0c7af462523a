"""From the config that Snakemake merged to a checked `Study`: presets, overlays, `extends`, `scales`, sweeps."""

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError

from sparsemill.errors import UserError
from sparsemill.study.check import check_references
from sparsemill.study.derived import Resolve
from sparsemill.study.explain import explain
from sparsemill.study.hints import listed, nearest
from sparsemill.study.judged import check_judged
from sparsemill.study.limits import check_limits
from sparsemill.study.models import Scale, Study
from sparsemill.study.sweeps import expand_sweeps, sweep_figures
from sparsemill.study.training_sets import expand_pairs
from sparsemill.study.yaml_files import read_yaml

SECTIONS = (
    "engines",
    "collections",
    "groups",
    "backbones",
    "idfs",
    "training_sets",
    "teachers",
    "cross_encoders",
    "ensembles",
    "pretrainings",
    "experiments",
    "released",
    "sweeps",
    "tables",
    "figures",
    "explanations",
    "published",
    "claims",
)
"""Sections of named entries; a name stands for one thing, whoever defines it."""


def _with_bases(chosen: Iterable[Any], available: dict[str, Path], where: str) -> list[Path]:
    """The presets' files, each after those of the presets that it builds on itself (its key `presets`)."""
    found: dict[Path, None] = {}
    for preset in map(str, chosen):
        if preset not in available:
            raise UserError(f"{where}: presets: no preset {preset!r}; {nearest(preset, available)}")
        path = available[preset]
        # A preset is not there for its own bases, so that no circle closes.
        others = {name: file for name, file in available.items() if name != preset}
        found |= dict.fromkeys([*_with_bases(read_yaml(path).get("presets", []), others, str(path)), path])
    return list(found)


def _preset_files(config: dict[str, Any], root: Path) -> list[Path]:
    presets = config.get("presets", Study().presets)
    if not isinstance(presets, list):
        raise UserError(f"config: presets: expected a list of names, got {presets!r}{listed(presets)}")
    available = {path.stem: path for path in sorted((root / "papers").glob("*.yaml"))}
    shared = [path for folder in ("registry", "sweeps", "expected") for path in sorted((root / folder).glob("*.yaml"))]
    return shared + _with_bases(presets, available, "config")


def _deep_update(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = deepcopy(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _deep_update(merged[key], value)
        else:
            merged[key] = value
    return merged


def _names(merged: dict[str, Any], others: Iterable[Path]) -> dict[str, set[str]]:
    """Section -> names of its entries, at any scale, here and in the files of other presets."""
    sources = [merged, *map(read_yaml, others)]
    return {section: {name for source in sources for name in source.get(section) or {}} for section in SECTIONS}


def _merge_entries(known: dict[str, Any], entries: Any, source: str, section: str) -> None:
    if not isinstance(entries, dict | None):
        raise UserError(f"{source}: {section}: expected a mapping of names, got {entries!r}")
    for name, entry in (entries or {}).items():
        if name in known and known[name] != entry:
            raise UserError(
                f"{source}: {section}.{name} is a preset already; give yours another name "
                f"(with `extends: {name}` it starts from the preset)"
            )
        known[str(name)] = entry


def _merge(target: dict[str, Any], addition: dict[str, Any], source: str) -> None:
    """Add named entries and expected values; any other key of `addition` wins over what is there."""
    for section, entries in addition.items():
        if section in SECTIONS:
            _merge_entries(target.setdefault(section, {}), entries, source, section)
        elif section == "expected":
            if not isinstance(entries, list | None):
                raise UserError(f"{source}: expected: expected a list, got {entries!r}")
            target.setdefault("expected", []).extend(entries or [])
        elif isinstance(entries, dict) and isinstance(target.get(section), dict):
            target[section] = _deep_update(target[section], entries)
        else:
            target[section] = entries


class _Entry(NamedTuple):
    """A named entry with `extends` and `scales` resolved; `present` is false where its scale is null."""

    keys: dict[str, Any]
    present: bool


def _scales(where: str, entry: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
    scales = entry.get("scales", {})
    if not isinstance(scales, dict):
        raise UserError(f"config: {where}.scales: expected a mapping of scales, got {scales!r}")
    scales = {scale: None if changes == "null" else changes for scale, changes in scales.items()}
    for scale, changes in scales.items():
        if scale not in get_args(Scale):
            raise UserError(f"config: {where}.scales: no scale {scale!r}; {nearest(str(scale), get_args(Scale))}")
        if not isinstance(changes, dict | None):
            raise UserError(f"config: {where}.scales.{scale}: expected a mapping or null, got {changes!r}")
    return scales


def _resolve(section: str, entries: dict[str, Any], name: str, scale: str, path: tuple[str, ...] = ()) -> _Entry:
    """The keys of the base, then the entry's own, then those of its chosen scale: what stands nearer wins."""
    if name in path:
        raise UserError(f"config: {section}.{name}: `extends` runs in a circle: {' -> '.join((*path, name))}")
    entry = entries[name]
    if not isinstance(entry, dict):
        raise UserError(f"config: {section}.{name}: expected a mapping, got {entry!r}")
    found = _Entry({}, True)
    if "extends" in entry:
        base = entry["extends"]
        if not isinstance(base, str) or base not in entries:
            raise UserError(f"config: {section}.{name}: extends unknown {base!r}; {nearest(str(base), entries)}")
        found = _resolve(section, entries, base, scale, (*path, name))
    scales = _scales(f"{section}.{name}", entry)
    keys = _deep_update(found.keys, {key: value for key, value in entry.items() if key not in ("extends", "scales")})
    if scale not in scales:
        return _Entry(keys, found.present)
    changes = scales[scale]
    return _Entry(_deep_update(keys, changes or {}), changes is not None)


def _resolve_section(merged: dict[str, Any], section: str, scale: str) -> None:
    # Sorted, so that reordering the entries of a config changes no input of any rule.
    entries = dict(sorted((merged.get(section) or {}).items()))
    resolved = {name: _resolve(section, entries, name, scale) for name in entries}
    if entries:
        merged[section] = {name: entry.keys for name, entry in resolved.items() if entry.present}


def _resolver(merged: dict[str, Any], scale: str) -> Resolve:
    def resolve(section: str, name: str, changes: dict[str, Any]) -> dict[str, Any]:
        entry = _resolve(section, merged[section], name, scale)
        return _deep_update(entry.keys, changes) if entry.present else {}

    return resolve


def _pin_revisions(node: Any, revisions: Any) -> None:
    """Give weights on the hub that have no revision the one that `revisions` has for their id."""
    if isinstance(node, dict):
        if node.get("kind") == "hub" and node.get("revision") is None and isinstance(revisions, dict):
            node["revision"] = revisions.get(str(node.get("id")))
        for value in node.values():
            _pin_revisions(value, revisions)


def chosen_scale(config: dict[str, Any]) -> str:
    """The scale of a config that Snakemake merged; a UserError if there is no such scale."""
    scale = config.get("scale", Study().scale)
    if scale not in get_args(Scale):
        raise UserError(f"config: scale: no scale {scale!r}; {nearest(str(scale), get_args(Scale))}")
    return str(scale)


def load_study(config: dict[str, Any], root: Path) -> Study:
    """Resolve and check a config.

    Args:
        config: what Snakemake merged from `config/config.yaml`, `--configfile` and `--config`.
        root: the `config/` folder, for presets, registry and sweeps.

    Returns:
        The study, with presets loaded, `extends` and `scales` resolved, sweeps and pair files expanded, the entries of
        sections sorted by name, and the expected values of its scale.

    Raises:
        UserError: unknown key or name (with the nearest valid one), wrong type, redefined preset, or more documents
            asked for than an engine gives.
    """
    merged: dict[str, Any] = {}
    files = _preset_files(config, root)
    for path in files:
        _merge(merged, {key: value for key, value in read_yaml(path).items() if key != "presets"}, str(path))
    _merge(merged, deepcopy(dict(config)), "config")
    scale = chosen_scale(merged)
    names = _names(merged, set((root / "papers").glob("*.yaml")) - set(files))
    _resolve_section(merged, "sweeps", scale)
    _merge(merged, expand_sweeps(merged, _resolver(merged, scale)), "config")
    for section in SECTIONS:
        _resolve_section(merged, section, scale)
        _pin_revisions(merged.get(section), merged.get("revisions"))
    try:
        study = Study.model_validate(merged)
    except ValidationError as error:
        raise UserError(explain(error)) from None
    expected = [value for value in study.expected if value.scale in (None, scale)]
    figures = sweep_figures(study)
    study = expand_pairs(study.model_copy(update={"expected": expected, "figures": figures}))
    check_references(study)
    check_judged(study, names)
    study = _of_paper(study) if study.paper else study
    check_limits(study)
    return study


def _of_paper(study: Study) -> Study:
    """The study with the tables and figures of its paper alone."""
    tables = {name: table for name, table in study.tables.items() if table.paper == study.paper}
    figures = {name: figure for name, figure in study.figures.items() if figure.paper == study.paper}
    if not tables and not figures:
        known = {table.paper for table in study.tables.values()} | {figure.paper for figure in study.figures.values()}
        raise UserError(f"config: paper: no table or figure of {study.paper!r}; {nearest(study.paper, known - {''})}")
    return study.model_copy(update={"tables": tables, "figures": figures, "explanations": {}, "expected": []})
