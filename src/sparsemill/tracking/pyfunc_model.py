"""A retriever as MLflow loads it: texts in, token weights out.

MLflow copies this file beside the model and runs the copy (models from code), so that it imports nothing of this
package: sentence-transformers is enough.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd


def model_folder(context: Any) -> Path:
    """Where the retriever's files are: uploaded with the model, or, where they were too large, as logged by path.

    Raises:
        FileNotFoundError: a file is missing, or is another one than that which was logged.
    """
    if "model" in (context.artifacts or {}):
        return Path(context.artifacts["model"])
    logged = context.model_config
    folder = Path(os.environ.get("SPARSEMILL_MODEL", logged["folder"]))
    for name, sha256 in logged["sha256"].items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; set SPARSEMILL_MODEL to a copy of {logged['origin']}")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise FileNotFoundError(f"{path} was written anew after this model was logged; load the newer one")
    return folder


class SparseRetriever(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is untyped
    """Encodes queries and documents with a `SparseEncoder`."""

    def load_context(self, context: Any) -> None:
        """Load the encoder."""
        from sentence_transformers.sparse_encoder import SparseEncoder

        self._encoder = SparseEncoder(str(model_folder(context)))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002 (MLflow's; it takes hints for a schema)
        """Token weights of texts.

        Args:
            context: not used; the model is loaded already.
            model_input: a data frame with `text` and `kind` (`query` or `document`).
            params: none are known.

        Returns:
            A data frame with one column, `weights`: token -> weight, strongest first.

        Raises:
            ValueError: another kind.
        """
        kinds, texts = model_input["kind"].tolist(), model_input["text"].tolist()
        weights: list[dict[str, float]] = [{} for _ in texts]
        encoders = {"query": self._encoder.encode_query, "document": self._encoder.encode_document}
        for kind in dict.fromkeys(kinds):
            if kind not in encoders:
                raise ValueError(f"kind {kind!r}: give query or document")
            rows = [row for row, one in enumerate(kinds) if one == kind]
            decoded = self._encoder.decode(encoders[kind]([texts[row] for row in rows]))
            for row, pairs in zip(rows, decoded, strict=True):
                weights[row] = dict(pairs)
        return pd.DataFrame({"weights": weights}, index=model_input.index)


mlflow.models.set_model(SparseRetriever())
