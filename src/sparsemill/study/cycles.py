"""No model may need itself: teachers and miners can be experiments, so the graph of a study could run in a circle."""

from collections.abc import Iterator

from sparsemill.errors import UserError
from sparsemill.study.edges import upstream
from sparsemill.study.models import Study


def _trained(study: Study) -> Iterator[str]:
    for name, experiment in study.experiments.items():
        yield from (f"models/{name}/seed-{seed}" for seed in experiment.seeds)
    yield from (f"cross_encoders/{name}" for name in study.cross_encoders)


def check_cycles(study: Study) -> None:
    """Raise a UserError that names the first circle among the artefacts that training makes and needs."""
    finished: set[str] = set()

    def visit(key: str, path: tuple[str, ...]) -> None:
        if key in path:
            circle = [*path[path.index(key) :], key]
            models = [step for step in circle if step.startswith(("models/", "pretrained/", "cross_encoders/"))]
            raise UserError(
                f"config: {' -> '.join(models or circle)} needs itself, through its teachers or miners; "
                "take another teacher, or another experiment as the teacher"
            )
        if key in finished:
            return
        for group in upstream(study, key).values():
            for parent in group:
                visit(parent, (*path, key))
        finished.add(key)

    for key in _trained(study):
        visit(key, ())
