"""Stream the metrics of a training into MLflow while it runs.

The run carries `content` = `live` until `publish` completes it from the files.
"""

import atexit
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparsemill import manifest
from sparsemill.files import canonical_json, text_hash
from sparsemill.job import Job
from sparsemill.tracking.names import address, experiment_of, parameters
from sparsemill.tracking.points import Point, record_points
from sparsemill.tracking.runs import LIVE, history, write_batch
from sparsemill.tracking.store import NAME, Store, failure, open_store, study_experiment

logger = logging.getLogger("sparsemill.tracking")

_INTERVAL = 2.0
"""Seconds between requests; records wait in between."""


def open_stream(job: Job) -> Callable[[dict[str, float]], None]:
    """Where a training sends its records: to a live run, or nowhere when there is no store or it is out of reach.

    The folder that `SPARSEMILL_STORE` names holds `store.json`; unset or empty: streaming is off. The run is closed
    when the process ends. Of several processes (`torchrun`) only the first one streams.
    """
    store = os.environ.get("SPARSEMILL_STORE")
    if not store or os.environ.get("RANK", "0") != "0":
        return _ignore
    folder = Path(store)
    if not (folder / NAME).exists():
        logger.info("tracking: there is no store yet, so no live curves; publish adds them later")
        return _ignore
    at = address(job.key)
    experiment = experiment_of(at, study_experiment(folder))
    run = LiveRun.start(folder, experiment=experiment, key=job.key, run_name=at.run_name, spec=job.spec)
    if run is None:
        return _ignore
    atexit.register(lambda: run.close("FINISHED" if (job.out / manifest.NAME).exists() else "FAILED"))
    return run.log


def _ignore(record: dict[str, float]) -> None:
    """Where there is no live run."""


class LiveRun:
    """A run that a training streams into; its first failure is one warning, and then it does nothing more."""

    def __init__(self, store: Store, run_id: str, last_step: int) -> None:
        self._store: Store | None = store
        self.run_id, self.last_step = run_id, last_step
        self._waiting: list[Point] = []
        self._written = time.monotonic()

    @classmethod
    def start(
        cls, store_folder: Path, *, experiment: str, key: str, run_name: str, spec: dict[str, Any]
    ) -> "LiveRun | None":
        """Start the live run of an artefact, or go on with the one that a killed training left.

        Args:
            store_folder: holds `store.json`.
            experiment: MLflow experiment.
            key: key of the artefact that the training will make.
            run_name: how the run is called.
            spec: the stage's spec; a run left by another spec is not continued.

        Returns:
            None, after a warning, when the store is out of reach.
        """
        try:
            return cls._start(open_store(store_folder), experiment, key, run_name, spec)
        except Exception as error:
            _warn(error)
            return None

    @classmethod
    def _start(cls, store: Store, experiment: str, key: str, run_name: str, spec: dict[str, Any]) -> "LiveRun":
        tags = {"key": key, "content": LIVE, "level": "stage", "spec_hash": text_hash(canonical_json(spec))}
        identifier = store.experiment(experiment)
        # Names and keys may hold quotes only by mistake: keys are made of config names.
        wanted = " and ".join(f"tags.{name} = '{value}'" for name, value in tags.items())
        found = store.client.search_runs([identifier], filter_string=wanted, order_by=["attributes.start_time DESC"])
        left = [run for run in found if "superseded_by" not in run.data.tags]
        if left:
            run_id = left[0].info.run_id
            store.client.update_run(run_id, status="RUNNING")
            return cls(store, run_id, max((step for _, step in history(store, left[0])), default=-1))
        run_id = store.client.create_run(identifier, run_name=run_name, tags=tags).info.run_id
        write_batch(store, run_id, parameters=parameters({n: v for n, v in spec.items() if n != "stage_version"}))
        return cls(store, run_id, -1)

    def log(self, record: dict[str, Any]) -> None:
        """Add a record of `metrics.jsonl`; steps that a run before the restart wrote are left out."""
        if self._store is None:
            return
        try:
            if int(record["step"]) > self.last_step:
                self._waiting += record_points(record)
            if time.monotonic() - self._written >= _INTERVAL:
                self._flush(self._store)
        except Exception as error:
            self._disable(error)

    def close(self, status: str = "FINISHED") -> None:
        """Write what waits and set the run's status: FINISHED, FAILED or KILLED."""
        if self._store is None:
            return
        try:
            self._flush(self._store)
            self._store.client.set_terminated(self.run_id, status)
        except Exception as error:
            self._disable(error)

    def _flush(self, store: Store) -> None:
        points, self._waiting = self._waiting, []
        self._written = time.monotonic()
        write_batch(store, self.run_id, points=points)

    def _disable(self, error: Exception) -> None:
        self._store = None
        _warn(error)


def _warn(error: Exception) -> None:
    logger.warning("tracking: live curves are off (%s); publish adds them later", failure(error))
    logger.info("tracking failed", exc_info=True)
