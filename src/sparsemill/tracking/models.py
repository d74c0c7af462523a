"""Trained retrievers as models of MLflow: `mlflow models serve` and `mlflow.pyfunc.load_model` open them."""

import tempfile
import warnings
from pathlib import Path
from typing import Any

from sparsemill.tracking.artefacts import Artefact
from sparsemill.tracking.store import Store

CODE = Path(__file__).with_name("pyfunc_model.py")
TAG = "model_id"
"""Tag of a training's run: the MLflow model that it logged."""

_FOLDER = "model"
_PACKAGES = ("sentence-transformers", "transformers", "torch")
_EXAMPLE = {"text": ["shortest path in a graph", "Return the shortest path."], "kind": ["query", "document"]}


def is_model(artefact: Artefact) -> bool:
    """Whether the artefact holds a folder that `SparseEncoder` opens."""
    return (
        artefact.address.head in ("models", "pretrained") and f"{_FOLDER}/modules.json" in artefact.manifest["outputs"]
    )


def write_model(artefact: Artefact, target: Path, *, limit: int) -> None:
    """Write an MLflow model with signature and example; nothing is pickled.

    Args:
        artefact: see `is_model`.
        target: folder to make.
        limit: the retriever's files are copied into it if each has at most so many bytes; otherwise the model holds
            their path and hashes, so that large files are not there twice.
    """
    import mlflow.pyfunc
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Map

    outputs = artefact.manifest["outputs"]
    files = {name: entry for name, entry in outputs.items() if Path(name).parts[0] == _FOLDER}
    folder = artefact.folder / _FOLDER
    place: dict[str, Any] = {"artifacts": {_FOLDER: str(folder)}}
    if any(entry["bytes"] > limit for entry in files.values()):
        hashes = {Path(name).relative_to(_FOLDER).as_posix(): entry["sha256"] for name, entry in files.items()}
        origin = f"{artefact.manifest['host']}:{folder.absolute()}"
        place = {"model_config": {"folder": str(folder.absolute()), "origin": origin, "sha256": hashes}}
    text = DataType.string
    signature = ModelSignature(
        inputs=Schema([ColSpec(text, "text"), ColSpec(text, "kind")]),
        outputs=Schema([ColSpec(Map(DataType.double), "weights")]),
    )
    # It would rather infer the signature from type hints, and sets filters of its own.
    with warnings.catch_warnings(record=True):
        mlflow.pyfunc.save_model(
            path=str(target),
            python_model=str(CODE),
            signature=signature,
            input_example=pd.DataFrame(_EXAMPLE),
            pip_requirements=_requirements(artefact.manifest["versions"]),
            **place,
        )


def _requirements(versions: dict[str, str]) -> list[str]:
    """The versions that trained the model; a build's local part (`+cpu`) is on no index."""
    known = [f"{name}=={versions[name].split('+')[0]}" for name in _PACKAGES if name in versions]
    return ["mlflow", "pandas", *known]


def log_model(store: Store, run: Any, artefact: Artefact, *, limit: int) -> str:
    """Log the retriever of a training's run, once, and return its model id; one that was cut off is completed."""
    from mlflow.entities import LoggedModelOutput

    run_id, known = run.info.run_id, run.data.tags.get(TAG)
    if known is not None:
        return str(known)
    at = artefact.address
    name = (at.system_name if at.system else at.run_name).replace(".", "_").replace("/", " ")
    spec_hash = {"spec_hash": artefact.manifest["spec_hash"], "content": artefact.content}
    experiment = run.info.experiment_id
    begun = store.client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'")
    model = (
        begun[0]
        if begun
        else store.client.create_logged_model(
            experiment, name=name, source_run_id=run_id, tags=spec_hash, model_type="SparseEncoder"
        )
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / _FOLDER
        write_model(artefact, folder, limit=limit)
        store.client.log_model_artifacts(model.model_id, str(folder))
    store.client.finalize_logged_model(model.model_id, "READY")
    store.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    store.client.set_tag(run_id, TAG, model.model_id)
    return str(model.model_id)


def usage(tracking_uri: str, model_id: str) -> str:
    """Markdown: how to encode with a logged model."""
    return f"""\
```python
import mlflow, pandas
mlflow.set_tracking_uri("{tracking_uri}")
retriever = mlflow.pyfunc.load_model("models:/{model_id}")
texts = pandas.DataFrame({{"text": ["shortest path"], "kind": ["query"]}})  # or "document"
print(retriever.predict(texts)["weights"][0])
```
As a server: `MLFLOW_TRACKING_URI={tracking_uri} mlflow models serve -m models:/{model_id} --env-manager local`"""
