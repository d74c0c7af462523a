"""Nodes of the config's JSON schema in words."""

import json
from typing import Any

Schema = dict[str, Any]


def value_node(node: Schema) -> Schema:
    """The node that describes the values of a mapping."""
    found: Schema = (
        next(iter(node["patternProperties"].values())) if "patternProperties" in node else node["additionalProperties"]
    )
    return found


def references(node: Schema) -> list[str]:
    """Names of the models that a node stands for; none where it is no mapping of known keys."""
    return [option["$ref"].rsplit("/", 1)[1] for option in [node, *node.get("oneOf", [])] if "$ref" in option]


def _bounds(node: Schema) -> str:
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    return ", ".join(f"{sign} {node[key]:g}" for key, sign in signs.items() if key in node)


def _plural(text: str) -> str:
    word, space, rest = text.partition(" ")
    return f"{word}s{space}{rest}" if word.isalpha() else text


def link(title: str) -> str:
    """A link to the section of that title."""
    return f"[`{title}`](#{title.replace(': ', '-')})"


def type_text(node: Schema, titles: dict[str, str]) -> str:  # noqa: PLR0911  (one line per type)
    """What the value of a key must be, in words.

    Args:
        node: of the key, in the schema.
        titles: name of a model -> heading of the section that has its keys.
    """
    if options := node.get("anyOf"):
        return " or ".join(type_text(option, titles) for option in options)
    if "enum" in node:
        return " · ".join(_code(value) for value in node["enum"])
    if models := references(node):
        return f"mapping: {link(titles[models[0]])}"
    match node.get("type"):
        case "array" if "$ref" in node["items"]:
            return f"list: {link(titles[references(node['items'])[0]])}"
        case "array":
            return f"list of {_plural(type_text(node['items'], titles))}"
        case "object" if "patternProperties" in node:
            return f"mapping: name to {type_text(next(iter(node['patternProperties'].values())), titles)}"
        case "object":
            return f"mapping: key to {type_text(value_node(node), titles)}"
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
    return _code(node["default"])


def _code(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`".replace('"', "")
