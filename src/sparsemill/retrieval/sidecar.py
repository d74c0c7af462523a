"""A run with its sidecar: what it is a run of."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsemill.files import write_json
from sparsemill.retrieval.runs import Hit, Run, write_run

_KEYS = ("system", "variant", "collection", "engine", "split", "depth")


def remove_self_hits(
    run: Iterable[tuple[str, Sequence[Hit]]], *, depth: int, drop: bool
) -> Iterator[tuple[str, list[Hit]]]:
    """Cut queries' hits at `depth`, leaving out documents that have the query's own id if `drop` is set."""
    for query, hits in run:
        yield query, [hit for hit in hits if not (drop and hit.doc_id == query)][:depth]


def separate_ties(hits: Sequence[Hit]) -> list[Hit]:
    """Lower tied scores by single float32 steps, so that trec_eval, which sorts ties anew, keeps the engine's order.

    Anserini adjusts the scores of its runs to the same end. Hits are ranked, best first.
    """
    scores = np.array([hit.score for hit in hits], dtype=np.float32)
    if (scores[1:] < scores[:-1]).all():
        return [Hit(hit.doc_id, score) for hit, score in zip(hits, scores.tolist(), strict=True)]
    separated: list[Hit] = []
    ceiling = np.float32(np.inf)
    for hit, wanted in zip(hits, scores, strict=True):
        score = np.minimum(wanted, ceiling)
        separated.append(Hit(hit.doc_id, float(score)))
        ceiling = np.nextafter(score, np.float32(-np.inf))
    return separated


def write_described_run(
    folder: Path, run: Run | Iterable[tuple[str, Sequence[Hit]]], spec: dict[str, Any]
) -> dict[str, Any]:
    """Write `run.trec`, its ties separated, and `run.json`; returns what the sidecar says.

    Args:
        folder: to write to.
        run: hits by query, or pairs of both that are read once.
        spec: names system, variant, collection, engine, split and depth.
    """
    counts = {"queries": 0, "queries_without_results": 0}

    def counted() -> Iterator[tuple[str, list[Hit]]]:
        for query, hits in run.items() if isinstance(run, Mapping) else run:
            counts["queries"] += 1
            counts["queries_without_results"] += not hits
            yield query, separate_ties(hits)

    write_run(folder / "run.trec", counted())
    described = {key: spec[key] for key in _KEYS if key in spec} | counts
    write_json(folder / "run.json", described)
    return described
