"""Fixtures that several test modules use."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

if not torch.cuda.is_available():
    # Set before anything imports triton: its kernels then run on CPU tensors.
    os.environ.setdefault("TRITON_INTERPRET", "1")

ROOT = Path(__file__).resolve().parent.parent
FIRST = ["test_end_to_end.py", "test_dag.py", "test_reruns.py"]
"""Modules that take minutes: begun last, they would leave the other worker with nothing to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real collections and reference files beside the checkout; tests that need them are skipped without."""
    folder = Path(os.environ.get("SPARSEMILL_SHARED", ROOT.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the real collections at {folder}")
    return folder


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's empty tables; making one takes seconds."""
    from sparsemill.tracking.store import client_of

    path: Path = tmp_path_factory.mktemp("store") / "mlflow.db"
    client_of(f"sqlite:///{path}")
    return path


@pytest.fixture
def world(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A `tracked.World` in an empty working folder with a fresh store."""
    from tracked import STORE, World

    from sparsemill.tracking.store import create_store

    monkeypatch.chdir(tmp_path)
    Path("results/mlflow").mkdir(parents=True)
    shutil.copy(migrated, "results/mlflow/mlflow.db")
    create_store(STORE, {"uri": "", "experiments": ["demo"], "root": "results/mlflow"})
    return World()


@pytest.fixture(scope="module")
def one_thread() -> None:
    """Stages compute on the threads they are given; runs that are compared with them must do the same."""
    torch.set_num_threads(1)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainers of transformers believe that this process sees two GPUs, to share its batches among."""
    from transformers import TrainingArguments

    prepare = TrainingArguments.__post_init__

    def counted(self: TrainingArguments) -> None:
        prepare(self)
        self._n_gpu = 2

    monkeypatch.setattr(TrainingArguments, "__post_init__", counted)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a training of `trained.run` reads: a tiny model, invented texts, candidates and targets."""
    from tiny import write_inputs

    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def whole(one_thread: None, inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of `trained.run`."""
    from trained import run

    folder = tmp_path_factory.mktemp("whole")
    run(inputs, folder)
    return folder


@pytest.fixture(scope="session")
def studies() -> dict[str, Any]:
    """Scale -> all rows of both papers."""
    from paper_recipes import overlay

    overlays = {"demo": "papers_demo", "one-gpu": "papers_one_gpu", "paper": "papers_paper"}
    return {scale: overlay(name) for scale, name in overlays.items()}


@pytest.fixture
def keep_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` sets thread counts; they are put back after each test."""
    from sparsemill.job import _THREADS

    for name in _THREADS:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
