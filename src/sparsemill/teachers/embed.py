"""Embeddings of any siamese teacher, dense or BM25, behind one function."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from sparsemill.study.models import Bm25Teacher, DenseTeacher, Teacher


class Embedded(NamedTuple):
    """Rows of queries and documents, dense or CSR, float32, and where they were computed."""

    queries: Any
    documents: Any
    device: str


def _dense(
    teacher: DenseTeacher, queries: Sequence[str], documents: Sequence[str], device: str, label: str
) -> Embedded:
    from sparsemill.device import choose_device
    from sparsemill.teachers.dense import DenseEncoder

    chosen = choose_device(device)
    encoder = DenseEncoder(teacher, device=chosen)
    return Embedded(
        encoder.encode(queries, prompt=teacher.query_prompt, label=f"{label} queries"),
        encoder.encode(documents, prompt=teacher.document_prompt, label=f"{label} documents"),
        chosen,
    )


def _bm25(teacher: Bm25Teacher, queries: Sequence[str], documents: Sequence[str]) -> Embedded:
    from sparsemill.retrieval.bm25_vectors import build_bm25_vectors

    vectors = build_bm25_vectors(documents, k1=teacher.k1, b=teacher.b)
    return Embedded(vectors.encode_queries(queries), vectors.documents, "cpu")


def embed(spec: dict[str, Any], queries: Sequence[str], documents: Sequence[str], *, label: str) -> Embedded:
    """Embed texts with the teacher that the spec describes.

    Args:
        spec: a teacher's config, with `device`, `shard`, `shards` and `stage_version` beside it.
        queries, documents: texts; documents are title and text.
        label: of the progress lines.

    Returns:
        [queries, d] and [documents, d], whose dot products are the teacher's scores.
    """
    extra = {"device", "shard", "shards", "stage_version"}
    adapter: TypeAdapter[Bm25Teacher | DenseTeacher] = TypeAdapter(Teacher)
    teacher = adapter.validate_python({key: value for key, value in spec.items() if key not in extra})
    if isinstance(teacher, DenseTeacher):
        return _dense(teacher, queries, documents, spec["device"], label)
    return _bm25(teacher, queries, documents)
