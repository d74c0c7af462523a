"""How artefacts, measures and settings are called in MLflow."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from sparsemill.files import canonical_json

SHARED = "shared"
"""MLflow experiment of the stages that studies share."""

ASSUMED = "assumed."
"""Starts the tags that say which values of a training the paper does not state."""

PARAM_LIMIT = 6000
KEY_LIMIT = 250
TAG_LIMIT = 8000

# Artefacts below `<head>/<system>/<variant>/`, and what their run is called.
STAGES = {
    "models": "finetune",
    "released": "prepare",
    "vectors": "encode",
    "indexes": "index",
    "runs": "search",
    "evaluations": "evaluate",
    "sparsity": "sparsity",
    "latency": "latency",
    "index_size": "index size",
    "engine_time": "engine time",
    "serving": "serving",
}
MEASURE_FILES = {
    "evaluations": "measures.json",
    "sparsity": "sparsity.json",
    "training_pairs": "training_pairs.json",
    "latency": "latency.json",
    "index_size": "index_size.json",
    "engine_time": "engine_time.json",
    "serving": "serving.json",
}
# Numbers in those files that say how a value was measured, not what it is (as in `sparsemill.tables.collect`).
CIRCUMSTANCES = ("documents", "queries", "passes", "k", "server_cores", "client_cores")
# What belongs to a study and not to one system.
STUDY_HEADS = (
    *("training_pairs", "tidy", "tables", "figures", "sweeps"),
    *("significance", "expected", "explain", "pages", "report"),
)


class Address(NamedTuple):
    """An artefact's key, read.

    Attributes:
        head: its first part, for example `evaluations`.
        system: the retriever it belongs to; empty for shared stages.
        variant: `seed-<n>` or `fixed`; empty for shared stages.
        rest: what follows.
    """

    head: str
    system: str
    variant: str
    rest: tuple[str, ...]

    @property
    def parent_key(self) -> str:
        """Key of the parent run; empty for shared stages."""
        return f"systems/{self.system}/{self.variant}" if self.system else ""

    @property
    def seed(self) -> int | None:
        """The seed in the variant, if it names one."""
        found = re.fullmatch(r"seed-(\d+)", self.variant)
        return int(found[1]) if found else None

    @property
    def run_name(self) -> str:
        """`finetune ours seed-0`, `evaluate pydocs lucene`; a shared stage is called by its key.

        Trainings name their system, because their curves are compared without their parents.
        """
        if not self.system:
            return "/".join([self.head, *self.rest])
        if self.head == "models":
            return f"{STAGES[self.head]} {self.system_name}"
        return " ".join([STAGES[self.head], *self.rest])

    @property
    def system_name(self) -> str:
        """`ours seed-0`, `bm25`."""
        return self.system if self.variant == "fixed" else f"{self.system} {self.variant}"


def experiment_of(at: Address, study: str) -> str:
    """The MLflow experiment of an artefact: `study`, or the shared one."""
    return study if at.system or at.head in STUDY_HEADS else SHARED


def address(key: str) -> Address:
    """Read an artefact's key."""
    head, *rest = key.split("/")
    if head in STAGES and len(rest) >= 2:
        return Address(head, rest[0], rest[1], tuple(rest[2:]))
    return Address(head, "", "", tuple(rest))


def metric_name(measure: str) -> str:
    """A name that MLflow accepts: `nDCG@10` becomes `nDCG_10`; letters, digits, ` `, `.`, `-`, `/` stay.

    Not one to one; `metric_names` keeps what is needed to go back.
    """
    name = re.sub(r"[^\w .\-/]", "_", measure, flags=re.ASCII)
    return re.sub(r"/+", "/", name).strip("/. ")[:KEY_LIMIT] or "_"


def metric_names(measures: Iterable[str]) -> dict[str, str]:
    """Distinct metric names: metric name -> measure. Measures that would share a name get `.2`, `.3` ... in order."""
    names: dict[str, str] = {}
    for measure in measures:
        base = name = metric_name(measure)
        number = 2
        while name in names:
            name, number = f"{base}.{number}", number + 1
        names[name] = measure
    return names


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one with dotted keys; lists stay whole."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def clip(text: str, limit: int) -> str:
    """`text`, cut visibly when it is longer than `limit` characters."""
    end = "... (cut)"
    return text if len(text) <= limit else text[: limit - len(end)] + end


def parameters(spec: dict[str, Any]) -> dict[str, str]:
    """The spec as MLflow parameters; values above 6000 characters are cut (`config.yaml` has all)."""
    flat = flatten(spec)
    names = metric_names(flat)
    texts = {
        name: flat[key] if isinstance(flat[key], str) else canonical_json(flat[key]) for name, key in names.items()
    }
    return {name: clip(text, PARAM_LIMIT) for name, text in texts.items()}
