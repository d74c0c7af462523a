"""The Markdown that stands above a study's runs: one click to the retrievers, the sweeps and the tables."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from sparsemill.tracking.names import TAG_LIMIT, clip
from sparsemill.tracking.notes import Link
from sparsemill.tracking.store import EXPERIMENT_NOTE

_SYSTEMS = "tags.level = 'system' and tags.superseded_by IS NULL"
_TRAININGS = "tags.stage = 'finetune' and tags.superseded_by IS NULL"


def runs_link(text: str, experiment_id: str, search: str, *, metric: str = "") -> str:
    """A link to the runs that a search finds; with a metric, the largest value first."""
    order = {"orderByKey": f"metrics.`{metric}`", "orderByAsc": "false"} if metric else {}
    return f"[{text}](#/experiments/{experiment_id}/runs?{urlencode({'searchFilter': search, **order})})"


def experiment_note(
    experiment_id: str, *, metrics: Sequence[str], sweeps: Sequence[str], tables: Mapping[str, Link]
) -> str:
    """The whole note.

    Args:
        experiment_id: the study's.
        metrics: headline metrics of its retrievers, `COLLECTION.nDCG_10`.
        sweeps: names.
        tables: table -> its run.
    """
    lines = []
    if metrics:
        links = [runs_link(metric, experiment_id, _SYSTEMS, metric=metric) for metric in metrics]
        lines.append(f"**Retrievers, the best first, by** {' · '.join(links)}")
    lines.append(f"**{runs_link('Trainings', experiment_id, _TRAININGS)}**, with their curves")
    for name in sweeps:
        one = f"tags.sweeps LIKE '%,{name},%'"
        links = [
            runs_link("retrievers", experiment_id, f"{one} and {_SYSTEMS}", metric=metrics[0] if metrics else ""),
            runs_link("trainings", experiment_id, f"{one} and {_TRAININGS}"),
        ]
        lines.append(f"**Sweep {name}:** {' · '.join(links)}")
    if tables:
        links = [link._replace(text=name).markdown() for name, link in sorted(tables.items())]
        lines.append(f"**Tables:** {' · '.join(links)}")
    return clip("\n\n".join([*lines, EXPERIMENT_NOTE]), TAG_LIMIT)
