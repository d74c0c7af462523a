"""Whether publishing has to be tried again."""

import json
from collections.abc import Mapping
from pathlib import Path

from sparsemill import manifest


def due_attempt(published: Path, environment: Mapping[str, str]) -> str:
    """The name of the attempt at publishing that is due; another name than the last one's runs the rule again.

    Args:
        published: the folder of the last attempt, if there was one; its manifest says whether something failed.
        environment: `SPARSEMILL_INVOCATION` names a new attempt.
    """
    try:
        facts = json.loads((published / manifest.NAME).read_text(encoding="utf-8"))["facts"]
    except (OSError, ValueError, KeyError):
        return ""
    due = facts.get("pending") or facts.get("failure")
    return environment["SPARSEMILL_INVOCATION"] if due else str(facts.get("attempt", ""))
