"""Hints for mistyped names."""

import difflib
from collections.abc import Iterable
from typing import Any


def listed(value: Any) -> str:
    """What to write instead of a value that should be a list of names; nothing for one that is no name either."""
    return f"; write [{value}]" if isinstance(value, str) else ""


def nearest(name: str, valid: Iterable[str]) -> str:
    """A hint that names the valid name nearest to `name`, or lists what there is."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"valid: {', '.join(names)}" if names else "there are none"
