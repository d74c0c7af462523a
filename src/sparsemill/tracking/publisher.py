"""Writes artefacts as runs into an open store."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from sparsemill.errors import UserError
from sparsemill.files import canonical_json
from sparsemill.tracking.adopt import adopt, log_datasets, upload
from sparsemill.tracking.artefacts import Artefact
from sparsemill.tracking.experiment_note import experiment_note, headline, views
from sparsemill.tracking.lineage import Makers
from sparsemill.tracking.models import TAG as MODEL
from sparsemill.tracking.models import is_model, log_model, usage
from sparsemill.tracking.names import SHARED, experiment_of
from sparsemill.tracking.notes import CONTENT, Link, stage_note, table_rows
from sparsemill.tracking.runs import PARTIAL, Index, later, missing_tags, outdated, same_value, search, write_batch
from sparsemill.tracking.settings import Settings
from sparsemill.tracking.store import KIND, TRAINING, Store, failure
from sparsemill.tracking.systems import TRAIN, describe_system, stages_of

logger = logging.getLogger("sparsemill.tracking")

_PARENT = "mlflow.parentRunId"
_LIMIT = "upload_mib"
"""Tag: the largest file that was uploaded with the run."""
_FAILURES = 3


class Receipt(NamedTuple):
    """A published run."""

    content: str
    run_id: str


class Publisher:
    """Publishes artefacts into an open store.

    Attributes:
        receipts: key -> receipt, of what is in the store.
        reason: the last failure; empty if there was none.
    """

    def __init__(self, store: Store, settings: Settings, artefacts: Sequence[Artefact]) -> None:
        self.store, self.settings, self.artefacts = store, settings, artefacts
        self.receipts: dict[str, Receipt] = {}
        self.reason = ""
        self._makers = Makers(artefacts)
        self._parents: dict[str, Any] = {}
        self._limit = int(settings.upload_mib * 2**20)
        self._metrics: dict[str, None] = {}
        self._failures = 0
        self._written = False
        self._index: dict[str, Index] = {}
        self._search()

    def publish(self) -> None:
        """Publish all: stages in the order of their inputs, then what parents say of their children."""
        for artefact in self.artefacts:
            self._attempt(partial(self._publish, artefact))
        if self._written:
            self._attempt(self._search)
        groups = {artefact.address.parent_key: artefact for artefact in self.artefacts if artefact.address.system}
        for _, artefact in sorted(groups.items()):
            self._attempt(partial(self._describe, artefact))
        self._attempt(self._describe_experiment)

    def _attempt(self, action: Callable[[], None]) -> None:
        """Artefacts that MLflow refuses do not keep back the others; a store that is gone is given up."""
        if self._failures >= _FAILURES:
            return
        try:
            action()
            if self._failures:
                # What is published already asked nothing of the store, which may be gone.
                self.store.client.get_experiment_by_name(self.settings.experiment)
                self._failures = 0
        except UserError:
            raise
        except Exception as error:
            logger.info("tracking failed", exc_info=True)
            self._failures += 1
            self.reason = failure(error)

    def _search(self) -> None:
        names = {self.settings.experiment, SHARED}
        self._index = {name: Index.of(search(self.store, name)) for name in sorted(names)}

    def _experiment(self, artefact: Artefact) -> str:
        return experiment_of(artefact.address, self.settings.experiment)

    # --- stages --------------------------------------------------------------------------------------------------

    def _publish(self, artefact: Artefact) -> None:
        index = self._index[self._experiment(artefact)]
        parent = self._parent(artefact)
        old = index.complete.get(artefact.key)
        if old is not None and old.data.tags["content"] == artefact.content:
            self._refresh(old, artefact, parent)
            run_id = old.info.run_id
        else:
            run_id = self._new(artefact, old, parent)
        self.receipts[artefact.key] = Receipt(artefact.content, run_id)

    def _tags(self, artefact: Artefact, run: Any, parent: Any) -> dict[str, str]:
        rows = self.settings.rows.get(artefact.address.system, [])
        sources = self._makers.inputs(artefact)
        keys = {source.content: source.key for source in sources}
        tags = artefact.tags(keys) | {_LIMIT: f"{self.settings.upload_mib:g}"}
        above = None
        if parent is not None:
            above = Link(artefact.address.system_name, parent.info.experiment_id, parent.info.run_id)
            tags |= {_PARENT: parent.info.run_id, "rows": canonical_json(rows)} | self._sweeps(artefact)
        links = [
            Link(source.key, self.store.experiment(self._experiment(source)), self.receipts[source.key].run_id)
            for source in sources
            if source.key in self.receipts
        ]
        use = ""
        if is_model(artefact):
            model = log_model(self.store, run, artefact, limit=self._limit)
            use, tags[MODEL] = usage(self.store.client.tracking_uri, model), model
        systems = table_rows(artefact, self.settings.rows, self._parents)
        note = stage_note(artefact, parent=above, inputs=sorted(set(links)), rows=rows, use=use, systems=systems)
        return tags | {CONTENT: note}

    def _sweeps(self, artefact: Artefact) -> dict[str, str]:
        sweeps = self.settings.sweeps_of(artefact.address.system)
        return {"sweeps": sweeps} if sweeps else {}

    def _tables(self) -> dict[str, Link]:
        """Table -> its run."""
        experiment = self.store.experiment(self.settings.experiment)
        return {
            other.address.rest[0]: Link("", experiment, self.receipts[other.key].run_id)
            for other in self.artefacts
            if other.address.head == "tables" and other.key in self.receipts
        }

    def _refresh(self, run: Any, artefact: Artefact, parent: Any) -> None:
        """Of an artefact that is published already: what a repeated stage with the same outputs says anew."""
        tags = self._tags(artefact, run, parent)
        points = [p for p in artefact.points() if not same_value(run.data.metrics.get(p.name), p.value)]
        changed = missing_tags(run, tags)
        self._rename(run, artefact)
        if not changed.keys().isdisjoint(("created", _LIMIT)):
            upload(self.store, run.info.run_id, artefact, limit=self._limit)
        if points or changed:
            self._written = True
            write_batch(self.store, run.info.run_id, points=[*later(self.store, run, points)], tags=changed)
        self._supersede_others(artefact, run.info.run_id)

    def _new(self, artefact: Artefact, old: Any, parent: Any) -> str:
        """Create or complete the run of an artefact; `content` comes last."""
        self._written = True
        name = self._experiment(artefact)
        draft, points = adopt(self.store, artefact, self._index[name].drafts.get(artefact.key, []))
        run = draft or self._create(name, artefact.address.run_name, artefact.start, artefact.key)
        run_id: str = run.info.run_id
        tags = self._tags(artefact, run, parent)
        if old is not None:
            tags |= {"supersedes": old.info.run_id}
        self._rename(run, artefact)
        write_batch(self.store, run_id, points=points, parameters=artefact.parameters(), tags=tags)
        log_datasets(self.store, run_id, artefact, self._makers)
        upload(self.store, run_id, artefact, limit=self._limit)
        if old is not None:
            self._supersede(old, run_id)
        self._supersede_others(artefact, run_id)
        self.store.client.set_terminated(run_id, "FINISHED", artefact.end)
        self.store.client.set_tag(run_id, "content", artefact.content)
        return run_id

    def _rename(self, run: Any, artefact: Artefact) -> None:
        if run.info.run_name != artefact.address.run_name:
            self.store.client.update_run(run.info.run_id, name=artefact.address.run_name)

    def _create(self, experiment: str, name: str, start: int, key: str) -> Any:
        return self.store.client.create_run(
            self.store.experiment(experiment), start_time=start, run_name=name, tags={"key": key, "content": PARTIAL}
        )

    def _supersede_others(self, artefact: Artefact, run_id: str) -> None:
        """Of an artefact that has its run: what other trainings of it streamed."""
        for draft in self._index[self._experiment(artefact)].drafts.get(artefact.key, []):
            if draft.info.run_id != run_id:
                self._supersede(draft, run_id)

    def _supersede(self, old: Any, run_id: str) -> None:
        self.store.client.set_tag(old.info.run_id, "superseded_by", run_id)
        status = "KILLED" if old.info.status == "RUNNING" else None
        self.store.client.update_run(old.info.run_id, status=status, name=f"{old.info.run_name} (superseded)")

    # --- parents -------------------------------------------------------------------------------------------------

    def _parent(self, artefact: Artefact) -> Any:
        """The parent run of a stage; a new one when a stage below the old one changed."""
        key = artefact.address.parent_key
        if not key or key in self._parents:
            return self._parents.get(key)
        index = self._index[self.settings.experiment]
        group = [other for other in self.artefacts if other.address.parent_key == key]
        stages = [(index.complete.get(other.key), other.content) for other in group]
        changed = any(run is not None and run.data.tags["content"] != content for run, content in stages)
        old = index.complete.get(key)
        if old is None or changed:
            drafts = index.drafts.get(key, [])
            start = min(other.start for other in group)
            run = (
                drafts[0]
                if drafts
                else self._create(self.settings.experiment, artefact.address.system_name, start, key)
            )
            self._written = True
            if old is not None:
                self.store.client.set_tag(run.info.run_id, "supersedes", old.info.run_id)
                self._supersede(old, run.info.run_id)
        else:
            run = old
        self._parents[key] = run
        return run

    def _describe(self, artefact: Artefact) -> None:
        """Write to a parent what its stages found, as far as it does not say so yet.

        What another study left there counts until what it was made from is made anew.
        """
        at = artefact.address
        parent = self._parents[at.parent_key]
        run_id = parent.info.run_id
        complete = self._index[self.settings.experiment].complete
        known: dict[str, bool] = {}
        stages = [
            run
            for run in stages_of(complete.values(), at)
            if run.data.tags["key"] in self.receipts or not outdated(run, complete, known)
        ]
        if not stages:
            return
        for run in stages:
            if run.data.tags.get(_PARENT) != run_id:
                self.store.client.set_tag(run.info.run_id, _PARENT, run_id)
        rows = self.settings.rows.get(at.system, [])
        model = f"models/{at.system}/{at.variant}"
        trained = [point for other in self.artefacts if other.key == model for point in other.curves()]
        engine = self.settings.engines.get(at.system, "")
        system = describe_system(at, stages, engine=engine, rows=rows, tables=self._tables(), curves=trained)
        system.tags.update(self._sweeps(artefact))
        # Of a curve MLflow gives the last point.
        last = {point.name: point.value for point in system.points}
        changed = {name for name, value in last.items() if not same_value(parent.data.metrics.get(name), value)}
        curves = [point for point in system.points if point.name in changed and point.name.startswith(TRAIN)]
        single = [point for point in system.points if point.name in changed and not point.name.startswith(TRAIN)]
        points = [*later(self.store, parent, single), *curves]
        parameters = {name: value for name, value in system.parameters.items() if name not in parent.data.params}
        tags = missing_tags(parent, system.tags)
        if points or parameters or tags:
            self.store.client.set_terminated(run_id, "FINISHED", system.end)
            write_batch(self.store, run_id, points=points, parameters=parameters, tags=tags)
        self.receipts[at.parent_key] = Receipt(system.tags["content"], run_id)
        self._metrics.update(dict.fromkeys(point.name for point in system.points if not point.name.startswith(TRAIN)))

    def _describe_experiment(self) -> None:
        """Say at the top of the experiment where to click."""
        identifier = self.store.experiment(self.settings.experiment)
        sweeps = sorted(self.settings.sweeps)
        metrics = sorted(self._metrics)
        evaluated = [other.manifest["spec"] for other in self.artefacts if other.address.head == "evaluations"]
        measure = headline([name for spec in evaluated for name in spec.get("measures", [])])
        note = experiment_note(identifier, metrics=metrics, sweeps=sweeps, tables=self._tables(), measure=measure)
        known = self.store.client.get_experiment(identifier).tags
        for name, text in {KIND: TRAINING, CONTENT: note, **views(metrics, sweeps=sweeps, measure=measure)}.items():
            if known.get(name) != text:
                self.store.client.set_experiment_tag(identifier, name, text)
