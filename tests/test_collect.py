"""The tidy frame, and the whole chain from runs to table, figure and verdicts through the command lines."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sparsemill import job
from sparsemill.data.collection import Document, Qrel, Query, write_collection
from sparsemill.errors import UserError
from sparsemill.files import write_json
from sparsemill.retrieval.runs import Hit, write_run
from sparsemill.tables.collect import collect
from sparsemill.tables.tidy import Record, to_frame, values_of

SCRIPTS = Path(__file__).parents[1] / "workflow" / "scripts"


def call(
    stage: str,
    out: Path,
    spec: dict[str, Any],
    *,
    key: str | None = None,
    facts: dict[str, Any] | None = None,
    **inputs: Path | list[Path],
) -> dict[str, Any]:
    """Run a stage's command line in this process; its manifest."""
    module_spec = importlib.util.spec_from_file_location(stage, SCRIPTS / f"{stage}.py")
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    arguments = ["--spec", json.dumps(spec), "--out", str(out), "--facts", json.dumps(facts or {})]
    arguments += ["--key", key] if key else []
    for name, paths in inputs.items():
        arguments += ["--in", name, *map(str, paths if isinstance(paths, list) else [paths])]
    assert job.main(stage, module.run, argv=arguments) == 0
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


def artefact(folder: Path, name: str, values: dict[str, Any], facts: dict[str, Any], **spec: str) -> Path:
    write_json(folder / name, values)
    write_json(folder / "manifest.json", {"spec": spec, "facts": facts, "key": folder.name, "content": folder.name})
    return folder


def test_all_kinds_meet_in_one_sorted_frame(tmp_path: Path) -> None:
    names = {"system": "x", "variant": "seed-3", "collection": "c"}
    evaluation = artefact(
        tmp_path / "e", "measures.json", {"nDCG@10": 0.5, "AP": 0.25}, {"queries": 7}, **names, engine="lucene"
    )
    second = artefact(tmp_path / "f", "measures.json", {"nDCG@10": 0.5}, {"queries": 7}, **names, engine="exact")
    costs = artefact(
        tmp_path / "s",
        "sparsity.json",
        {"FLOPS": 1, "documents": 9, "postings": 90},
        {"queries": 7},
        **names,
        engine="",
    )
    times = artefact(
        tmp_path / "l",
        "latency.json",
        {"p50_ms": 2.0, "latency/BM25": 1.1, "queries": 5, "passes": 3, "k": 10},
        {},
        **names,
        engine="lucene",
    )
    frame = collect({"evaluation": [second, evaluation], "sparsity": [costs], "latency": [times]})
    assert list(zip(frame["engine"], frame["measure"], frame["value"], frame["queries"], strict=True)) == [
        ("", "FLOPS", 1.0, 7),
        ("", "postings", 90.0, 7),
        ("exact", "nDCG@10", 0.5, 7),
        ("lucene", "AP", 0.25, 7),
        ("lucene", "latency/BM25", 1.1, 5),
        ("lucene", "nDCG@10", 0.5, 7),
        ("lucene", "p50_ms", 2.0, 5),
    ]
    assert frame["seed"].tolist() == [3] * 7
    assert frame["source"].tolist()[:3] == ["s", "s", "f"]
    assert values_of(frame, "x", "c", "latency/BM25", engines={"x": "exact"}) == [1.1]
    with pytest.raises(UserError, match=r"AP of x \(seed-3\) on c is there twice"):
        collect({"evaluation": [evaluation, evaluation]})


def test_an_artefact_without_a_name_or_number_is_refused(tmp_path: Path) -> None:
    folder = artefact(tmp_path / "e", "measures.json", {"AP": 1}, {}, system="x", variant="fixed")
    with pytest.raises(UserError, match="which collection"):
        collect({"evaluation": [folder]})
    folder = artefact(
        tmp_path / "e", "measures.json", {"AP": None}, {}, system="x", variant="fixed", collection="c", engine="e"
    )
    with pytest.raises(UserError, match="AP is None, not a number"):
        collect({"evaluation": [folder]})


def test_an_empty_frame_has_its_columns(tmp_path: Path) -> None:
    frame = to_frame([])
    assert list(frame.columns) == list(Record._fields)
    frame.to_parquet(tmp_path / "empty.parquet")
    assert str(pd.read_parquet(tmp_path / "empty.parquet")["seed"].dtype) == "Int64"


