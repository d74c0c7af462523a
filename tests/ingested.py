"""Small indexes in the fake OpenSearch."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from sparsemill.retrieval.clusters import build_cluster, index_name
from sparsemill.retrieval.engine import Statistics
from sparsemill.study.models.engines import OpenSearchEngine

WORDS = ["a.b", '"', "é", "c"]
VECTORS = sparse.csr_matrix(
    np.array([[1, 0, 0, 0.5], [0, 0, 0, 0], [0, 2, 3, 0], [0, 0, 1, 1]], dtype=np.float32),
)
IDS = ["1", "nothing", "a/b c?*", "é"]
NAME = index_name("test", "indexes/Ours/seed-0/x/os", "one")


def entry(address: str, **keys: Any) -> dict[str, Any]:
    return OpenSearchEngine(kind="opensearch", address=address, retries=3, **keys).model_dump()


def build(
    folder: Path, shards: list[Path], spec: dict[str, Any], *, name: Any = NAME, words: Any = WORDS
) -> Statistics:
    folder.mkdir(exist_ok=True)
    return build_cluster(folder, shards, vocabulary=words, name=name, spec=spec, connection=spec)
