"""Generate `config/schema.json` and the reference page `config/README.md` from the models of the config."""

import argparse
import inspect
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import yaml

from sparsemill.files import write_text
from sparsemill.study.load import SECTIONS
from sparsemill.study.models import Model, Scale, Study, models_in
from sparsemill.study.sweeps import SWEEP_KEYS

CONFIG = Path(__file__).resolve().parents[3] / "config"
INTRO = Path(__file__).with_name("reference_intro.md")
Schema = dict[str, Any]
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


def _values(node: Schema) -> Schema:
    """The node that describes the values of a mapping."""
    found: Schema = (
        next(iter(node["patternProperties"].values())) if "patternProperties" in node else node["additionalProperties"]
    )
    return found


def _references(node: Schema) -> list[str]:
    return [option["$ref"].rsplit("/", 1)[1] for option in [node, *node.get("oneOf", [])] if "$ref" in option]


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
        node = _values(schema["properties"][section])
        for name in _references(node):
            schema["$defs"][name]["properties"] |= {"extends": _EXTENDS, "scales": _scales(name)}
            required[name] = schema["$defs"][name].pop("required", [])
        if "oneOf" in node:
            node["anyOf"] = node.pop("oneOf")
            node.pop("discriminator")
    chosen = schema["properties"]["sweep"]
    kept = {key: chosen.pop(key) for key in ("items", "type")}
    chosen["anyOf"] = [kept, {"$ref": "#/$defs/Sweep", "required": required["Sweep"]}, _short_sweep(schema)]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "sparsemill config"}


def _bounds(node: Schema) -> str:
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    return ", ".join(f"{sign} {node[key]:g}" for key, sign in signs.items() if key in node)


def _plural(text: str) -> str:
    word, space, rest = text.partition(" ")
    return f"{word}s{space}{rest}" if word.isalpha() else text


def type_text(key: str, node: Schema) -> str:  # noqa: PLR0911  (one line per type)
    """What the value of a key must be, in words, from its node of the schema."""
    if options := node.get("anyOf"):
        return " or ".join(type_text(key, option) for option in options)
    if "enum" in node:
        return " · ".join(f"`{value}`" for value in node["enum"])
    if "$ref" in node or "discriminator" in node:
        return f"mapping: [`{key}`](#{key})"
    match node.get("type"):
        case "array" if "$ref" in node["items"]:
            return f"list: [`{key}`](#{key})"
        case "array":
            return f"list of {_plural(type_text(key, node['items']))}"
        case "object" if "patternProperties" in node:
            return f"mapping: name to {type_text(key, next(iter(node['patternProperties'].values())))}"
        case "object":
            return f"mapping: key to {type_text(key, _values(node))}"
        case "string" if "maxLength" in node:
            return "name"
        case str() as kind:
            return f"{kind} {_bounds(node)}".rstrip()
    return "value"


def default_text(node: Schema) -> str:
    """The default as it would be written in YAML."""
    if "default" not in node:
        return "**required**"
    if "$ref" in node:
        return "its defaults"
    if node["default"] == "":
        return "empty"
    return f"`{json.dumps(node['default'], ensure_ascii=False)}`".replace('"', "")


def _table(model: type[Model], keys: Iterable[str]) -> Iterator[str]:
    """Rows for keys of a model; a `kind` with one value is the heading's business."""
    properties = model.model_json_schema()["properties"]
    rows = [key for key in keys if key in properties and "const" not in properties[key]]
    if rows:
        yield from ("| key | value | default | meaning |", "|---|---|---|---|")
    for key in rows:
        meaning = str(model.model_fields[key].description).replace("|", "\\|")
        yield f"| `{key}` | {type_text(key, properties[key])} | {default_text(properties[key])} | {meaning} |"
    if rows:
        yield ""


def _own(model: type[Model]) -> list[str]:
    return list(inspect.get_annotations(model))


def _doc(model: type[Model]) -> str:
    return inspect.cleandoc(str(model.__doc__))


def _kind(model: type[Model]) -> str:
    return str(get_args(model.model_fields["kind"].annotation)[0])


def _shared(title: str, models: list[type[Model]], shown: dict[type[Model], str]) -> Iterator[str]:
    """What the models of a section inherit: the table, or where it stands already."""
    for base in models[0].__mro__[1:]:
        if not issubclass(base, Model) or base is Model:
            return
        if base in shown:
            yield from (f"All keys of the first table of [`{shown[base]}`](#{shown[base]}), and:", "")
        else:
            shown[base] = title
            yield from (_doc(base), "", *_table(base, _own(base)), *(["Its own:", ""] if len(models) == 1 else []))


def _describe(heading: str, title: str, models: list[type[Model]], shown: dict[type[Model], str]) -> Iterator[str]:
    """A section on one key: the models of its values, what they share, and the models inside them."""
    yield from (f"{heading} `{title}`", "")
    if len(models) == 1:
        yield from (_doc(models[0]), "")
    yield from _shared(title, models, shown)
    for model in models:
        if len(models) > 1:
            yield from (f"{heading}# `kind: {_kind(model)}`", "", _doc(model), "")
        yield from _table(model, _own(model))
    shown.update(dict.fromkeys(models, title))
    fields = {key: field for model in models for key, field in model.model_fields.items()}
    for key, field in fields.items():
        found = models_in(field.annotation)
        inner = [model for model in found if model not in shown]
        if inner:
            yield from _describe(f"{heading}#", key, inner, shown)
        elif found and (twin := shown[found[0]]) != key:
            yield from (f"{heading}# `{key}`", "", f"Its keys are those of [`{twin}`](#{twin}).", "")


def readme() -> str:
    """The reference page, in Markdown."""
    sections = {key: models for key, field in Study.model_fields.items() if (models := models_in(field.annotation))}
    single = [key for key in Study.model_fields if key not in sections]
    lines = [INTRO.read_text(encoding="utf-8").rstrip(), "", "## Single values", ""]
    if changes := ", ".join(_set_by_files(single)):
        lines += [f"A default counts where no file that is loaded sets the key: {changes}.", ""]
    lines += _table(Study, single)
    shown: dict[type[Model], str] = {}
    for key, models in sections.items():
        lines += _describe("##", key, models, shown)
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
