"""Counts of training sets: tuples of a source, queries left of it (Table 1 of 2411.04403), from data to table."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from tracked import SCRIPTS, World, publish_all, script, verified

from sparsemill import manifest
from sparsemill.data.collection import Document, Qrel, Query, write_collection
from sparsemill.data.training_pairs import count_pairs, count_tuples
from sparsemill.errors import UserError
from sparsemill.files import write_json
from sparsemill.job import main
from sparsemill.study import edges, plan, specs
from sparsemill.study.load import load_study
from sparsemill.study.missing import made_only
from sparsemill.study.models import Study
from sparsemill.tables.build import build
from sparsemill.tables.render import markdown
from sparsemill.tables.tidy import Record, to_frame

CONFIG = Path(__file__).resolve().parent.parent / "config"
MEASURES = ["nDCG@10", "MRR@10", "R@100", "R@1000", "AP"]
COLUMNS = [
    {"measure": "training tuples", "collection": "pre-training", "label": "Tuples", "digits": 0},
    {"measure": "queries left", "collection": "pre-training", "label": "Left", "digits": 0},
]
TABLE = {
    "caption": "Sources.",
    "published": ["inference-free-table-1"],
    "rows": [{"training_set": "pydocs", "label": "Ours"}, {"published": "squad", "label": "SQuAD"}],
    "columns": COLUMNS,
}


def study(**config: Any) -> Study:
    return load_study({"presets": [], "tables": {"sources": TABLE}, **config}, CONFIG)


def described(folder: Path, spec: dict[str, Any], **facts: Any) -> Path:
    found = manifest.build(folder, stage="s", key="k", spec=spec, inputs={}, facts=facts, started=0.0)
    manifest.write(folder, found)
    return folder


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """Two queries with three documents above 0 in `train`; a zero and a test judgement do not count."""
    folder = tmp_path / "judged"
    folder.mkdir()
    documents = [Document(f"d{number}", "", f"text {number}") for number in range(4)]
    queries = [Query(f"q{number}", f"question {number}") for number in range(3)]
    train = [Qrel("q0", "d0", 1), Qrel("q0", "d1", 2), Qrel("q1", "d2", 1), Qrel("q2", "d3", 0)]
    facts = write_collection(folder, documents, queries, {"train": train, "test": [Qrel("q0", "d3", 1)]})
    return described(folder, {"kind": "beir_folder"}, **facts)


def test_tuples_are_positives_of_the_split_or_those_of_a_file_of_pairs(judged: Path, tmp_path: Path) -> None:
    (pairs := tmp_path / "pairs").mkdir()
    assert count_tuples(judged, split="train") == 3
    described(pairs, {"kind": "pairs"}, tuples=41_769_185)
    assert count_tuples(pairs, split="train") == 41_769_185
    described(pairs, {"kind": "pairs"})
    with pytest.raises(UserError, match="does not say how many tuples"):
        count_tuples(pairs, split="train")


def test_a_mixture_has_the_counts_of_all_its_sets(judged: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("pairs", "left", "kept")]
    for folder in folders:
        folder.mkdir()
    pairs, left, kept = folders
    described(pairs, {"kind": "pairs"}, tuples=10)
    described(left, {}, queries=1, queries_before_filter=2)
    described(kept, {}, queries=5, queries_before_filter=9)
    counts = count_pairs([judged, pairs], [left, kept], splits=["train", "train"])
    assert counts == {"training tuples": 13, "queries left": 6}


@pytest.mark.parametrize(
    ("rows", "tuples"),
    [
        ([["a", "b"], ["a", "c"], ["same", "same"], ["d", "e"]], 4),
        (
            [
                {"set": ["a", "b", "c"]},
                {"set": ["d", "e"]},
                {"set": ["same", "same"]},
                {"query": "f", "pos": ["g", "h"]},
            ],
            5,
        ),
    ],
)
def test_tuples_of_a_file_of_pairs_are_told_before_any_is_left_out(
    tmp_path: Path, rows: list[Any], tuples: int
) -> None:
    """A set is one row of the file, and as many pairs as it has texts after its first."""
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    spec = {"kind": "pairs", "path": str(file), "format": "jsonl", "lines": 4, "max_queries": 1, "split": "train"}
    columns = {"query": None, "document": None, "title": None, "counts": {}}
    out = tmp_path / "collection"
    run = runpy.run_path(str(SCRIPTS / "fetch_collection.py"))["run"]
    assert main("fetch_collection", run, argv=["--spec", json.dumps(spec | columns), "--out", str(out)]) == 0
    assert manifest.read(out)["facts"]["tuples"] == count_tuples(out, split="train") == tuples
    assert manifest.read(out)["facts"]["queries"] == {"train": 1}


def test_a_row_of_a_training_set_asks_for_its_counts_and_no_model() -> None:
    chosen = study()
    assert plan.pair_counts(chosen) == ["training_pairs/pydocs"]
    assert edges.upstream(chosen, "training_pairs/pydocs") == {
        "collection": ["collections/pydocs-train"],
        "candidates": ["candidates/pydocs"],
    }
    made = edges.closure(chosen, ["tables/sources"])
    assert not [key for key in made if key.startswith(("models/", "evaluations/", "scores/"))]
    mixture = load_study({"presets": ["inference_free"], "scale": "paper", "measures": MEASURES, "depth": 1000}, CONFIG)
    assert plan.pair_counts(mixture)[-1] == "training_pairs/inference-free-mined"
    assert len(edges.upstream(mixture, plan.pair_counts(mixture)[-1])["candidates"]) == 13
    assert specs.count_pairs(mixture, "inference-free-mined")["splits"] == ["train"] * 13


def test_counts_stand_in_the_table_beside_the_papers() -> None:
    chosen = study()
    spec = specs.render_table(chosen, "sources")
    records = [("training tuples", 23_456.0), ("queries left", 789.0)]
    frame = to_frame(Record("pydocs", "fixed", None, "", "", name, value, None, "k") for name, value in records)
    shown = markdown(build(spec, frame, None))
    assert "| Ours | 23,456 | 789 |" in shown
    assert "| SQuAD" in shown
    assert "*87,599* | *84,505* |" in shown


def test_without_counts_the_row_says_what_makes_them() -> None:
    chosen = study(missing="show")
    table = made_only(chosen, lambda key: not key.startswith("training_pairs/")).tables["sources"]
    row = table.rows[0]
    assert (row.training_set, row.label, row.note) == ("", "Ours", "not run")
    assert "snakemake --cores all results/tables/sources/manifest.json" in table.notes[0]
    assert made_only(chosen, lambda key: True).tables["sources"].rows[0].training_set == "pydocs"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"training_set": "pydoks"}, "no training set 'pydoks'.*pydocs"),
        ({"training_set": "pydocs", "system": "bm25"}, "not both"),
        ({"training_set": "pydocs", "compare": ["bm25"]}, "nothing to compare with"),
        ({"system": "bm25", "compare": ["bm25"]}, "compare: bm25 is the row's own system; name another one"),
        ({"label": "x"}, "a system, a training set, or a published row"),
    ],
)
def test_rows_that_mean_nothing_are_refused(row: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        study(tables={"sources": {**TABLE, "rows": [row]}})


def test_counts_from_mlflow_equal_those_from_files(world: World) -> None:
    folders = world.build()
    place = {"system": "pydocs", "variant": "fixed", "seed": None, "collection": "", "engine": ""}
    counts = {"training tuples": 5, "queries left": 3}
    folders.append(world.add("training_pairs/pydocs", place, {"training_pairs.json": counts}))
    write_json(Path("results/published/receipts.json"), publish_all(folders).as_json())
    assert verified(world, folders)["rows"] == 14
    assert script("collect_results", {}, "tidy", training_pairs=folders[-1]) == 0
    assert "pydocs,fixed,,,,queries left,3.0" in Path("results/tidy/results.csv").read_text()
