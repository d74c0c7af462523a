"""Check that MLflow says what the files say."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsemill import manifest
from sparsemill.errors import UserError
from sparsemill.files import read_json
from sparsemill.tables.tidy import SORT, Record
from sparsemill.tracking.read import read_frame
from sparsemill.tracking.store import failure, open_store

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("sparsemill.tracking")

Render = Callable[["pd.DataFrame", Path], Mapping[str, str]]
"""(tidy frame, folder of a rendered table) -> file name -> the text that belongs into that file."""


def verify(
    *, tidy: Path, store_folder: Path, published: Path, experiment: str, tables: Sequence[Path], render: Render
) -> dict[str, Any]:
    """Compare the tidy frame and the tables with what MLflow's runs give.

    Args:
        tidy: folder of the tidy frame.
        store_folder: holds `store.json`.
        published: holds `receipts.json`.
        experiment: MLflow experiment of the study.
        tables: folders of rendered tables.
        render: renders a table from a frame.

    Returns:
        Content of `equality.json`: `equal` true with what was compared; or null with the reason, after a warning, when
        the store is out of reach.

    Raises:
        UserError: a difference; it names the first.
    """
    receipts = read_json(published / "receipts.json")
    if receipts["pending"]:
        return _unknown(f"{len(receipts['pending'])} artefacts are not published: {receipts['reason']}")
    contents = manifest.read(tidy)["inputs"].values()
    try:
        frame = read_frame(open_store(store_folder), experiment, contents=contents)
    except UserError:
        raise
    except Exception as error:
        logger.info("tracking failed", exc_info=True)
        return _unknown(failure(error))
    rows = compare(_read_tidy(tidy), frame)
    files = [name for folder in tables for name in _compare_table(folder, render(frame, folder))]
    return {"equal": True, "rows": rows, "tables": files}


def _unknown(reason: str) -> dict[str, Any]:
    logger.warning("tracking: not verified (%s)", reason)
    return {"equal": None, "reason": reason}


def _read_tidy(folder: Path) -> "pd.DataFrame":
    import pandas as pd

    return pd.read_parquet(folder / "results.parquet")


def _by_place(frame: "pd.DataFrame") -> dict[tuple[str, ...], Record]:
    """Rows by what makes them one; absent numbers are None."""
    plain = frame.astype(object).where(frame.notna(), None)
    records = [Record(*row) for row in plain[list(Record._fields)].to_numpy().tolist()]
    return {tuple(str(getattr(record, name)) for name in SORT): record for record in records}


def compare(files: "pd.DataFrame", mlflow: "pd.DataFrame") -> int:
    """Compare two tidy frames, values as float64; return the number of rows.

    Raises:
        UserError: a row differs or is in one of them only.
    """
    ours, theirs = _by_place(files), _by_place(mlflow)
    for place in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(place), theirs.get(place)
        if one != other:
            system, collection, variant, engine, measure = place
            raise UserError(
                f"MLflow differs from the files: {measure} of {system} ({variant}) on {collection} {engine}: "
                f"files {_told(one)}, MLflow {_told(other)}; publish again, or delete the store and publish"
            )
    return len(ours)


def _told(record: Record | None) -> str:
    if record is None:
        return "nothing"
    return f"{record.value!r} (queries {record.queries}, seed {record.seed}, {record.source})"


def _compare_table(folder: Path, texts: Mapping[str, str]) -> list[str]:
    for name, text in texts.items():
        path = folder / name
        if path.read_bytes() != text.encode():
            raise UserError(f"{path}: the table rendered from MLflow differs; render and publish again")
    return [(folder / name).as_posix() for name in texts]
