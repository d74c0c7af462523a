"""Embeddings of siamese teachers: dense and sparse ones behind one protocol, and BM25."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import TypeAdapter
from scipy import sparse

from sparsemill.data.collection import Document
from sparsemill.study.models import Bm25Teacher, DenseTeacher, SparseTeacher, Teacher
from sparsemill.teachers.blocks import blocks, kept
from sparsemill.teachers.cache import Matrix

BLOCK = 32_768
"""Texts encoded, and kept for a resumed run, at once."""
_NOT_TEACHER = {"device", "shard", "shards", "stage_version", "queries", "head", "trust_remote_code"}


class Siamese(Protocol):
    """Encodes queries and documents apart; the dot product of two rows is the teacher's score."""

    device: str

    def encode_queries(self, texts: Sequence[str], *, label: str) -> Any:
        """[texts, dimensions], float32, an array or CSR."""
        ...

    def encode_documents(self, texts: Sequence[str], *, label: str) -> Any:
        """[texts, dimensions], likewise."""
        ...


class Embedded(NamedTuple):
    """Blocks of rows of queries and documents, dense or CSR, float32, and where they were computed."""

    queries: list[Matrix]
    documents: list[Matrix]
    device: str


def embed_bm25(
    spec: dict[str, Any], queries: Sequence[str], documents: Callable[[], Iterable[Document]], *, total: int
) -> Embedded:
    """Embed texts with the BM25 that the spec describes; a field's terms are columns of their own.

    Args:
        spec: as for `embed`.
        queries: texts.
        documents: gives those of the whole collection, whose statistics BM25 needs; called for each field.
        total: how many there are.

    Returns:
        CSR [queries, terms] and [documents, terms], one block each, whose dot products are Lucene's scores.
    """
    from sparsemill.retrieval.bm25_vectors import build_bm25_vectors
    from sparsemill.retrieval.lucene_bm25 import FIELDS

    teacher: Bm25Teacher = _teacher(spec)
    texts = FIELDS[teacher.fields]
    build = partial(build_bm25_vectors, total=total, k1=teacher.k1, b=teacher.b, analyzer=teacher.analyzer)
    fields = [build(texts(document)[name] for document in documents()) for name in texts(Document("", "", ""))]
    asked = sparse.hstack([field.encode_queries(queries) for field in fields], format="csr")
    return Embedded([asked], [sparse.hstack([field.documents for field in fields], format="csr")], "cpu")


def _teacher(spec: dict[str, Any]) -> Any:
    adapter: TypeAdapter[Any] = TypeAdapter(Teacher)
    return adapter.validate_python({key: value for key, value in spec.items() if key not in _NOT_TEACHER})


def open_encoder(spec: dict[str, Any], teacher: DenseTeacher | SparseTeacher, model: Path | None) -> Siamese:
    """The encoder of a neural teacher.

    Args:
        spec: holds `device`, and for an experiment `queries` and what else `ExperimentEncoder` is told.
        teacher: its config.
        model: folder of the experiment's model.
    """
    from sparsemill.device import choose_device, choose_precision

    device = choose_device(spec["device"])
    teacher = teacher.model_copy(update={"precision": choose_precision(teacher.precision, device=device)})
    if isinstance(teacher, DenseTeacher):
        from sparsemill.teachers.dense import DenseEncoder

        return DenseEncoder(teacher, device=device)
    from sparsemill.teachers.sparse import ExperimentEncoder, SpladeEncoder

    if teacher.experiment is None or model is None:
        return SpladeEncoder(teacher, device=device)
    options = {key: spec[key] for key in ("head", "trust_remote_code") if key in spec}
    return ExperimentEncoder(teacher, model, queries=spec["queries"], device=device, **options)


def embed(
    spec: dict[str, Any],
    queries: Iterable[str],
    documents: Iterable[str],
    *,
    label: str,
    state: Path,
    model: Path | None = None,
) -> Embedded:
    """Embed texts with the dense or sparse teacher that the spec describes, block by block.

    Args:
        spec: a teacher's config, with `device`, `shard`, `shards` and `stage_version` beside it.
        queries, documents: texts, read once; documents are title and text.
        label: of the progress lines.
        state: keeps finished blocks for a resumed run; belongs to this spec and these texts.
        model: folder of the experiment's model, for `experiment`.

    Returns:
        Blocks of [queries, d] and [documents, d], at least one each, whose dot products are the teacher's scores.
    """
    encoder = open_encoder(spec, _teacher(spec), model)

    def encoded(side: str, texts: Iterable[str], encode: Callable[..., Any]) -> list[Matrix]:
        found = []
        for number, block in enumerate(blocks(texts, BLOCK)):
            make = partial(encode, block, label=f"{label} {side}")
            found.append(kept(state, f"{side}-{number:06d}", make))
        return found or [encode([], label=label)]

    return Embedded(
        encoded("queries", queries, encoder.encode_queries),
        encoded("documents", documents, encoder.encode_documents),
        encoder.device,
    )
