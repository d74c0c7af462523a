"""What MLflow refuses keeps nothing else back."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from tracked import STORE, World, by_key, publish_all

from sparsemill.tracking.store import open_store


def _refuse(monkeypatch: pytest.MonkeyPatch, refused: list[str]) -> None:
    written = MlflowClient.log_artifacts

    def refuse(self: Any, run_id: str, *rest: Any) -> None:
        if self.get_run(run_id).data.tags["key"] in refused:
            raise ConnectionError("too large")
        written(self, run_id, *rest)

    monkeypatch.setattr(MlflowClient, "log_artifacts", refuse)


def test_what_is_refused_keeps_nothing_else_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = world.build()
    refused = ["collections/pydocs", "models/ours/seed-0", "tables/main"]
    _refuse(monkeypatch, refused)
    assert publish_all(folders).pending == refused
    assert by_key(open_store(STORE))["systems/ours/seed-0"].data.metrics["pydocs.FLOPS"] == 0.1 + 0.2


def test_what_is_refused_again_keeps_nothing_else_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = world.build()
    refused = ["collections/pydocs", "evaluations/ours/seed-0/pydocs/lucene", "models/ours/seed-0"]
    _refuse(monkeypatch, refused)
    assert publish_all(folders).pending == refused
    assert publish_all(folders).pending == refused


def test_an_output_that_is_gone_is_named(world: World) -> None:
    folders = world.build()
    Path("results/models/ours/seed-0/query_weights.json").unlink()
    publication = publish_all(folders)
    assert publication.pending == ["models/ours/seed-0"]
    assert "results/models/ours/seed-0/query_weights.json" in publication.reason