def evaluate(tmp_path: Path, system: str, variant: str, ranks: list[int]) -> Path:
    """Query i has one relevant document, found at `ranks[i]`; 0: not found, an empty list."""
    run = {
        f"q{query}": [Hit("good" if place == rank else f"d{place}", 100.0 - place) for place in range(1, rank + 1)]
        for query, rank in enumerate(ranks)
    }
    folder = tmp_path / "runs" / system / variant
    folder.mkdir(parents=True)
    write_run(folder / "run.trec", run)
    names = {"system": system, "variant": variant, "collection": "c", "engine": "lucene"}
    out = tmp_path / "evaluations" / system / variant
    spec = {**names, "measures": ["MRR@10", "R@100"], "split": "test", "relevance": 1}
    manifest = call("evaluate_run", out, spec, run=folder, collection=tmp_path / "collection")
    assert manifest["facts"] == {"queries": len(ranks), "missing": ranks.count(0), "unjudged": 0}
    return out


def test_the_chain_from_runs_to_table_figure_and_verdicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    collection = tmp_path / "collection"
    collection.mkdir()
    documents = [Document("good", "", "x"), *(Document(f"d{number}", "", "y") for number in range(1, 12))]
    queries = [Query(f"q{number}", "x") for number in range(6)]
    write_collection(collection, documents, queries, {"test": [Qrel(query.id, "good", 1) for query in queries]})
    evaluations = [
        evaluate(tmp_path, "bm25", "fixed", [4, 5, 4, 10, 5, 0]),
        evaluate(tmp_path, "x", "seed-0", [1, 1, 1, 1, 1, 1]),
        evaluate(tmp_path, "x", "seed-1", [1, 1, 1, 2, 1, 1]),
    ]
    assert json.loads((evaluations[0] / "measures.json").read_text()) == pytest.approx(
        {"MRR@10": 1 / 6, "R@100": 5 / 6, "missing": 1}
    )
    assert "missing" not in json.loads((evaluations[1] / "measures.json").read_text())
    tidy = tmp_path / "tidy"
    call("collect_results", tidy, {}, evaluation=evaluations)
    engines = {"bm25": "lucene", "x": "lucene"}
    table = {
        "caption": "Two systems.",
        "rows": [{"system": "bm25", "label": "BM25"}, {"system": "x", "compare": ["bm25"]}],
        "columns": [{"measure": "MRR@10", "collection": "c"}, {"measure": "FLOPS", "collection": "c"}],
        "test_measure": "MRR@10",
    }
    tests, rendered = tmp_path / "tests", tmp_path / "table"
    facts = call("test_significance", tests, {"table": table, "engines": engines}, evaluations=evaluations)["facts"]
    assert facts == {"comparisons": 1, "left_out": 0, "significant": 1}
    content = json.loads((tests / "significance.json").read_text())
    assert content["interval"]["level"] == 0.95
    of_bm25, of_x = content["means"]
    assert of_bm25["mean"] == pytest.approx(1 / 6)
    assert of_bm25["low"] < of_bm25["mean"] < of_bm25["high"]
    assert (of_x["system"], of_x["collection"]) == ("x", "c")
    (pair,) = content["pairs"]
    assert 0 < pair["low"] < pair["mean_difference"] < pair["high"]
    facts = call("render_table", rendered, {"table": table, "engines": engines}, tidy=tidy, significance=tests)["facts"]
    assert facts == {"cells": 4, "missing": 2}
    assert "| BM25 | 0.167 | – |\n| x | 0.958 ± 0.059ᵃ | – |" in (rendered / "table.md").read_text()
    assert "BM25: nothing found for 1 of 6 queries of c; they count 0." in (rendered / "table.md").read_text()
    figure = {
        "kind": "tradeoff",
        "caption": "f",
        "collection": "c",
        "systems": ["bm25", "x"],
        "x": "R@100",
        "y": "MRR@10",
    }
    call(
        "plot_figure", tmp_path / "figure", {"figure": figure, "engines": engines, "labels": {}, "bases": {}}, tidy=tidy
    )
    assert (tmp_path / "figure" / "figure.svg").read_text().startswith("<?xml")
    wanted = {"system": "x", "collection": "c", "measure": "MRR@10", "value": 0.5, "tolerance": 0.1, "source": "s"}
    spec = {"expected": [wanted], "engines": engines}
    assert call("check_expected", tmp_path / "expected", spec, tidy=tidy)["facts"]["fail"] == 1
    assert "fail    x on c, MRR@10: 0.9583" in capsys.readouterr().err


def test_a_table_without_comparisons_has_no_tests(tmp_path: Path) -> None:
    table = {"caption": "c", "rows": [{"system": "x"}], "columns": [{"measure": "nDCG@10", "collection": "c"}]}
    call("test_significance", tmp_path / "out", {"table": table, "engines": {"x": "exact"}})
    assert json.loads((tmp_path / "out" / "significance.json").read_text())["pairs"] == []
