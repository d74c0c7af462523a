"""Effectiveness of a run against judgements, computed by ir_measures (trec_eval's numbers)."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sparsemill.data.collection import Qrel
from sparsemill.errors import UserError
from sparsemill.retrieval.runs import Hit

logger = logging.getLogger(__name__)

# The field's name -> ir_measures' name, whether a cutoff must be given, whether a relevance threshold applies.
_FAMILIES = {
    "nDCG": ("nDCG", False, False),
    "MRR": ("RR", False, True),
    "R": ("R", True, True),
    "P": ("P", True, True),
    "AP": ("AP", False, True),
    "Success": ("Success", True, True),
}
KNOWN = "nDCG, nDCG@k, MRR, MRR@k, R@k, P@k, AP (or MAP), AP@k, Success@k"
MISSING = "missing"
"""Beside the measures of a run: judged queries that it has nothing for, where there are any."""
BLOCK = 512
"""Queries whose rankings are in memory at once."""
_NAME = re.compile(r"(?P<family>[A-Za-z]+)(?:@(?P<cutoff>[1-9][0-9]*))?")


class Evaluation(NamedTuple):
    """What a run is worth.

    Attributes:
        means: measure -> mean over all judged queries, each in [0, 1].
        per_query: query id -> measure -> value, sorted by query id.
        missing: judged queries that the run has no document for; they count 0.
        unjudged: queries of the run without a judgement; they count nothing.
    """

    means: dict[str, float]
    per_query: dict[str, dict[str, float]]
    missing: list[str]
    unjudged: list[str]


def is_ranking_measure(name: str) -> bool:
    """Whether `name` is computed from a ranking (larger is better), and not a cost such as `FLOPS`."""
    match = _NAME.fullmatch(name)
    return match is not None and match["family"] in _FAMILIES and not _lacks_cutoff(match)


def cutoff(name: str) -> int | None:
    """The rank at which a measure of rankings ends; None: at the run's end, or it is another measure."""
    match = _NAME.fullmatch(name) if is_ranking_measure(name) else None
    return int(match["cutoff"]) if match and match["cutoff"] else None


def _lacks_cutoff(match: re.Match[str]) -> bool:
    return _FAMILIES[match["family"]][1] and match["cutoff"] is None


def parse_measure(name: str, *, relevance: int = 1) -> Any:
    """The ir_measures object for a measure's usual name.

    nDCG takes the judgements as gains, undiscounted by any threshold.

    Args:
        name: for example `nDCG@10`, `MRR@10`, `R@1000`, `AP` (the config also takes `MAP` for it).
        relevance: least judgement that counts as relevant; no effect on nDCG.

    Raises:
        UserError: unknown name, or a cutoff is missing.
    """
    import ir_measures

    match = _NAME.fullmatch(name)
    if match is None or match["family"] not in _FAMILIES:
        raise UserError(f"measures: unknown measure {name!r}; known are {KNOWN}")
    if _lacks_cutoff(match):
        raise UserError(f"measures: {name!r} needs a cutoff, for example {name}@100")
    family, _, thresholded = _FAMILIES[match["family"]]
    measure = getattr(ir_measures, family)
    if thresholded:
        measure = measure(rel=relevance)
    return measure if match["cutoff"] is None else measure @ int(match["cutoff"])


def evaluate(
    run: Mapping[str, Sequence[Hit]], qrels: Iterable[Qrel], measures: Sequence[str], *, relevance: int = 1
) -> Evaluation:
    """Evaluate a run on every judged query, as trec_eval does with `-c`, ties broken as it breaks them.

    Args:
        run: query id -> hits, of which a block of queries is asked for at a time.
        qrels: judgements of one split; their queries are the ones that count, also those with nothing relevant.
        measures: distinct usual names, see `parse_measure`.
        relevance: least judgement that counts as relevant for all measures but nDCG.

    Raises:
        UserError: no judgements, an unknown measure, or a run that shares no query with the judgements.
    """
    import ir_measures

    parsed = {parse_measure(name, relevance=relevance): name for name in measures}
    judged: dict[str, dict[str, int]] = {}
    for qrel in qrels:
        # trec_eval takes less than 0 for 0; pytrec_eval crashes where all judgements of a query are less than -1.
        judged.setdefault(qrel.query_id, {})[qrel.doc_id] = max(qrel.relevance, 0)
    _check_overlap(run, judged)
    per_query: dict[str, dict[str, float]] = {}
    missing: list[str] = []
    queries = sorted(judged)
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        scores = {query: trec_eval_order(hits) for query in block if (hits := run.get(query))}
        missing += [query for query in block if query not in scores]
        values: dict[str, dict[str, float]] = {query: {} for query in block}
        for value in ir_measures.iter_calc(list(parsed), {query: judged[query] for query in block}, scores):
            values[value.query_id][parsed[value.measure]] = float(value.value)
        per_query |= {query: {name: found[name] for name in measures} for query, found in values.items()}
    return Evaluation(
        means={name: sum(values[name] for values in per_query.values()) / len(per_query) for name in measures},
        per_query=per_query,
        missing=missing,
        unjudged=sorted(run.keys() - judged.keys()),
    )


def trec_eval_order(hits: Sequence[Hit]) -> dict[str, float]:
    """Document id -> a score that falls by 1 from rank to rank, in trec_eval's order, so that no tie is left.

    trec_eval sorts by the score as float32, ties by document id, descending; ir_measures computes some measures by
    other programs, which would break ties in other ways.
    """
    scores = np.array([hit.score for hit in hits], dtype=np.float32).tolist()
    ranked = sorted(zip(scores, (hit.doc_id for hit in hits), strict=True), reverse=True)
    return {doc_id: float(len(ranked) - place) for place, (_, doc_id) in enumerate(ranked)}


def _check_overlap(run: Mapping[str, Sequence[Hit]], judged: Mapping[str, Any]) -> None:
    if not judged:
        raise UserError("evaluation: there are no judgements in this split")
    if not any(run.get(query) for query in judged):
        raise UserError(
            f"evaluation: the run has results for none of the {len(judged)} judged queries; "
            f"it holds {', '.join(sorted(run)[:3]) or 'nothing'}, judged are {', '.join(sorted(judged)[:3])}"
        )
