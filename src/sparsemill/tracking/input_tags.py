"""What an artefact was made from, as tags of its run."""

import json
from collections.abc import Mapping
from itertools import count
from typing import Any

from sparsemill.files import canonical_json
from sparsemill.tracking.names import TAG_LIMIT

_NAME = "inputs"


def _name(number: int) -> str:
    return _NAME if number == 1 else f"{_NAME}.{number}"


def input_tags(inputs: Mapping[str, str]) -> dict[str, str]:
    """JSON of input name -> `KEY@CONTENT` in the tag `inputs`; what it has no room for in `inputs.2`, `inputs.3` ..."""
    parts: list[dict[str, str]] = [{}]
    for name, place in sorted(inputs.items()):
        if parts[-1] and len(canonical_json({**parts[-1], name: place})) > TAG_LIMIT:
            parts.append({})
        parts[-1][name] = place
    return {_name(number): canonical_json(part) for number, part in enumerate(parts, start=1)}


def inputs_of(run: Any) -> list[str]:
    """`KEY@CONTENT` of what a run's artefact was made from; nothing of a run whose list an earlier version cut."""
    tags, found = run.data.tags, dict[str, str]()
    for number in count(1):
        if _name(number) not in tags:
            break
        try:
            found |= json.loads(tags[_name(number)])
        except ValueError:
            return []
    return list(found.values())
