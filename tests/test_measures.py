"""Effectiveness measures: hand numbers, parity with a NumPy nDCG, and what is refused."""

from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pytest
import pytrec_eval

from sparsemill.data.collection import Qrel, Query
from sparsemill.errors import UserError
from sparsemill.evaluation import measures
from sparsemill.evaluation.measures import evaluate, is_ranking_measure, parse_measure
from sparsemill.retrieval.retriever import retrieve
from sparsemill.retrieval.runs import Hit, Run
from sparsemill.retrieval.sidecar import remove_self_hits
from sparsemill.study.load import load_study
from sparsemill.study.models import Column, Table

CONFIG = Path(__file__).resolve().parent.parent / "config"


def ranked(*documents: str) -> list[Hit]:
    return [Hit(document, float(len(documents) - place)) for place, document in enumerate(documents)]


def ndcg(gains: list[int], judged: list[int], k: int) -> float:
    """nDCG@k with linear gains, written from its definition."""
    discount = 1 / np.log2(np.arange(2, k + 2))
    got = np.array((gains + [0] * k)[:k])
    ideal = np.array((sorted(judged, reverse=True) + [0] * k)[:k])
    return float(got @ discount / (ideal @ discount))


def test_ndcg_agrees_with_its_definition_on_graded_judgements() -> None:
    random = np.random.default_rng(3)
    qrels, run, expected = [], {}, {}
    for query in ("q1", "q2", "q3"):
        grades = {f"d{number}": int(grade) for number, grade in enumerate(random.integers(0, 4, 30))}
        order = [f"d{number}" for number in random.permutation(40)]  # 10 of them are not judged
        qrels += [Qrel(query, document, grade) for document, grade in grades.items()]
        run[query] = ranked(*order)
        expected[query] = ndcg([grades.get(document, 0) for document in order], list(grades.values()), 10)
    found = evaluate(run, qrels, ["nDCG@10"])
    for query, value in expected.items():
        assert found.per_query[query]["nDCG@10"] == pytest.approx(value, abs=1e-6)
    assert found.means["nDCG@10"] == pytest.approx(np.mean(list(expected.values())), abs=1e-6)


QRELS = [
    Qrel("q1", "a", 1),
    Qrel("q1", "b", 2),
    Qrel("q2", "c", 1),
    Qrel("q3", "d", 0),  # judged, nothing relevant
    Qrel("q4", "e", 1),  # not in the run
]
RUN: Run = {"q1": ranked("x", "a", "y", "b"), "q2": ranked("c"), "q3": ranked("d"), "q9": ranked("a")}


def test_hand_computed_values() -> None:
    found = evaluate(RUN, QRELS, ["MRR@10", "R@1", "R@100", "AP", "Success@1", "P@2"])
    assert found.per_query["q1"] == pytest.approx(
        {"MRR@10": 1 / 2, "R@1": 0, "R@100": 1, "AP": (1 / 2 + 2 / 4) / 2, "Success@1": 0, "P@2": 1 / 2}
    )
    # Means over the four judged queries: q3 has nothing relevant, q4 nothing found; both count 0.
    assert found.means == pytest.approx(
        {"MRR@10": 1.5 / 4, "R@1": 1 / 4, "R@100": 2 / 4, "AP": 1.5 / 4, "Success@1": 1 / 4, "P@2": 1 / 4}
    )
    assert found.missing == ["q4"]
    assert found.unjudged == ["q9"]


def test_relevance_threshold_applies_to_all_but_ndcg() -> None:
    strict = evaluate(RUN, QRELS, ["MRR@10", "R@100", "AP", "nDCG@10"], relevance=2)
    loose = evaluate(RUN, QRELS, ["MRR@10", "R@100", "AP", "nDCG@10"], relevance=1)
    assert strict.per_query["q1"]["MRR@10"] == pytest.approx(1 / 4)
    assert strict.per_query["q1"]["AP"] == pytest.approx(1 / 4)
    assert strict.per_query["q2"]["R@100"] == 0
    assert strict.means["nDCG@10"] == loose.means["nDCG@10"]


