"""Mirror artefact folders into MLflow: every artefact a run, every (system, variant) a parent run.

A run is known by its tags `key` and `content`. The same pair again writes nothing; another content for a key makes a
new run, and the old one keeps its place with a tag `superseded_by`. A run counts as published once `content` holds the
artefact's hash, which is written last: what was cut off, or streamed live by a training, is completed the next time.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sparsemill.errors import UserError
from sparsemill.tracking.lineage import read_artefacts
from sparsemill.tracking.publisher import Publisher, Receipt
from sparsemill.tracking.settings import Settings
from sparsemill.tracking.store import failure, open_store

logger = logging.getLogger("sparsemill.tracking")


class Publication(NamedTuple):
    """What was published.

    Attributes:
        runs: key -> receipt.
        pending: keys that are not in the store, because it failed.
        reason: the last failure; empty if there was none.
    """

    runs: dict[str, Receipt]
    pending: list[str]
    reason: str

    def as_json(self) -> dict[str, Any]:
        """Content of `receipts.json`."""
        runs = {key: receipt._asdict() for key, receipt in self.runs.items()}
        return {"runs": runs, "pending": self.pending, "reason": self.reason}


def publish(folders: Sequence[Path], store_folder: Path, spec: dict[str, Any]) -> Publication:
    """Publish artefact folders; a tracking failure is one warning and leaves the rest pending.

    Args:
        folders: artefacts, in any order.
        store_folder: holds `store.json`.
        spec: see `Settings`.

    Raises:
        UserError: a malformed spec or artefact.
    """
    settings = Settings.read(spec)
    artefacts = read_artefacts(folders)
    publisher = None
    try:
        store = open_store(store_folder)
        publisher = Publisher(store, settings, artefacts)
        publisher.publish()
        reason = publisher.reason
    except UserError:
        raise
    except Exception as error:
        logger.info("tracking failed", exc_info=True)
        reason = failure(error)
    runs = publisher.receipts if publisher else {}
    pending = sorted({artefact.key for artefact in artefacts} - runs.keys())
    if reason:
        lacking = f"{len(pending)} of {len(artefacts)} artefacts are" if pending else "what sums up the artefacts is"
        logger.warning("tracking: %s not in MLflow (%s); the next publish catches up", lacking, reason)
    return Publication(dict(sorted(runs.items())), pending, reason)
