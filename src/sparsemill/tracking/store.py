"""The tracking store: an SQLite database below the results folder, or a tracking server."""

import fcntl
import logging
import os
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sparsemill.errors import UserError
from sparsemill.files import read_json, write_json
from sparsemill.tracking.names import SHARED

logger = logging.getLogger("sparsemill.tracking")

NAME = "store.json"
DATABASE = "mlflow.db"
_SQLITE = "sqlite:///"
_SERVERS = ("http", "https")
_DEFAULT = "0"
"""Id of the experiment that MLflow makes with a store, with a folder of its own."""
_CREDENTIALS = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (a database's driver has its own, as PGPASSWORD)"
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")

# MLflow's defaults wait for minutes on a server that is down; a job must not.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}

KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"
"""Without this tag MLflow's pages open an experiment on traces of language models."""

EXPERIMENT_NOTE = """\
Runs mirror the files of the results folder; this store can be deleted and published again.

* **One retriever, one seed** is a parent run (`ours seed-0`): its headline measures are `COLLECTION.MEASURE` (`_` for \
`@`), its training curves `train/...`; its description links the tables it feeds, its files and its settings.
* Its **stages** are nested below it: training, encoding, index, search, evaluation, each with `config.yaml`, \
`manifest.json` and small files in *Artifacts*; larger files are listed in `files.json` with path, size and sha256.
* Hide what was replaced: `tags.superseded_by IS NULL`. Retrievers only: `tags.level = 'system'`.
"""


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        client: `mlflow.MlflowClient`.
        experiments: name -> id.
        files: folder of the uploaded files, by experiment and run; None on a server, which has its own.
    """

    client: Any
    experiments: dict[str, str]
    files: Path | None = None

    def experiment(self, name: str) -> str:
        """The id of an experiment.

        Raises:
            UserError: the store was not made for it.
        """
        if name not in self.experiments:
            raise UserError(f"tracking store: no experiment {name!r}; it has {', '.join(sorted(self.experiments))}")
        return self.experiments[name]


def check_uri(uri: str) -> None:
    """Refuse what MLflow cannot use and what would leak.

    Raises:
        UserError: an unknown kind of URI, or one that holds a password or token.
    """
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise UserError(f"tracking.uri is no URI: {error}") from None
    if parts.password is not None or "password" in parse_qs(parts.query):
        raise UserError(f"tracking.uri holds a password; remove it and set {_CREDENTIALS}")
    if parts.scheme in _SERVERS and parts.username is not None:
        raise UserError(f"tracking.uri holds a user or a token; remove it and set {_CREDENTIALS}")
    if parts.scheme.split("+")[0] not in (*_SERVERS, *_DATABASES):
        raise UserError(f"tracking.uri {uri!r}: give http(s)://..., a database URI, or nothing for SQLite")


def write_store(folder: Path, *, uri: str, experiments: Iterable[str], root: str) -> Path:
    """Write `store.json` into `folder`: where the store is, without touching it.

    Args:
        folder: the artefact's folder.
        uri: a server, or empty for an SQLite database in `root`.
        experiments: names of the MLflow experiments; the shared one is always there.
        root: folder of the database and the uploaded files, as a user writes it (relative paths stay so).
    """
    uri = uri or f"{_SQLITE}{Path(root).as_posix()}/{DATABASE}"
    check_uri(uri)
    path = folder / NAME
    write_json(path, {"uri": uri, "experiments": sorted({*experiments, SHARED}), "root": Path(root).as_posix()})
    return path


def study_experiment(folder: Path) -> str:
    """The MLflow experiment of the study's own runs, which may be the shared one.

    Raises:
        UserError: `store.json` is missing or broken.
    """
    own = [str(name) for name in read_json(folder / NAME)["experiments"] if name != SHARED]
    return own[0] if own else SHARED


def create_store(folder: Path, spec: dict[str, Any]) -> None:
    """Write `store.json` and create the store; one that is out of reach is a warning.

    Args:
        folder: the artefact's folder.
        spec: `uri`, `experiments` (names), `root`.

    Raises:
        UserError: a malformed spec.
    """
    missing = [name for name in ("uri", "experiments", "root") if name not in spec]
    if missing:
        raise UserError(f"mlflow_init: the spec lacks {', '.join(missing)}")
    write_store(folder, uri=spec["uri"], experiments=spec["experiments"], root=spec["root"])
    try:
        open_store(folder)
    except UserError:
        raise
    except Exception as error:
        logger.info("tracking failed", exc_info=True)
        logger.warning("tracking: the store is out of reach (%s); publish tries again", failure(error))


def failure(error: Exception) -> str:
    """An exception in one line; a server may answer with a page, of which the start will do."""
    return f"{type(error).__name__}: {textwrap.shorten(str(error), 300, placeholder=' ...')}"


def client_of(uri: str) -> Any:
    """An `MlflowClient` for `uri`, with MLflow's telemetry off and its loggers at warnings."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # One warning of ours says that the server is out of reach; retries need no lines of their own.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _ensure_experiment(client: Any, name: str, location: str | None, *, moved: bool) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        tags = {"mlflow.note.content": EXPERIMENT_NOTE, KIND: TRAINING}
        created: str = client.create_experiment(name, artifact_location=location, tags=tags)
        return created
    if location is not None and found.experiment_id == _DEFAULT:
        raise UserError(f"tracking.experiment: MLflow keeps {name!r} for itself; take another name")
    if location is not None and found.artifact_location != location and not moved:
        raise RuntimeError(
            f"experiment {name!r} keeps its files in {found.artifact_location}, not in {location}: the results folder "
            "was moved; `tables_source=mlflow` still reads it, and where the other results are, delete its `mlflow` "
            "folder and publish again"
        )
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    identifier: str = found.experiment_id
    return identifier


def open_store(folder: Path, *, moved: bool = False) -> Store:
    """Open the store that `folder/store.json` names, creating what is missing of it.

    Creating is guarded by a file lock, because processes that migrate a fresh SQLite file together crash.

    Args:
        folder: holds `store.json`.
        moved: a local store may lie elsewhere than where it was made; MLflow would upload to the old place, so that it
            is for reading only.

    Raises:
        UserError: `store.json` is missing or broken, SQLite cannot be told the folder, or MLflow has the experiment.
        Exception: whatever MLflow raises when the store is out of reach.
    """
    described = read_json(folder / NAME)
    root, uri = Path(described["root"]), described["uri"]
    check_uri(uri)
    if uri.startswith(_SQLITE):
        if "?" in str(root.absolute()):
            raise UserError(f"{root.absolute()}: SQLite's address ends at a question mark; rename the folder")
        # MLflow keeps opened databases by URI, so a relative one would outlive a change of the working folder.
        uri = _SQLITE + str(Path(uri.removeprefix(_SQLITE)).absolute())
    files = None if urlsplit(uri).scheme in _SERVERS else (root / "artifacts").resolve()
    with _locked(root):
        client = client_of(uri)
        experiments = {}
        for name in described["experiments"]:
            location = None if files is None else (files / name).as_uri()
            experiments[name] = _ensure_experiment(client, name, location, moved=moved)
    return Store(client, experiments, files)


def fetch(store: Store, run: Any, name: str, into: Path) -> Path:
    """Copy an uploaded file of a run into a folder, under its own name, and return its path there.

    A local store's files are found below its own folder, wherever it was when they were uploaded.
    """
    if store.files is None:
        found = Path(store.client.download_artifacts(run.info.run_id, name, str(into)))
    else:
        experiment = next(key for key, value in store.experiments.items() if value == run.info.experiment_id)
        found = store.files / experiment / run.info.run_id / "artifacts" / name
    return Path(shutil.copy(found, into)) if found.parent != into else found
