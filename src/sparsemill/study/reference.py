"""Generate `config/schema.json` and the reference page `config/README.md` from the models of the config."""

import argparse
import inspect
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import yaml

from sparsemill.files import write_text
from sparsemill.study.load import SECTIONS
from sparsemill.study.models import Model, Scale, Study, models_in
from sparsemill.study.reference_words import Schema, default_text, link, references, type_text, value_node
from sparsemill.study.sweeps import SWEEP_KEYS

CONFIG = Path(__file__).resolve().parents[3] / "config"
INTRO = Path(__file__).with_name("reference_intro.md")
_EXTENDS = {"type": "string", "description": "entry of the same section whose keys are taken over"}


def _scales(name: str) -> Schema:
    """What `scales` of an entry holds: for each scale the keys that it changes, or null where it is left out."""
    changes = {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]}
    return {
        "type": "object",
        "description": "keys that a scale changes; null: no such entry at that scale",
        "properties": dict.fromkeys(get_args(Scale), changes),
        "additionalProperties": False,
    }


def _short_sweep(schema: Schema) -> Schema:
    """A sweep of the command line: keys and their values, without a `grid`."""
    known = {key: node for key, node in schema["$defs"]["Sweep"]["properties"].items() if key in SWEEP_KEYS}
    incomplete = [{"required": ["grid"]}, {"propertyNames": {"enum": sorted(SWEEP_KEYS)}}]
    values = {"type": "array", "minItems": 1}
    return {"type": "object", "properties": known, "additionalProperties": values, "not": {"anyOf": incomplete}}


def config_schema() -> Schema:
    """JSON schema of what a user writes: `Study`, named entries with `extends` and `scales`, `sweep` as a mapping too.

    An entry that extends another one need not repeat its required keys, so that none are required here.
    """
    schema = Study.model_json_schema()
    required: dict[str, list[str]] = {}
    for section in SECTIONS:
        node = value_node(schema["properties"][section])
        for name in references(node):
            schema["$defs"][name]["properties"] |= {"extends": _EXTENDS, "scales": _scales(name)}
            required[name] = schema["$defs"][name].pop("required", [])
        if "oneOf" in node:
            node["anyOf"] = node.pop("oneOf")
            node.pop("discriminator")
    chosen = schema["properties"]["sweep"]
    kept = {key: chosen.pop(key) for key in ("items", "type")}
    chosen["anyOf"] = [kept, {"$ref": "#/$defs/Sweep", "required": required["Sweep"]}, _short_sweep(schema)]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "sparsemill config"}


def _table(model: type[Model], keys: Iterable[str], titles: dict[str, str]) -> Iterator[str]:
    """Rows for keys of a model; a `kind` with one value is the heading's business."""
    properties = model.model_json_schema()["properties"]
    rows = [key for key in keys if key in properties and "const" not in properties[key]]
    if rows:
        yield from ("| key | value | default | meaning |", "|---|---|---|---|")
    for key in rows:
        meaning = str(model.model_fields[key].description).replace("|", "\\|")
        yield f"| `{key}` | {type_text(properties[key], titles)} | {default_text(properties[key])} | {meaning} |"
    if rows:
        yield ""


def _own(model: type[Model]) -> list[str]:
    return list(inspect.get_annotations(model))


def _doc(model: type[Model]) -> str:
    return inspect.cleandoc(str(model.__doc__))


def _kind(model: type[Model]) -> str:
    return str(get_args(model.model_fields["kind"].annotation)[0])


class Section(NamedTuple):
    """A section on one key: `depth` below the top ones, and the models of the key's values."""

    depth: int
    title: str
    models: list[type[Model]]


def _sections(depth: int, title: str, models: list[type[Model]], seen: dict[type[Model], str]) -> Iterator[Section]:
    """The section and those inside it; `seen` has the title of every model so far, which no other section repeats."""
    seen.update(dict.fromkeys(models, title))
    yield Section(depth, title, models)
    for key, field in {key: field for model in models for key, field in model.model_fields.items()}.items():
        if inner := [model for model in models_in(field.annotation) if model not in seen]:
            taken = key in seen.values() or key in Study.model_fields
            yield from _sections(depth + 1, f"{title}: {key}" if taken else key, inner, seen)


def _shared(section: Section, titles: dict[str, str], shown: dict[type[Model], str]) -> Iterator[str]:
    """What the models of a section inherit: the table, or where it stands already."""
    for base in section.models[0].__mro__[1:]:
        if not issubclass(base, Model) or base is Model:
            return
        if base in shown:
            yield from (f"All keys of the first table of {link(shown[base])}, and:", "")
        else:
            shown[base] = section.title
            yield from (_doc(base), "", *_table(base, _own(base), titles))
            yield from ["Its own:", ""] if len(section.models) == 1 else []


def _describe(section: Section, titles: dict[str, str], shown: dict[type[Model], str]) -> Iterator[str]:
    """A section on one key: the models of its values, and what they share."""
    heading = "##" + "#" * section.depth
    yield from (f"{heading} `{section.title}`", "")
    if len(section.models) == 1:
        yield from (_doc(section.models[0]), "")
    yield from _shared(section, titles, shown)
    for model in section.models:
        if len(section.models) > 1:
            yield from (f"{heading}# `kind: {_kind(model)}` of `{section.title}`", "", _doc(model), "")
        yield from _table(model, _own(model), titles)


def readme() -> str:
    """The reference page, in Markdown."""
    tops = {key: models for key, field in Study.model_fields.items() if (models := models_in(field.annotation))}
    single = [key for key in Study.model_fields if key not in tops]
    seen: dict[type[Model], str] = {}
    sections = [section for key, models in tops.items() for section in _sections(0, key, models, seen)]
    titles = {model.__name__: title for model, title in seen.items()}
    lines = [INTRO.read_text(encoding="utf-8").rstrip(), "", "## Single values", ""]
    if changes := ", ".join(_set_by_files(single)):
        lines += [f"A default counts where no file that is loaded sets the key: {changes}.", ""]
    lines += _table(Study, single, titles)
    shown = dict(seen)
    for section in sections:
        lines += _describe(section, titles, shown)
    return "\n".join(lines).rstrip() + "\n"


def _set_by_files(keys: Iterable[str]) -> Iterator[str]:
    """Of every shipped file that changes defaults of single values: its name, and what it sets."""
    for path in [*CONFIG.glob("config.yaml"), *sorted(CONFIG.glob("papers/*.yaml"))]:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        given = {key: content[key] for key in keys if key in content}
        changed = [key for key, value in given.items() if value != Study.model_fields[key].default]
        if changed:
            values = ", ".join(f"`{key}: {json.dumps(given[key])}`".replace('"', "") for key in changed)
            yield f"`{path.relative_to(CONFIG).as_posix()}` sets {values}"


def generated() -> dict[Path, str]:
    """Files of `config/` that are generated, and what they must hold."""
    schema = json.dumps(config_schema(), indent=1, ensure_ascii=False) + "\n"
    return {CONFIG / "schema.json": schema, CONFIG / "README.md": readme()}


def main(argv: list[str] | None = None) -> int:
    """Write the files, or with `--check` return 1 when one is out of date."""
    parser = argparse.ArgumentParser(prog="python -m sparsemill.study.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is out of date")
    check = parser.parse_args(argv).check
    stale = [
        path for path, text in generated().items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if check:
            print(f"{path.name} is out of date; run: python -m sparsemill.study.reference", file=sys.stderr)
        else:
            write_text(path, generated()[path])
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
