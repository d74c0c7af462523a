"""Embeddings of any siamese teacher behind one protocol: BM25, dense, sparse."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import TypeAdapter

from sparsemill.study.models import Bm25Teacher, DenseTeacher, SparseTeacher, Teacher
from sparsemill.teachers.blocks import blocks, kept
from sparsemill.teachers.cache import Matrix

BLOCK = 32_768
"""Texts encoded, and kept for a resumed run, at once."""
_NOT_TEACHER = {"device", "shard", "shards", "stage_version", "queries", "head"}


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


def _bm25(teacher: Bm25Teacher, queries: Iterable[str], documents: Iterable[str]) -> Embedded:
    from sparsemill.retrieval.bm25_vectors import build_bm25_vectors

    vectors = build_bm25_vectors(list(documents), k1=teacher.k1, b=teacher.b)
    return Embedded([vectors.encode_queries(list(queries))], [vectors.documents], "cpu")


def open_encoder(spec: dict[str, Any], teacher: DenseTeacher | SparseTeacher, model: Path | None) -> Siamese:
    """The encoder of a neural teacher.

    Args:
        spec: holds `device`, and for an experiment `queries` (see `ExperimentEncoder`).
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
    head = spec.get("head", "chunked")
    return ExperimentEncoder(teacher, model, queries=spec["queries"], head=head, device=device)


def embed(
    spec: dict[str, Any],
    queries: Iterable[str],
    documents: Iterable[str],
    *,
    label: str,
    state: Path,
    model: Path | None = None,
) -> Embedded:
    """Embed texts with the teacher that the spec describes, block by block.

    Args:
        spec: a teacher's config, with `device`, `shard`, `shards` and `stage_version` beside it.
        queries, documents: texts, read once; documents are title and text.
        label: of the progress lines.
        state: keeps finished blocks for a resumed run; belongs to this spec and these texts.
        model: folder of the experiment's model, for `experiment`.

    Returns:
        Blocks of [queries, d] and [documents, d], at least one each, whose dot products are the teacher's scores.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(Teacher)
    teacher = adapter.validate_python({key: value for key, value in spec.items() if key not in _NOT_TEACHER})
    if isinstance(teacher, Bm25Teacher):
        return _bm25(teacher, queries, documents)
    encoder = open_encoder(spec, teacher, model)

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
