"""Which artefacts were made of which."""

from collections.abc import Iterable, Sequence
from graphlib import TopologicalSorter
from pathlib import Path

from sparsemill import manifest
from sparsemill.errors import UserError
from sparsemill.tracking.artefacts import Artefact


class Makers:
    """Finds what artefacts were made from, by content.

    Points of two sweeps may be equal; of artefacts with one content that of the same system counts, else the first.
    """

    def __init__(self, artefacts: Iterable[Artefact]) -> None:
        self._found: dict[str, list[Artefact]] = {}
        for artefact in artefacts:
            self._found.setdefault(artefact.content, []).append(artefact)

    def inputs(self, artefact: Artefact) -> list[Artefact]:
        """Those of an artefact's inputs that are known."""

        def apart(other: Artefact) -> tuple[bool, bool]:
            at, there = artefact.address, other.address
            return there.system != at.system, there.variant != at.variant

        found = (self._found.get(content) for content in artefact.manifest["inputs"].values())
        return [min(equal, key=apart) for equal in found if equal]


def read_artefacts(folders: Sequence[Path]) -> list[Artefact]:
    """Read artefact folders and order them so that inputs come before what was made of them.

    Args:
        folders: of artefacts; where some have one content, in such an order.

    Raises:
        UserError: a folder has no manifest, or two artefacts have one key.
    """
    artefacts: dict[str, Artefact] = {}
    for folder in folders:
        artefact = Artefact(folder, manifest.read(folder))
        if artefact.key in artefacts:
            raise UserError(f"{folder}: has the key of {artefacts[artefact.key].folder}: {artefact.key}; publish one")
        artefacts[artefact.key] = artefact
    makers = Makers(artefacts.values())
    graph = {
        key: sorted({other.key for other in makers.inputs(artefact)} - {key})
        for key, artefact in sorted(artefacts.items())
    }
    return [artefacts[key] for key in TopologicalSorter(graph).static_order()]


def datasets(artefact: Artefact, makers: Makers) -> tuple[str, list[Artefact]]:
    """The collections behind an artefact and in what role: `training` or `evaluation`.

    Trained models: every collection upstream. Evaluations: the collection searched.

    Args:
        artefact: any artefact.
        makers: of all artefacts.
    """
    head = artefact.address.head
    if head in ("models", "pretrained", "cross_encoders"):
        seen: dict[str, Artefact] = {}
        waiting = [artefact]
        while waiting:
            for other in makers.inputs(waiting.pop()):
                if other.content not in seen:
                    seen[other.content] = other
                    waiting.append(other)
        found = [other for other in seen.values() if other.address.head == "collections"]
        return "training", sorted(found, key=lambda other: other.key)
    if head in ("evaluations", "latency", "engine_time", "serving"):
        return "evaluation", [other for other in makers.inputs(artefact) if other.address.head == "collections"]
    return "", []