def test_ties_are_broken_as_trec_eval_breaks_them() -> None:
    tied: Run = {"q1": [Hit("a", 1.0), Hit("z", 1.0)]}  # trec_eval puts the larger id first
    found = evaluate(tied, [Qrel("q1", "a", 1)], ["nDCG@10", "AP"])
    assert found.means == pytest.approx({"nDCG@10": 1 / np.log2(3), "AP": 1 / 2})


def test_all_measures_agree_with_trec_eval_on_ties_grades_and_negative_judgements() -> None:
    random = np.random.default_rng(11)
    names = {"nDCG@10": "ndcg_cut_10", "MRR": "recip_rank", "R@100": "recall_100", "AP": "map", "P@5": "P_5"}
    qrels, run = [], {}
    for number in range(12):
        query = f"q{number}"
        documents = [f"d{place}" for place in range(60)]
        grades = random.integers(-2, 4, 30)
        qrels += [Qrel(query, document, int(grade)) for document, grade in zip(documents, grades, strict=False)]
        # Few distinct scores, and some that are equal only as float32.
        scores = random.integers(0, 6, 60) + 1e-12 * random.random(60)
        run[query] = [Hit(*pair) for pair in zip(documents, scores.tolist(), strict=True)]
    judged: dict[str, dict[str, int]] = {}
    for qrel in qrels:
        judged.setdefault(qrel.query_id, {})[qrel.doc_id] = qrel.relevance
    for relevance in (1, 2):
        evaluator = pytrec_eval.RelevanceEvaluator(
            judged, {"ndcg_cut.10", "recip_rank", "recall.100", "map", "P.5"}, relevance_level=relevance
        )
        theirs = evaluator.evaluate({query: {hit.doc_id: hit.score for hit in hits} for query, hits in run.items()})
        ours = evaluate(run, qrels, [*names, "MRR@10"], relevance=relevance)
        for query, values in ours.per_query.items():
            for name, theirs_name in names.items():
                assert values[name] == pytest.approx(theirs[query][theirs_name], abs=1e-6), (query, name)
            first = theirs[query]["recip_rank"]
            assert values["MRR@10"] == pytest.approx(first if first >= 1 / 10 else 0)


def test_query_with_judgements_below_minus_one_alone_counts_zero() -> None:
    qrels = [Qrel("q1", "a", 1), Qrel("q2", "a", -2), Qrel("q2", "b", -2)]  # -2 is a level of TREC's web tracks
    found = evaluate({"q1": ranked("a"), "q2": ranked("a", "b")}, qrels, ["nDCG@10", "AP"])
    assert found.means == pytest.approx({"nDCG@10": 0.5, "AP": 0.5})


def test_ties_of_mrr_with_a_cutoff_are_those_of_trec_eval_too() -> None:
    tied: Run = {"q1": [Hit("a", 1.0), Hit("z", 1.0)]}
    assert evaluate(tied, [Qrel("q1", "a", 1)], ["MRR@10", "MRR"]).means == {"MRR@10": 0.5, "MRR": 0.5}


