"""What tables are built from where only the store is there: measures from runs, per-query values from their files."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsemill import manifest
from sparsemill.errors import UserError
from sparsemill.tables.tidy import to_frame
from sparsemill.tracking.input_tags import inputs_of
from sparsemill.tracking.names import SHARED
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


def measured_runs(
    store: Store, experiment: str, keys: Mapping[str, str | None], *, above: Collection[str] | None = None
) -> list[Any]:
    """The current runs of measured artefacts.

    Args:
        store: an open store.
        experiment: its name.
        keys: key -> the hash that its spec must have (None: any).
        above: hashes that the specs of what they were made from must have, collections left out (None: any).

    Raises:
        UserError: one is not published, or by other settings; it names the first.
    """
    wanted = sorted(keys)
    found = list(search(store, experiment))
    runs = Index.of(found).complete
    missing = [key for key in wanted if key not in runs or "metric_names" not in runs[key].data.tags]
    if missing:
        raise UserError(
            f"MLflow experiment {experiment!r} lacks {len(missing)} of {len(wanted)} results, for example "
            f"{missing[0]}; publish them where they were made"
        )
    made = _by_content([*found, *(search(store, SHARED) if experiment != SHARED else [])])
    others = {
        key: other for key in wanted if (other := _other_settings(runs[key], made, spec_hash=keys[key], above=above))
    }
    if others:
        key, other = next(iter(others.items()))
        raise UserError(
            f"MLflow experiment {experiment!r} has {len(others)} of {len(wanted)} results by other settings than this "
            f"config's, or by other versions of its stages, for example {key}"
            f"{'' if other == key else f', made from {other}'}; give the config and take the code that they were "
            "published with, or publish by these where they were made"
        )
    return [runs[key] for key in wanted]


def _by_content(runs: list[Any]) -> dict[str, Any]:
    """`KEY@CONTENT` -> its run, superseded ones too, as the tags `inputs` say it."""
    return {f"{run.data.tags['key']}@{run.data.tags.get('content')}": run for run in runs if "key" in run.data.tags}


def _inputs(run: Any) -> list[str]:
    return [place for place in inputs_of(run) if not place.startswith("collections/")]


def _lineage(run: Any, made: Mapping[str, Any]) -> Iterator[Any]:
    """The runs of all that a run's artefact was made from, as far as they are in the store."""
    seen, left = set(), _inputs(run)
    while left:
        place = left.pop()
        if place in made and place not in seen:
            seen.add(place)
            left += _inputs(made[place])
            yield made[place]


def _other_settings(
    run: Any, made: Mapping[str, Any], *, spec_hash: str | None, above: Collection[str] | None
) -> str | None:
    """Key of the run, or of one above it, whose spec is not one that was asked for; None if all are."""
    if spec_hash not in (None, run.data.tags["spec_hash"]):
        return str(run.data.tags["key"])
    lineage = _lineage(run, made) if above is not None else ()
    keys = (str(other.data.tags["key"]) for other in lineage if other.data.tags["spec_hash"] not in (above or ()))
    return next(keys, None)


def measured_frame(
    store: Store, experiment: str, keys: Mapping[str, str | None], *, above: Collection[str] | None = None
) -> "pd.DataFrame":
    """The tidy frame of measured artefacts, from their runs' metrics and tags.

    Raises:
        UserError: as `measured_runs`.
    """
    return to_frame(record for run in measured_runs(store, experiment, keys, above=above) for record in records(run))


def fetch_evaluations(
    store: Store, experiment: str, keys: Mapping[str, str | None], into: Path, *, above: Collection[str] | None = None
) -> list[Path]:
    """Download the manifests and per-query values of evaluations; returns a folder for each, below `into`.

    Raises:
        UserError: as `measured_runs`, or an evaluation's files are not in the store.
    """
    folders = []
    for number, run in enumerate(measured_runs(store, experiment, keys, above=above)):
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
