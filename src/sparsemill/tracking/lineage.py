"""Which artefacts were made of which."""

from collections.abc import Sequence
from graphlib import TopologicalSorter
from pathlib import Path

from sparsemill import manifest
from sparsemill.errors import UserError
from sparsemill.tracking.artefacts import Artefact


def read_artefacts(folders: Sequence[Path]) -> list[Artefact]:
    """Read artefact folders and order them so that inputs come before what was made of them.

    Raises:
        UserError: a folder has no manifest, or two artefacts have one key.
    """
    artefacts: dict[str, Artefact] = {}
    for folder in folders:
        artefact = Artefact(folder, manifest.read(folder))
        if artefact.key in artefacts:
            raise UserError(f"{folder}: has the key of {artefacts[artefact.key].folder}: {artefact.key}; publish one")
        artefacts[artefact.key] = artefact
    makers = {artefact.content: artefact.key for artefact in artefacts.values()}
    graph = {
        key: sorted({makers[content] for content in artefact.manifest["inputs"].values() if content in makers} - {key})
        for key, artefact in sorted(artefacts.items())
    }
    return [artefacts[key] for key in TopologicalSorter(graph).static_order()]


def datasets(artefact: Artefact, artefacts: dict[str, Artefact]) -> tuple[str, list[Artefact]]:
    """The collections behind an artefact and in what role: `training` or `evaluation`.

    Trained models: every collection upstream. Evaluations: the collection searched.

    Args:
        artefact: any artefact.
        artefacts: content -> artefact.
    """
    head = artefact.address.head
    if head in ("models", "pretrained", "cross_encoders"):
        seen: dict[str, Artefact] = {}
        waiting = [artefact]
        while waiting:
            for content in waiting.pop().manifest["inputs"].values():
                if content in artefacts and content not in seen:
                    seen[content] = artefacts[content]
                    waiting.append(artefacts[content])
        found = [other for other in seen.values() if other.address.head == "collections"]
        return "training", sorted(found, key=lambda other: other.key)
    if head in ("evaluations", "latency", "engine_time", "serving"):
        inputs = [artefacts[content] for content in artefact.manifest["inputs"].values() if content in artefacts]
        return "evaluation", [other for other in inputs if other.address.head == "collections"]
    return "", []