def test_queries_that_are_documents_do_not_find_themselves() -> None:
    """ArguAna and Quora: every query is a document, and would be its own first hit."""
    documents = ["a", "b", "c", "d"]
    near = {"a": "abcd", "b": "bacd", "c": "cabd"}  # documents by query, best first

    def search(texts: list[str], k: int) -> list[list[Hit]]:
        return [ranked(*near[text])[:k] for text in texts]

    qrels = [Qrel("a", "b", 1), Qrel("b", "c", 1), Qrel("c", "a", 1)]
    assert {qrel.doc_id for qrel in qrels} <= set(documents)
    queries = [Query(name, name) for name in near]
    dropped = retrieve(search, queries, depth=3, drop_self_hits=True)
    assert {query: [hit.doc_id for hit in hits] for query, hits in dropped.items()} == {
        "a": ["b", "c", "d"],
        "b": ["a", "c", "d"],
        "c": ["a", "b", "d"],
    }
    second = 1 / np.log2(3)
    found = evaluate(dropped, qrels, ["nDCG@10", "MRR@10"])
    assert found.means == pytest.approx({"nDCG@10": (1 + second + 1) / 3, "MRR@10": (1 + 1 / 2 + 1) / 3})
    kept = evaluate(retrieve(search, queries, depth=3, drop_self_hits=False), qrels, ["nDCG@10", "MRR@10"])
    assert kept.means == pytest.approx(
        {"nDCG@10": (second + 1 / 2 + second) / 3, "MRR@10": (1 / 2 + 1 / 3 + 1 / 2) / 3}
    )
    # The runs of teachers and ensembles are cut after the fact, to the same effect.
    whole = {query.id: search([query.text], 4)[0] for query in queries}
    assert dict(remove_self_hits(whole.items(), depth=3, drop=True)) == dropped


def test_rankings_of_a_block_of_queries_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a block no query may have a result, or all of them."""
    run = {f"q{number}": ranked("a", "b", "c") for number in (0, 1, 4)}
    qrels = [Qrel(f"q{number}", "b", 1) for number in range(6)]
    whole = evaluate(run, qrels, ["nDCG@10", "MRR@10", "R@1"])
    assert whole.missing == ["q2", "q3", "q5"]
    held: list[int] = []
    calculate = ir_measures.iter_calc

    def counted(wanted: Any, judged: Any, scores: Any) -> Any:
        held.append(len(scores))
        return calculate(wanted, judged, scores)

    monkeypatch.setattr(ir_measures, "iter_calc", counted)
    monkeypatch.setattr(measures, "BLOCK", 2)
    assert evaluate(run, qrels, ["nDCG@10", "MRR@10", "R@1"]) == whole
    assert held == [2, 0, 1]


def test_map_is_another_name_of_ap() -> None:
    assert Column(measure="MAP", collection="c").measure == "AP"
    assert (
        Table.model_validate(
            {
                "caption": "",
                "rows": [{"system": "x"}],
                "columns": [{"measure": "MAP@100", "collection": "c"}],
                "test_measure": "MAP",
            }
        ).test_measure
        == "AP"
    )
    study = load_study({"measures": ["nDCG@10", "MRR@10", "R@100", "MAP"]}, CONFIG)
    assert study.measures == ["nDCG@10", "MRR@10", "R@100", "AP"]
    with pytest.raises(UserError, match="measure is named twice"):
        load_study({"measures": ["MAP", "AP"]}, CONFIG)


def test_a_run_without_judged_queries_is_refused() -> None:
    with pytest.raises(UserError, match="none of the 4 judged queries"):
        evaluate({"other": ranked("a")}, QRELS, ["AP"])
    with pytest.raises(UserError, match="no judgements"):
        evaluate(RUN, [], ["AP"])


@pytest.mark.parametrize("name", ["NDCG@10", "nDCG@0", "nDCG@", "FLOPS", "", "R@x", "recip_rank"])
def test_unknown_measures_are_refused_with_the_known_ones(name: str) -> None:
    assert not is_ranking_measure(name)
    with pytest.raises(UserError, match="known are nDCG"):
        parse_measure(name)


def test_a_missing_cutoff_is_named() -> None:
    assert not is_ranking_measure("R")
    with pytest.raises(UserError, match="R@100"):
        parse_measure("R")


@pytest.mark.parametrize("name", ["nDCG", "nDCG@10", "MRR", "MRR@10", "R@1000", "P@5", "AP", "AP@1000", "Success@5"])
def test_known_measures_are_computed(name: str) -> None:
    assert is_ranking_measure(name)
    assert 0 < evaluate(RUN, QRELS, [name]).means[name] <= 1
