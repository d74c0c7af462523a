"""What a validation error of the config means, in one line: the path of the key and the nearest valid name."""

from typing import Any, NamedTuple

from pydantic import ValidationError

from sparsemill.study.hints import nearest
from sparsemill.study.models import Study
from sparsemill.study.models.base import COMMIT, NAME

PATTERNS = {
    COMMIT: "must be the 40 digits of a commit",
    NAME: "a name has letters, digits, dots, hyphens and underscores, and starts with a letter or digit",
}

Schema = dict[str, Any]
Location = tuple[str | int, ...]


class Place(NamedTuple):
    """A place in the config.

    Attributes:
        path: as a user writes it, dotted.
        keys: keys that are valid below it; empty where it is no mapping of known keys.
        kinds: values of `kind` that are valid there; empty where there is no choice.
    """

    path: str
    keys: list[str]
    kinds: list[str]


def _resolved(schema: Schema, node: Schema) -> Schema:
    models = [option for option in node.get("anyOf", []) if "$ref" in option]
    if len(models) == 1:  # a mapping or null
        node = models[0]
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


def _below(node: Schema, part: str | int) -> Schema:
    names = [*node.get("patternProperties", {}).values(), node.get("additionalProperties"), node.get("items")]
    candidates = [node.get("properties", {}).get(part), *names]
    return next((candidate for candidate in candidates if isinstance(candidate, dict)), {})


def place(location: Location) -> Place:
    """Follow a location of pydantic through the schema; it names the kind of an entry as if that were a key."""
    schema = Study.model_json_schema()
    node: Schema = schema
    path = []
    for part in location:
        kinds = node.get("discriminator", {}).get("mapping", {})
        if part in kinds:
            node = _resolved(schema, {"$ref": kinds[part]})
            continue
        if part != "[key]":
            path.append(str(part))
            node = _resolved(schema, _below(node, part))
    kinds = node.get("discriminator", {}).get("mapping", {})
    return Place(".".join(path), list(node.get("properties", {})), list(kinds))


def explain(error: ValidationError, *, below: Location = ()) -> str:
    """One line about the first mistake; unknown keys go first, because a misspelt key also looks like a missing one.

    Args:
        error: from validating a `Study`, or a part of it.
        below: where that part stands in the study.
    """
    errors = error.errors()
    first = next((item for item in errors if item["type"] == "extra_forbidden"), errors[0])
    location: Location = (*below, *first["loc"])
    found = place(location)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"config: {found.path}: unknown key; {nearest(str(location[-1]), place(location[:-1]).keys)}{more}"
    if first["type"] == "union_tag_not_found":
        return f"config: {found.path}: `kind` is missing; valid: {', '.join(found.kinds)}{more}"
    if first["type"] == "union_tag_invalid":
        kind = str(first["ctx"]["tag"])
        return f"config: {found.path}.kind: no kind {kind!r}; {nearest(kind, found.kinds)}{more}"
    pattern = str(first.get("ctx", {}).get("pattern"))
    message = PATTERNS.get(pattern, first["msg"].removeprefix("Value error, "))
    given = "" if first["type"] == "missing" else f", got {first['input']!r}"
    return f"config: {found.path}: {message}{given if len(given) < 120 else ''}{more}"
