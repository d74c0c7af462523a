"""The Markdown that stands above a run in MLflow's pages."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sparsemill.tables.layout import three_digits
from sparsemill.tracking.artefacts import Artefact
from sparsemill.tracking.names import STAGES, TAG_LIMIT, clip

CONTENT = "mlflow.note.content"
_LISTED = 30
_STAGES = list(STAGES.values())


def plain(text: str) -> str:
    """Text that means nothing to Markdown, in one line."""
    return re.sub(r"([\\\[\]<>`*_|])", r"\\\1", " ".join(text.split()))


class Link(NamedTuple):
    """A run to point at."""

    text: str
    experiment_id: str
    run_id: str

    def markdown(self) -> str:
        """A link that works in MLflow's pages at any address."""
        return (
            f"[{plain(self.text)}](#/experiments/{self.experiment_id}/runs/{self.run_id}?workflowType=machine_learning)"
        )


def _number(value: float) -> str:
    digits = max(4, three_digits(value))
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:.0f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return [*(f"| {' | '.join(cells)} |" for cells in lines), ""]


def _listed(title: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    more = [f"and {len(items) - _LISTED} more"] if len(items) > _LISTED else []
    return [f"**{title}:** {', '.join([*items[:_LISTED], *more])}", ""]


def _rank(measure: str) -> tuple[bool, bool, str]:
    """Effectiveness before what it costs: rank measures have a cutoff, latencies come last."""
    return "@" not in measure, "_ms" in measure, measure


def stage_note(
    artefact: Artefact,
    *,
    parent: Link | None,
    inputs: Sequence[Link],
    rows: Sequence[str],
    use: str = "",
    systems: Sequence[Link] = (),
) -> str:
    """Of one artefact: its values, a table in full, how a model is used, where its files are, what it was made of."""
    lines = [f"`{artefact.key}`" + (f", a stage of {parent.markdown()}" if parent else ""), ""]
    values = sorted(artefact.measures.items(), key=lambda item: _rank(item[0]))
    lines += _table(["measure", "value"], [[name, _number(value)] for name, value in values])
    lines += [use, ""] if use else []
    table = artefact.folder / "table.md"
    if artefact.address.head == "tables" and table.exists():
        lines += [table.read_text(encoding="utf-8"), ""]
    lines += _listed("Rows", [link.markdown() for link in systems])
    marks = [f"`{key}` ({plain(evidence)})" for key, evidence in artefact.assumed.items()]
    lines += _listed("Not stated in the paper", marks)
    lines += _listed("Feeds", [*map(plain, rows)])
    lines += _listed("Made of", [link.markdown() for link in inputs])
    files = [f"`{name}`" for name in artefact.manifest["outputs"]]
    lines += _listed(f"Files in `{artefact.folder.as_posix()}`", files)
    lines += ["Settings: `config.yaml`; small files: `outputs/`; sizes and sha256 of all: `files.json` (*Artifacts*)."]
    return clip("\n".join(lines), TAG_LIMIT)


def _stage(link: Link) -> int:
    """Place of a run's stage among the stages, whose names may have two words (`index`, `index size`)."""
    return max(place for place, name in enumerate(_STAGES) if f"{link.text} ".startswith(f"{name} "))


def system_note(
    name: str,
    *,
    values: Mapping[tuple[str, str], float],
    stages: Sequence[Link],
    rows: Sequence[str],
    tables: Mapping[str, Link],
    files: Sequence[Link],
) -> str:
    """Of one retriever and seed.

    Args:
        name: for example `ours seed-0`.
        values: (collection, measure) -> value.
        stages: its nested runs.
        rows: `table/row label` of the rows it feeds.
        tables: table -> its run.
        files: path of a file -> the settings that it was made with.
    """
    collections = sorted({collection for collection, _ in values})
    measures = sorted({measure for _, measure in values}, key=_rank)
    cells = [
        [
            name,
            *(_number(values[place]) if (place := (collection, name)) in values else "" for collection in collections),
        ]
        for name in measures
    ]
    ordered = sorted(stages, key=_stage)
    shown = [link for link in ordered if _STAGES[_stage(link)] not in ("encode", "index")]
    # MLflow's pages fold all but the first lines.
    lines = [f"Retriever **{plain(name)}**: {', '.join(link.markdown() for link in shown)}", ""]
    runs = [(row, tables.get(row.split("/")[0])) for row in rows]
    fed = [plain(row) if run is None else run._replace(text=row).markdown() for row, run in runs]
    lines += [*_listed("Feeds", fed), *_table(["measure", *collections], cells)]
    if files:
        lines += ["**Files, each with the settings it was made with:**", ""]
        lines += [f"* {link.markdown()}" for link in files]
    return clip("\n".join(lines), TAG_LIMIT)


def table_rows(artefact: Artefact, rows: Mapping[str, Sequence[str]], parents: Mapping[str, Any]) -> list[Link]:
    """The retrievers in the rows of a table, as far as they are published; none for other artefacts.

    Args:
        artefact: any artefact.
        rows: system -> `table/row label` of the rows it feeds.
        parents: key of a system -> its run.
    """
    if artefact.address.head != "tables":
        return []
    start = f"{artefact.address.rest[0]}/"
    links = []
    for key, run in parents.items():
        _, system, variant = key.split("/")
        for row in rows.get(system, []):
            if row.startswith(start):
                seed = "" if variant == "fixed" else f" {variant}"
                links.append(Link(row.removeprefix(start) + seed, run.info.experiment_id, run.info.run_id))
    return links
