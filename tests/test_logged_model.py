"""A trained retriever logged into MLflow encodes as it does from its folder."""

import shutil
import time
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from sentence_transformers.sparse_encoder import SparseEncoder
from tiny import WORDS, idf_table, save_language_model
from tracked import SPEC, STORE

from sparsemill import manifest
from sparsemill.files import write_json
from sparsemill.models.encoder import build_encoder, query_weights, save_encoder
from sparsemill.tracking.publish import publish
from sparsemill.tracking.store import create_store, open_store

TEXTS = [f"{WORDS[0]} {WORDS[5]} {WORDS[9]}", WORDS[3], f"{WORDS[7]} {WORDS[8]}"]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model artefact in an empty working folder with a fresh store."""
    monkeypatch.chdir(tmp_path)
    folder = Path("results/models/ours/seed-0")
    backbone = save_language_model(tmp_path / "backbone")
    write_json(tmp_path / "idf.json", idf_table())
    weights = query_weights(backbone, tmp_path / "idf.json")
    save_encoder(build_encoder(backbone, weights, query_length=8, document_length=16), folder, weights)
    described = manifest.build(
        folder, stage="finetune", key="models/ours/seed-0", spec={"steps": 1}, inputs={}, facts={}, started=time.time()
    )
    manifest.write(folder, described)
    create_store(STORE, {"uri": "", "experiments": ["demo"], "root": "results/mlflow"})
    return folder


def encoded(folder: Path) -> list[dict[str, float]]:
    """What sentence-transformers makes of the texts: a query and two documents."""
    encoder = SparseEncoder(str(folder / "model"), device="cpu")
    query, documents = encoder.encode_query(TEXTS[:1]), encoder.encode_document(TEXTS[1:])
    return [dict(pairs) for part in (query, documents) for pairs in encoder.decode(part)]


def loaded(run: Any) -> Any:
    mlflow.set_tracking_uri(open_store(STORE).client.tracking_uri)
    return mlflow.pyfunc.load_model(f"models:/{run.data.tags['model_id']}")


def published(folder: Path, upload_mib: float) -> Any:
    publication = publish([folder], STORE, {**SPEC, "upload_mib": upload_mib})
    assert not publication.pending, publication.reason
    return open_store(STORE).client.get_run(publication.runs["models/ours/seed-0"].run_id)


def test_a_small_model_is_uploaded_and_encodes_without_its_folder(trained: Path) -> None:
    expected = encoded(trained)
    run = published(trained, 5)
    again = published(trained, 5)
    assert again.data.tags["model_id"] == run.data.tags["model_id"]
    shutil.rmtree(trained)
    model = loaded(run)
    frame = pd.DataFrame({"text": TEXTS, "kind": ["query", "document", "document"]})
    for found, wanted in zip(model.predict(frame)["weights"], expected, strict=True):
        assert wanted
        assert found == pytest.approx(wanted, rel=1e-5)
    assert model.metadata.get_input_schema().input_names() == ["text", "kind"]
    assert model.input_example["kind"].tolist() == ["query", "document"]
    # The snippet in the run's note works by copy and paste.
    snippet = run.data.tags["mlflow.note.content"].split("```python\n")[1].split("```")[0]
    exec(compile(snippet, "note", "exec"), {})
    with pytest.raises(Exception, match="give query or document"):
        model.predict(pd.DataFrame({"text": ["a"], "kind": ["passage"]}))


def test_a_model_that_was_cut_off_is_completed(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, "log_model_artifacts", fail)
        assert publish([trained], STORE, {**SPEC, "upload_mib": 5}).reason == "ConnectionError: gone"
    run, store = published(trained, 5), open_store(STORE)
    (model,) = store.client.search_logged_models([*store.experiments.values()])
    assert (model.model_id, str(model.status)) == (run.data.tags["model_id"], "READY")


def test_a_large_model_is_logged_by_path_and_hash(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = encoded(trained)
    run = published(trained, 0.001)
    sizes = {path.name: path.stat().st_size for path in Path("results/mlflow").rglob("outputs/model/**/*.safetensors")}
    assert all(size <= 1049 for size in sizes.values())
    assert not list(Path("results/mlflow").rglob("artifacts/artifacts/model"))
    frame = pd.DataFrame({"text": TEXTS, "kind": ["query", "document", "document"]})
    found = loaded(run).predict(frame)["weights"]
    assert [set(weights) for weights in found] == [set(weights) for weights in expected]
    # Elsewhere a copy of the folder is named; another model in its place is refused.
    shutil.move(trained / "model", "copy")
    with pytest.raises(FileNotFoundError, match="set SPARSEMILL_MODEL to a copy of"):
        loaded(run)
    monkeypatch.setenv("SPARSEMILL_MODEL", str(Path("copy").absolute()))
    assert loaded(run).predict(frame)["weights"][0] == found[0]
    (Path("copy") / "modules.json").write_text("[]")
    with pytest.raises(FileNotFoundError, match="written anew"):
        loaded(run)
