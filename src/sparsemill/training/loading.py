"""Data, targets and schedule of a recipe, over one training set or over several."""

from collections.abc import Sequence
from pathlib import Path

from torch.utils.data import Dataset

from sparsemill.errors import UserError
from sparsemill.study.models import CrossEncoderTraining, Ensemble, Training
from sparsemill.teachers.cache import load_embeddings
from sparsemill.training.data import CandidateTargets, InBatchTargets, SetData, Targets, TrainingData, load_data
from sparsemill.training.files import SetFiles
from sparsemill.training.mixture import MixtureSchedule, MixtureTargets, draw_sets, join_data, shifts
from sparsemill.training.schedule import Record, Schedule


def load_targets(spec: Training, data: SetData, files: SetFiles, *, ensemble: Ensemble) -> Targets:
    """Targets of the recipe: from cached embeddings for rows of the whole step, else those of candidate lists."""
    if spec.in_batch == "documents":
        return InBatchTargets(data, [load_embeddings(folders) for folders in files.embeddings], ensemble)
    if files.targets is None:
        raise UserError("in_batch is not `documents`, but no targets were given")
    return CandidateTargets(data, files.targets)


def schedule_of(spec: Training | CrossEncoderTraining, data: SetData, *, seed: int) -> Schedule:
    """The queries and documents of every step.

    Raises:
        UserError: fewer queries than a step takes.
    """
    if len(data.rows) < spec.queries_per_step:
        raise UserError(
            f"training set {data.table.file.parent.name}: {len(data.rows)} queries are fewer than queries_per_step "
            f"({spec.queries_per_step})"
        )
    return Schedule(
        data.positives,
        data.negatives,
        records=spec.steps * spec.queries_per_step,
        documents_per_query=spec.documents_per_query,
        seed=seed,
    )


def _mixture(spec: Training, data: Sequence[SetData], weights: Sequence[float], seed: int) -> MixtureSchedule:
    return MixtureSchedule(
        [schedule_of(spec, part, seed=seed) for part in data],
        shifts(data),
        drawn=draw_sets(weights, steps=spec.steps, seed=seed),
        queries_per_step=spec.queries_per_step,
    )


def load_sets(
    spec: Training, sets: Sequence[SetFiles], *, ensemble: Ensemble | None, cache: Path, seed: int
) -> tuple[TrainingData, Targets | None, Dataset[Record]]:
    """Data, targets and schedule of the recipe, over one training set or over several.

    Args:
        ensemble: None: there are no targets.
        cache: folder for memory-mapped texts.
    """
    data = [
        load_data(
            files.collection,
            files.candidates,
            false_negatives=files.false_negatives,
            negatives=spec.documents_per_query > 1,
            cache=cache / str(number),
        )
        for number, files in enumerate(sets)
    ]
    pairs = zip(data, sets, strict=True)
    targets = [load_targets(spec, *pair, ensemble=ensemble) for pair in pairs] if ensemble is not None else []
    if len(data) == 1:
        return data[0], targets[0] if targets else None, schedule_of(spec, data[0], seed=seed)
    mixed = MixtureTargets(targets, shifts(data)) if targets else None
    return join_data(data), mixed, _mixture(spec, data, [files.weight for files in sets], seed)
