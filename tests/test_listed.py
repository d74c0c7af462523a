"""A file of scores is a miner too: its documents are the candidates, and every one of them has a score."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from configs import load, told
from mined import read_candidates
from score_tables import read_scores
from test_score_files import rows, write

from sparsemill.data.candidates import listed_positives
from sparsemill.data.collection import Document, Qrel, Query, write_collection
from sparsemill.errors import UserError
from sparsemill.files import read_json
from sparsemill.job import main
from sparsemill.retrieval.runs import Hit
from sparsemill.study import edges, specs
from sparsemill.teachers.listed import best_listed
from sparsemill.teachers.score_files import LAYOUTS

SCRIPTS = Path(__file__).resolve().parent.parent / "workflow" / "scripts"
DOCUMENTS = ["10", "20", "30", "40"]
RELEVANT = {"2": {"10", "40"}, "1": {"30"}, "3": {"20"}}
GIVEN = {
    ("1", "10"): 0.5,
    ("1", "30"): -1.0,
    ("1", "40"): 0.5,
    ("1", "20"): 2.0,
    ("2", "20"): 3.0,
    ("2", "40"): 4.0,
    ("3", "10"): 1.0,
    ("1", "50"): 9.0,
    ("9", "10"): 9.0,
}
"""The last two are of a document and of a query that nobody has; 2's positive 10 and 3's 20 have no score."""


def listed(file: Path, layout: str = "pairs", *, depth: int = 4) -> dict[str, list[Hit]]:
    return dict(best_listed(file, layout, RELEVANT, document_ids=DOCUMENTS, depth=depth))


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_the_best_by_hand(tmp_path: Path, layout: str) -> None:
    found = listed(write(tmp_path / "scores.parquet", rows(layout, GIVEN)), layout)
    assert list(found) == ["2", "1", "3"]
    assert found["1"] == [Hit("20", 2.0), Hit("10", 0.5), Hit("40", 0.5), Hit("30", -1.0)]
    assert found["2"] == [Hit("40", 4.0), Hit("20", 3.0)]
    assert found["3"] == [Hit("10", 1.0)]


def test_a_positive_is_listed_wherever_it_stands(tmp_path: Path) -> None:
    found = listed(write(tmp_path / "scores.parquet", rows("pairs", GIVEN)), depth=1)
    assert found["1"] == [Hit("20", 2.0), Hit("30", -1.0)]
    assert found["2"] == [Hit("40", 4.0)]


def test_a_pair_may_be_there_twice_with_one_score(tmp_path: Path) -> None:
    table = rows("pairs", GIVEN)
    assert listed(write(tmp_path / "a.jsonl", [*table, table[0]])) == listed(write(tmp_path / "b.jsonl", table))
    with pytest.raises(UserError, match="score of 1 and 10 is there twice, with different values"):
        listed(write(tmp_path / "c.jsonl", [*table, {**table[0], "score": 7.0}]))
    with pytest.raises(UserError, match="score of 1 and 10 is not finite"):
        listed(write(tmp_path / "d.jsonl", [*table, {**table[0], "score": float("nan")}]))
    with pytest.raises(UserError, match="scores no document of the collection for any of 3 training queries"):
        listed(write(tmp_path / "e.jsonl", [{**table[0], "query_id": "7"}]))


def test_positives_without_a_score_are_left_out_and_queries_without_a_positive() -> None:
    run = {"2": [Hit("40", 4.0), Hit("20", 3.0)], "1": [Hit("30", 1.0)], "3": [Hit("10", 1.0)]}
    assert listed_positives(run, RELEVANT) == ({"2": {"40"}, "1": {"30"}}, 2)
    with pytest.raises(UserError, match="none of 3 queries has a positive with a score"):
        listed_positives({}, RELEVANT)


def _stage(name: str, spec: dict[str, Any], out: Path, **inputs: Path) -> int:
    given = [part for place, path in inputs.items() for part in ("--in", place, str(path))]
    run = runpy.run_path(str(SCRIPTS / f"{name}.py"))["run"]
    return main(name, run, argv=["--spec", json.dumps(spec), "--out", str(out), *given])


@pytest.mark.parametrize("layout", ["msmarco_hard_negatives", "opensearch"])
def test_candidates_of_a_public_file_all_have_a_score(tmp_path: Path, layout: str) -> None:
    """Neither layout says what is positive, and neither has every judged positive."""
    file = write(tmp_path / "scores.jsonl", rows(layout, GIVEN))
    study = load(
        data=str(tmp_path),
        teachers={"file": {"kind": "scores", "path": "scores.jsonl", "layout": layout}},
        training_sets={"x": {"extends": "pydocs", "miner": "file", "filter_top": None, "top": 2}},
    )
    collection, run, candidates, scores = (tmp_path / name for name in ("collection", "run", "candidates", "scores"))
    collection.mkdir()
    texts = [Document(name, "", f"text {name}") for name in DOCUMENTS]
    judged = [Qrel(query, document, 1) for query, found in RELEVANT.items() for document in sorted(found)]
    write_collection(collection, texts, [Query(name, f"query {name}") for name in RELEVANT], {"train": judged})
    assert _stage("list_scored", specs.search_training(study, "x", "file"), run, collection=collection) == 0
    mine = specs.mine_candidates(study, "x")
    assert _stage("mine_candidates", mine, candidates, collection=collection, run=run) == 0
    found = {query: [(c.doc_id, c.positive) for c in mined] for query, mined in read_candidates(candidates).items()}
    assert found == {"1": [("20", False), ("10", False), ("30", True)], "2": [("40", True), ("20", False)]}
    assert read_json(candidates / "manifest.json")["facts"]["positives_without_score"] == 2
    score = specs.score_teacher(study, "file", "0")
    assert _stage("score_teacher", score, scores, collection=collection, candidates=candidates) == 0
    assert read_scores([scores])[1].tolist() == [2.0, 0.5, -1.0, 4.0, 3.0]
    assert file.exists()


def test_a_file_of_scores_mines_alone() -> None:
    teachers = {"file": {"kind": "scores", "path": "scores.jsonl"}}
    study = load(teachers=teachers, training_sets={"x": {"extends": "pydocs", "miner": "file"}})
    assert edges.upstream(study, "mining/x/file") == {"collection": ["collections/pydocs-train"]}
    assert "scored_only" not in specs.mine_candidates(study, "pydocs")
    both = {"x": {"extends": "pydocs", "miners": ["bm25", "file"]}}
    assert told(teachers=teachers, training_sets=both).startswith("config: training_sets.x.miners: no ")
