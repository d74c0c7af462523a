"""Experiments of one's own that do not run, since nothing that is made needs them."""

from collections.abc import Mapping
from typing import Any

from sparsemill.study import edges, plan
from sparsemill.study.models import Study


def unused_experiments(study: Study, own: Mapping[str, Any]) -> list[str]:
    """Names of own experiments that no result of the study is made from, and that no other own one extends.

    Args:
        study: the whole study.
        own: `experiments` of overlays and the command line, as they are written.
    """
    bases = {entry.get("extends") for entry in own.values() if isinstance(entry, dict)}
    names = [name for name in own if name in study.experiments and name not in bases]
    if not names:
        return []
    used = {name for key in edges.closure(study, plan.results(study)) for name in key.split("/")[1:2]}
    return [name for name in names if name not in used]
