"""An artefact folder as MLflow sees it: tags, parameters, metrics, curves, files."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from sparsemill import manifest
from sparsemill.errors import UserError
from sparsemill.files import canonical_json, read_json, write_json, write_text
from sparsemill.tracking.input_tags import input_tags
from sparsemill.tracking.names import (
    ASSUMED,
    CIRCUMSTANCES,
    MEASURE_FILES,
    TAG_LIMIT,
    Address,
    address,
    clip,
    flatten,
    metric_names,
    parameters,
)
from sparsemill.tracking.points import Point, is_number, record_points

TABLE = "table.json"
TABLES = {"tables": "table.csv", "tidy": "results.csv"}
"""Heads of artefacts whose rows are logged as a table, and the file that holds them."""
_NAMES = ("label", "system", "variant", "collection", "engine", "measure", "source")
"""Columns of these tables that hold text, whatever it looks like."""


@dataclass(frozen=True)
class Artefact:
    """A finished artefact.

    Attributes:
        folder: as given, normally relative to the working folder.
        manifest: its `manifest.json`.
    """

    folder: Path
    manifest: dict[str, Any]

    @property
    def key(self) -> str:
        """Readable id."""
        return str(self.manifest["key"])

    @property
    def content(self) -> str:
        """Hash of spec and outputs."""
        return str(self.manifest["content"])

    @cached_property
    def address(self) -> Address:
        """The key, read."""
        return address(self.key)

    @property
    def start(self) -> int:
        """Start of the stage, milliseconds since the epoch."""
        return round(datetime.fromisoformat(self.manifest["created"]).timestamp() * 1000)

    @property
    def end(self) -> int:
        """End of the stage, milliseconds since the epoch."""
        return self.start + round(float(self.manifest["wall_seconds"]) * 1000)

    @cached_property
    def values(self) -> dict[str, float]:
        """What the artefact's file of measures holds; empty for other artefacts.

        Raises:
            UserError: the file is missing or broken, or a value is no number.
        """
        name = MEASURE_FILES.get(self.address.head)
        values: dict[str, Any] = read_json(self.folder / name) if name else {}
        for measure, value in values.items():
            if not is_number(value):
                raise UserError(f"{self.folder}/{name}: {measure} is {value!r}, not a number; make it again")
        return {measure: float(value) for measure, value in values.items()}

    @property
    def measures(self) -> dict[str, float]:
        """Measure -> value, without the circumstances of measuring."""
        return {name: value for name, value in self.values.items() if name not in CIRCUMSTANCES}

    @cached_property
    def table(self) -> str | None:
        """Rows of `table.csv` or `results.csv` as MLflow's `log_table` writes them; None where there is neither."""
        name = TABLES.get(self.address.head)
        if name is None:
            return None
        import pandas as pd

        # A name may be `NA`, `null` or `2024`.
        frame = pd.read_csv(self.folder / name, dtype=dict.fromkeys(_NAMES, str), keep_default_na=False, na_values=[""])
        text: str = frame.to_json(orient="split", index=False, date_format="iso")
        return text

    @property
    def assumed(self) -> dict[str, str]:
        """Key of a training -> evidence, for values that the paper does not state."""
        return dict(self.manifest["facts"].get("assumed", {}))

    def points(self) -> list[Point]:
        """Measures, cost of the stage and numbers among its facts, as single points at the stage's end."""
        values = {name: self.measures[measure] for name, measure in metric_names(self.measures).items()}
        values["wall_seconds"] = float(self.manifest["wall_seconds"])
        values["peak_memory_mib"] = float(self.manifest["peak_memory_mib"])
        known = self.manifest["facts"] | {name: self.values[name] for name in CIRCUMSTANCES if name in self.values}
        facts = {f"facts/{name}": value for name, value in flatten(known).items() if is_number(value)}
        values |= {name: float(facts[fact]) for name, fact in metric_names(facts).items()}
        return [Point(name, value, self.end, 0) for name, value in values.items()]

    def curves(self) -> list[Point]:
        """The points of `metrics.jsonl`; empty where there is none.

        Raises:
            UserError: a line is not a record.
        """
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        points = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                points += record_points(json.loads(line), end=self.end)
            except json.JSONDecodeError:
                raise UserError(f"{path}:{number}: not JSON; delete the folder {self.folder} and run again") from None
        return points

    def parameters(self) -> dict[str, str]:
        """The flattened spec."""
        return parameters({name: value for name, value in self.manifest["spec"].items() if name != "stage_version"})

    def tags(self, keys: dict[str, str]) -> dict[str, str]:
        """Where the artefact comes from and what `read` needs; all but `content`, rows and parent.

        Args:
            keys: content -> key, of the artefacts known.
        """
        described, spec = self.manifest, self.manifest["spec"]
        inputs = {name: f"{keys.get(content, '')}@{content}" for name, content in described["inputs"].items()}
        tags = {
            "key": self.key,
            "level": "stage",
            "stage": described["stage"],
            "stage_version": str(described["stage_version"]),
            "spec_hash": described["spec_hash"],
            "path": self.folder.as_posix(),
            "created": described["created"],
            "git_commit": described["git_commit"],
            "git_dirty": str(described["git_dirty"]).lower(),
            "host": described["host"],
            "device": described["device"],
            "invocation": described["invocation"],
            "mlflow.source.name": described["stage"],
            "mlflow.source.type": "JOB",
            "mlflow.source.git.commit": described["git_commit"],
        }
        if self.address.head in TABLES:
            # `MlflowClient.load_table` and the pages find tables by this tag.
            tags["mlflow.loggedArtifacts"] = canonical_json([{"path": TABLE, "type": "table"}])
        marks = {f"{ASSUMED}{name}": clip(text, TAG_LIMIT) for name, text in self.assumed.items()}
        return tags | input_tags(inputs) | marks | self._place(spec)

    def _place(self, spec: dict[str, Any]) -> dict[str, str]:
        """Tags of an artefact of one system, or of a measured one; the spec has the last word, the key fills in."""
        at = self.address
        if not (at.system or self.measures):
            return {}
        collection, engine, *_ = *at.rest, "", ""
        place = {"system": at.system, "variant": at.variant, "collection": collection, "engine": ""}
        if at.head in ("indexes", "runs", "evaluations"):
            place["engine"] = engine
        place |= {name: str(spec[name]) for name in place if spec.get(name) is not None}
        if at.seed is not None:
            place["seed"] = str(at.seed)
        if self.measures:
            place["metric_names"] = canonical_json(metric_names(self.measures))
            queries = self.values.get("queries", self.manifest["facts"].get("queries"))
            place["queries"] = "" if queries is None else str(int(queries))
        return place

    @contextmanager
    def staged(self, *, limit: int) -> Iterator[Path]:
        """A folder to upload: `config.yaml`, `manifest.json`, `files.json`, and `outputs/` with links to small files.

        Args:
            limit: files of at most this many bytes are uploaded; `files.json` lists all of them.
        """
        outputs = self.manifest["outputs"]
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            small = [path for path, entry in outputs.items() if entry["bytes"] <= limit]
            for path in small:
                link = root / "outputs" / path
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to((self.folder / path).resolve(strict=True))
            files = [
                {"path": (self.folder / path).as_posix(), "uploaded": path in small, **entry}
                for path, entry in outputs.items()
            ]
            write_json(root / "files.json", files)
            write_json(root / manifest.NAME, self.manifest)
            write_text(root / "config.yaml", yaml.safe_dump(self.manifest["spec"], sort_keys=True, allow_unicode=True))
            if self.table is not None:
                write_text(root / TABLE, self.table)
            yield root
