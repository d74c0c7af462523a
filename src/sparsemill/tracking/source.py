"""What tables are built from where only the store is there: measures from runs, per-query values from their files."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsemill import manifest
from sparsemill.errors import UserError
from sparsemill.tables.tidy import to_frame
from sparsemill.tracking.read import records
from sparsemill.tracking.runs import Index, search
from sparsemill.tracking.store import NAME, Store, failure, fetch, open_store

if TYPE_CHECKING:
    import pandas as pd

PER_QUERY = "per_query.parquet"


@contextmanager
def opened(store_folder: Path) -> Iterator[Store]:
    """The store, for reading; here nothing goes on without it.

    Raises:
        UserError: it is out of reach, or a request fails.
    """
    try:
        yield open_store(store_folder, moved=True)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{store_folder / NAME}: cannot read the tracking store: {failure(error)}") from error


def measured_runs(store: Store, experiment: str, keys: Iterable[str]) -> list[Any]:
    """The current runs of measured artefacts.

    Raises:
        UserError: one is not published; it names the first.
    """
    wanted = sorted(keys)
    runs = Index.of(search(store, experiment)).complete
    missing = [key for key in wanted if key not in runs or "metric_names" not in runs[key].data.tags]
    if missing:
        raise UserError(
            f"MLflow experiment {experiment!r} lacks {len(missing)} of {len(wanted)} results, for example "
            f"{missing[0]}; publish them where they were made"
        )
    return [runs[key] for key in wanted]


def measured_frame(store: Store, experiment: str, keys: Iterable[str]) -> "pd.DataFrame":
    """The tidy frame of measured artefacts, from their runs' metrics and tags.

    Raises:
        UserError: as `measured_runs`.
    """
    return to_frame(record for run in measured_runs(store, experiment, keys) for record in records(run))


def fetch_evaluations(store: Store, experiment: str, keys: Sequence[str], into: Path) -> list[Path]:
    """Download the manifests and per-query values of evaluations; returns a folder for each, below `into`.

    Raises:
        UserError: as `measured_runs`, or an evaluation's files are not in the store.
    """
    folders = []
    for number, run in enumerate(measured_runs(store, experiment, keys)):
        folder = into / str(number)
        folder.mkdir(parents=True)
        try:
            for name in (manifest.NAME, f"outputs/{PER_QUERY}"):
                fetch(store, run, name, folder)
        except Exception as error:
            raise UserError(
                f"{run.data.tags['key']}: the store does not give its per-query values ({failure(error)}); tests need "
                "them: publish with a larger `tracking.upload_mib`, or bring the store's files"
            ) from error
        folders.append(folder)
    return folders
