"""The scorer of any teacher that scores candidates only."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from sparsemill.progress import Progress
from sparsemill.study.models import CrossEncoderTeacher, ScoresTeacher, Teacher
from sparsemill.teachers.pair_model import PairModel, TextScorer
from sparsemill.teachers.score import Candidates, Scorer
from sparsemill.teachers.score_files import FileScorer


class Opened(NamedTuple):
    """A scorer, the pairs that it wants at once, and where it computes."""

    scorer: Scorer
    block: int
    device: str


def _pair_model(teacher: Any, trained: Path | None, device: str) -> PairModel:
    if isinstance(teacher, CrossEncoderTeacher):
        from sparsemill.teachers.cross_encoder import CrossEncoder

        return CrossEncoder(teacher, trained=trained, device=device)
    from sparsemill.teachers.monot5 import MonoT5

    return MonoT5(teacher, device=device)


def open_scorer(
    spec: dict[str, Any],
    pairs: Candidates,
    *,
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    texts: Callable[[], tuple[Sequence[str], Sequence[str]]],
    trained: Path | None,
    label: str,
    finished: int = 0,
) -> Opened:
    """Open a teacher that scores candidates only.

    Args:
        spec: holds `scorer`, the teacher's config, and `device`.
        pairs: all pairs that will be scored.
        query_ids, document_ids: of the collection, in its order.
        texts: opens the texts of queries and documents, in that order; called where a model reads them.
        trained: folder of a cross-encoder that the pipeline trained.
        label: of the progress lines.
        finished: blocks that an earlier run has scored.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(Teacher)
    teacher = adapter.validate_python(spec["scorer"])
    if isinstance(teacher, ScoresTeacher):
        scorer = FileScorer(Path(teacher.path), teacher.layout, pairs, query_ids=query_ids, document_ids=document_ids)
        return Opened(scorer, len(pairs.queries) or 1, "cpu")
    from sparsemill.device import choose_device, choose_precision

    device = choose_device(spec["device"])
    teacher = teacher.model_copy(update={"precision": choose_precision(teacher.precision, device=device)})
    progress = Progress(label, len(pairs.queries), unit="pair")
    progress.resume(min(finished * TextScorer.BLOCK, len(pairs.queries)))
    model = _pair_model(teacher, trained, device)
    return Opened(TextScorer(model, *texts(), progress), TextScorer.BLOCK, device)
