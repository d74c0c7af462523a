"""Stages' command lines, called in the process of the test."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparsemill.job import Job, main


def write(job: Job) -> None:
    (job.out / "sub").mkdir()
    (job.out / "sub" / "file.txt").write_text(job.spec.get("text", "hello"))
    job.facts["lines"] = 1


def failing(error: BaseException) -> Callable[[Job], None]:
    def run(job: Job) -> None:
        write(job)
        job.state.mkdir(parents=True, exist_ok=True)
        raise error

    return run


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Lines on standard error, but for those that say which stage starts."""
    return [line for line in capsys.readouterr().err.splitlines() if not line.startswith("> ")]


def call(folder: Path, run: Callable[[Job], None] = write, *more: str, spec: Any = None) -> int:
    arguments = ["--spec", json.dumps(spec or {}), "--out", str(folder / "out"), "--key", "outs/a", *more]
    return main("make_out", run, argv=arguments)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
