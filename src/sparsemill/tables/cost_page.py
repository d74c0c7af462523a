"""What every stage of a study cost: time, memory, device, from the manifests."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sparsemill.tables.web import Column, Raw, code, document, folded, heading, table

Manifest = Mapping[str, Any]


class Cost(NamedTuple):
    """What the artefacts of one stage cost.

    Attributes:
        seconds: wall time, summed over the artefacts.
        longest: wall time of the slowest one, seconds.
        memory: largest peak of one process, MiB.
        size: bytes of all outputs.
    """

    stage: str
    artefacts: int
    seconds: float
    longest: float
    memory: int
    size: int
    devices: tuple[str, ...]


def costs(manifests: Iterable[Manifest]) -> list[Cost]:
    """Costs by stage, the most expensive first."""
    groups: dict[str, list[Manifest]] = {}
    for described in manifests:
        groups.setdefault(described["stage"], []).append(described)
    found = [_cost(stage, members) for stage, members in groups.items()]
    return sorted(found, key=lambda cost: (-cost.seconds, cost.stage))


def _cost(stage: str, members: Sequence[Manifest]) -> Cost:
    seconds = [float(one["wall_seconds"]) for one in members]
    return Cost(
        stage,
        len(members),
        sum(seconds),
        max(seconds),
        max(int(one["peak_memory_mib"]) for one in members),
        sum(map(_size, members)),
        tuple(sorted({str(one["device"]) for one in members})),
    )


def _size(described: Manifest) -> int:
    return sum(int(entry["bytes"]) for entry in described["outputs"].values())


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: int) -> str:
    """Bytes in KiB, MiB or GiB."""
    for unit, least in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= least:
            return f"{count / least:.1f} {unit}"
    return f"{count / 2**10:.1f} KiB"


def page(manifests: Sequence[Manifest]) -> str:
    """The whole page.

    Args:
        manifests: of every artefact of the study.
    """
    found = costs(manifests)
    seconds = sum(cost.seconds for cost in found)
    top = max((cost.seconds for cost in found), default=0.0) or 1.0
    rows = [
        [
            cost.stage,
            Raw(f'<span class="bar" style="width:{max(1, round(120 * cost.seconds / top))}px"></span>'),
            duration(cost.seconds),
            str(cost.artefacts),
            duration(cost.longest),
            f"{cost.memory:,} MiB",
            size(cost.size),
            ", ".join(cost.devices),
        ]
        for cost in found
    ]
    titles = ["time", "artefacts", "slowest", "peak memory", "on disk"]
    columns = [Column("stage"), Column(""), *(Column(title, number=True) for title in titles), Column("device")]
    return document(
        "Cost",
        f"{len(manifests)} artefacts, {duration(seconds)} in all if one ran after the other. Time is wall time of the "
        "stage, on a machine that may have done other things beside; peak memory is the largest of one process; both "
        "are in each artefact's manifest.json.",
        table(columns, rows),
        heading("Every artefact"),
        *(_stage(cost.stage, manifests) for cost in found),
    )


def _stage(stage: str, manifests: Iterable[Manifest]) -> Raw:
    members = [one for one in manifests if one["stage"] == stage]
    rows = [
        [
            code(one["key"]),
            duration(float(one["wall_seconds"])),
            f"{int(one['peak_memory_mib']):,} MiB",
            size(_size(one)),
            str(one["device"]),
            str(one["created"]),
        ]
        for one in sorted(members, key=lambda one: -float(one["wall_seconds"]))
    ]
    titles = ["time", "peak memory", "on disk"]
    columns = [Column("artefact"), *(Column(title, number=True) for title in titles), Column("device"), Column("when")]
    return folded(f"{stage} ({len(members)})", table(columns, rows))
