"""`manifest.json`: what every artefact says of itself."""

import os
import platform
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from sparsemill.files import canonical_json, file_hash, read_json, text_hash, write_json

NAME = "manifest.json"
CURVES = "metrics.jsonl"
"""The record of a training; it holds the time of day and the machine's load, so that `content` leaves it out."""

_PACKAGES = ("torch", "transformers", "sentence-transformers", "numpy", "pyserini", "ir-measures", "snakemake")


@cache
def git_state() -> tuple[str, bool]:
    """The commit of the working folder and whether it has uncommitted changes; ("unknown", True) outside git."""

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _peak_mib() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (2**20 if sys.platform == "darwin" else 2**10))


def build(
    folder: Path,
    *,
    stage: str,
    key: str,
    spec: dict[str, Any],
    inputs: dict[str, str],
    facts: dict[str, Any],
    started: float,
    device: str = "cpu",
) -> dict[str, Any]:
    """Describe the finished artefact in `folder`.

    Args:
        folder: holds every output of the stage; each file is hashed.
        stage: the rule's name.
        key: readable path of the artefact below `results/`.
        spec: the stage's slice of the resolved config, with its `stage_version`.
        inputs: name of the input -> the `content` of its manifest, or a file's SHA-256.
        facts: what the stage found out (counts, sizes), plain JSON values.
        started: `time.time()` at the start of the stage.
        device: where the stage computed, for example `cpu`.
    """
    commit, dirty = git_state()
    outputs = {
        path.relative_to(folder).as_posix(): {"sha256": file_hash(path), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / NAME
    }
    spec_hash = text_hash(canonical_json(spec))
    hashes = {name: out["sha256"] for name, out in outputs.items() if name != CURVES}
    content = text_hash(canonical_json([spec_hash, hashes]))
    return {
        "stage": stage,
        "key": key,
        "content": content,
        "spec": spec,
        "spec_hash": spec_hash,
        "stage_version": spec.get("stage_version"),
        "seed": spec.get("seed"),
        "inputs": inputs,
        "outputs": outputs,
        "facts": facts,
        "git_commit": commit,
        "git_dirty": dirty,
        "host": platform.node(),
        "device": device,
        "versions": _versions(),
        "created": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "wall_seconds": round(time.time() - started, 3),
        "peak_memory_mib": _peak_mib(),
        "invocation": os.environ.get("SPARSEMILL_INVOCATION", ""),
    }


def write(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest into its folder."""
    write_json(folder / NAME, manifest)


def read(folder: Path) -> dict[str, Any]:
    """Read the manifest of an artefact's folder.

    Raises:
        UserError: there is none.
    """
    manifest: dict[str, Any] = read_json(folder / NAME)
    return manifest
