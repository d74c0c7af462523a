"""Gather what evaluation, sparsity and latency artefacts say into one tidy frame."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from sparsemill import manifest
from sparsemill.errors import UserError
from sparsemill.files import read_json
from sparsemill.tables.tidy import Record, to_frame

# Kind of artefact -> the file with its values.
FILES = {
    "evaluation": "measures.json",
    "sparsity": "sparsity.json",
    "training_pairs": "training_pairs.json",
    "latency": "latency.json",
    "index_size": "index_size.json",
    "engine_time": "engine_time.json",
    "serving": "serving.json",
}
# Numbers in those files that say how a value was measured, not what it is.
_CIRCUMSTANCES = {"documents", "queries", "passes", "k", "server_cores", "client_cores"}
_WITHOUT_ENGINE = ("sparsity", "training_pairs")
_SEED = re.compile(r"seed-(\d+)")


def collect(folders: dict[str, list[Path]]) -> pd.DataFrame:
    """Read all artefacts into one sorted tidy frame.

    Args:
        folders: kind (a key of `FILES`) -> artefact folders, whose manifests' spec says `system`,
            `variant`, `collection` and, but for sparsity and pairs, `engine`.

    Raises:
        UserError: a file or a name is missing, a value is no number, or two artefacts hold the same value.
    """
    return to_frame(record for kind, paths in folders.items() for path in paths for record in _records(kind, path))


def _records(kind: str, folder: Path) -> Iterator[Record]:
    described = manifest.read(folder)
    system, variant, collection = (named(folder, described, name) for name in ("system", "variant", "collection"))
    engine = "" if kind in _WITHOUT_ENGINE else named(folder, described, "engine")
    values = read_json(folder / FILES[kind])
    queries = values.get("queries", described["facts"].get("queries"))
    seed = _SEED.fullmatch(variant)
    for measure, value in _measured(folder, values):
        number = int(seed[1]) if seed else None
        yield Record(system, variant, number, collection, engine, measure, value, queries, described["key"])


def named(folder: Path, described: dict[str, Any], name: str) -> str:
    """What the manifest's spec says for `name`.

    Raises:
        UserError: nothing.
    """
    if not isinstance(value := described["spec"].get(name), str):
        raise UserError(f"{folder}: its manifest does not say which {name} it belongs to; make it again")
    return value


def _measured(folder: Path, values: dict[str, Any]) -> Iterable[tuple[str, float]]:
    for measure, value in values.items():
        if measure in _CIRCUMSTANCES:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{folder}: {measure} is {value!r}, not a number")
        yield measure, float(value)
