"""Published values: the shipped ones add up, and what a check is."""

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import yaml

from sparsemill.errors import UserError
from sparsemill.evaluation.measures import is_ranking_measure
from sparsemill.study import plan, specs
from sparsemill.study.load import load_study
from sparsemill.study.measures import COSTS
from sparsemill.study.models import Published, Study
from sparsemill.study.published import Value, checked_values, values
from sparsemill.study.verdicts import due_values

CONFIG = Path(__file__).resolve().parent.parent / "config"
FILES = sorted((CONFIG / "expected").glob("*.yaml"))
PAPERS = {
    "presets": ["inference_free", "splade_pp"],
    "scale": "paper",
    "measures": ["nDCG@10", "MRR@10", "R@100", "R@1000"],
    "depth": 1000,
}
BEIR = {
    *("trec-covid", "nfcorpus", "nq", "hotpotqa", "fiqa", "arguana", "touche", "dbpedia", "scidocs", "fever"),
    *("climate-fever", "scifact", "quora"),
}


@pytest.fixture(scope="module")
def shipped() -> dict[str, Published]:
    found: dict[str, Published] = {}
    for path in FILES:
        entries = yaml.safe_load(path.read_text(encoding="utf-8")).get("published", {})
        assert not found.keys() & entries.keys()
        found |= {name: Published.model_validate(entry) for name, entry in entries.items()}
    return found


@pytest.fixture(scope="module")
def papers() -> Study:
    return load_study(PAPERS, CONFIG)


def by_cell(published: Published) -> dict[tuple[str, str], float]:
    return {(value.row, value.column): value.value for value in values(published)}


# --- what is shipped ---------------------------------------------------------------------------------------------


def test_printed_averages_follow_from_their_rows(shipped: dict[str, Published]) -> None:
    seen = 0
    for name, published in shipped.items():
        cells = by_cell(published)
        for row in published.rows:
            if (row, "average") in cells and {column for line, column in cells if line == row} >= BEIR:
                mean = fmean(cells[row, column] for column in BEIR)
                assert cells[row, "average"] == pytest.approx(mean, abs=0.00005 + 1e-9), (name, row)
                seen += 1
    assert seen >= 9 + 3  # Table 3 of 2411.04403, and Anserini


def test_totals_and_means_that_are_printed_elsewhere(shipped: dict[str, Published]) -> None:
    sources = by_cell(shipped["inference-free-table-1"])
    queries = [value for (row, column), value in sources.items() if column == "queries" and row != "total"]
    assert sum(queries) == sources["total", "queries"]
    beir = by_cell(shipped["splade-v2-table-2"])
    average = by_cell(shipped["splade-v2-average"])
    for row in ("distilsplade-max", "splade-max"):
        mean = fmean(value for (line, _), value in beir.items() if line == row)
        assert average[row, "beir"] == pytest.approx(mean, abs=0.0005 + 1e-9)


def test_copied_rows_are_equal_and_the_known_slips_are_the_only_ones(shipped: dict[str, Published]) -> None:
    copied, original = by_cell(shipped["inference-free-table-2"]), by_cell(shipped["splade-v2-table-1"])
    both = copied.keys() & original.keys()
    assert len(both) > 30
    assert [cell for cell in sorted(both) if copied[cell] != original[cell]] == [("splade-doc", "dl19-recall")]
    beir, v2 = by_cell(shipped["inference-free-table-3"]), by_cell(shipped["splade-v2-table-2"])
    for column in BEIR:
        mislabelled, real = beir["splade-pp-selfdistil", column], v2["distilsplade-max", column]
        assert mislabelled == pytest.approx(real, abs=0.0005 + 1e-9), column
    for row in ("ours", "doc-distill", "splade-v3-doc"):
        averages = by_cell(shipped["inference-free-table-5"])
        assert averages[row, "average"] == beir[row, "average"]
    ablation = by_cell(shipped["inference-free-table-6"])
    assert ablation["ours", "average"] == beir["ours", "average"]
    assert ablation["without-pretraining", "average"] == averages["doc-distill-idf", "average"]


def test_every_system_that_a_value_checks_exists_and_is_checked_once(papers: Study) -> None:
    systems = papers.experiments | papers.released | papers.teachers | papers.ensembles
    presets = {row.system for entry in papers.published.values() for row in entry.rows.values() if row.system}
    assert presets <= systems.keys(), presets - systems.keys()
    checked = [
        (value.system, value.measure, value.collection, value.tier, value.paper) for value in checked_values(papers)
    ]
    assert len(checked) > 40
    assert sorted(set(checked)) == sorted(checked)


def test_what_is_checked_is_something_that_is_measured_here(shipped: dict[str, Published]) -> None:
    checks = {value.measure for published in shipped.values() for value in values(published) if value.checked}
    assert {name for name in checks if not is_ranking_measure(name)} <= set(COSTS)


# --- the format --------------------------------------------------------------------------------------------------


def block(**keys: Any) -> dict[str, Any]:
    return {
        "paper": "p",
        "table": "Table 1",
        "source": "here",
        "evidence": "printed",
        "percent": True,
        "scale": "demo",
        "tier": "retrained",
        "tolerance": 0.01,
        "columns": {
            "a": {"measure": "nDCG@10", "collection": "pydocs"},
            "b": {"measure": "FLOPS", "collection": "pydocs", "tolerance": 0.5},
        },
        "rows": {"ours": {"system": "ours", "values": [72.4, 2.1]}, "other": {"values": [None, 3]}},
        **keys,
    }


def told(entry: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        load_study({"published": {"x": entry}}, CONFIG)
    return str(caught.value)


def test_percent_is_for_measures_of_rankings_and_what_stands_nearer_wins() -> None:
    cell = {"value": 72.4, "evidence": "re-run", "source": "there", "tolerance": 0.001, "note": "n"}
    found = list(values(Published(**block(rows={"ours": {"system": "ours", "values": [cell, 2.1]}}))))
    assert [(value.value, value.tolerance, value.evidence, value.source, value.note) for value in found] == [
        (0.724, 0.001, "re-run", "there", "n"),
        (2.1, 0.5, "printed", "here", ""),
    ]


def checks(**keys: Any) -> list[Value]:
    study = load_study({"published": {"x": block(**keys)}}, CONFIG)
    return [value for value in checked_values(study) if value.paper == "p"]


def test_what_is_checked() -> None:
    assert [(value.row, value.column) for value in checks()] == [("ours", "a"), ("ours", "b")]
    assert len(checks(scale=None)) == 2
    assert not checks(scale="paper")  # another scale
    assert not checks(evidence="recalled")
    assert not checks(evidence="digitised")
    assert [value.column for value in checks(tolerance=None)] == ["b"]
    absent = {"x": {"system": "splade", "values": [1, 2]}}
    assert not checks(rows=absent)  # a preset that is not loaded
    unmeasured = {"a": {"measure": "P@7", "collection": "pydocs"}}
    assert not checks(columns=unmeasured, rows={"ours": {"system": "ours", "values": [1]}})


def test_mistakes_are_told_in_one_line() -> None:
    assert "published.x: row r has 1 values for 2 columns" in told(block(rows={"r": {"values": [1]}}))
    assert "row ours names a system to check, but no tier" in told(block(tier=None))
    misspelt = {"us": {"system": "ourz", "values": [1, 2]}}
    assert told(block(rows=misspelt)) == "config: published.x.rows.us.system: no system 'ourz'; did you mean 'ours'?"
    bare = {"tolerance": None, "columns": {"a": {"measure": "nDCG@10", "collection": "pydocs"}}}
    row = {"system": "ours", "values": [1]}
    assert "row us names a system to check, but no tolerance" in told(block(**bare, rows={"us": row}))
    for shown in ({**row, "evidence": "recalled"}, {**row, "values": [None]}, {**row, "tolerance": 0.1}):
        Published(**block(**bare, rows={"us": shown}))
    assert "'printed', 'quoted'" in told(block(evidence="guessed"))


def test_a_cost_is_due_where_it_is_measured() -> None:
    costs = {"a": "FLOPS", "b": "index MB", "c": "p99_ms"}
    columns = {name: {"measure": measure, "collection": "pydocs"} for name, measure in costs.items()}
    rows = {name: {"system": name, "values": [1, 2, 3]} for name in ("x", "minilm")}
    shown = [{"system": name} for name in rows]

    def due(*measures: str) -> set[tuple[str | None, str]]:
        table = {"caption": "", "rows": shown, "columns": [{"measure": m, "collection": "pydocs"} for m in measures]}
        entry = block(columns=columns, rows=rows)
        config = {"published": {"x": entry}, "experiments": {"x": {"extends": "ours"}}, "tables": {"t": table}}
        study = load_study(config, CONFIG)
        return {(value.system, value.measure) for value in due_values(study)}

    assert due("nDCG@10") == {("x", "FLOPS")}
    assert due("nDCG@10", "index MB") == {("x", "FLOPS"), ("x", "index MB")}
    assert due("latency/BM25") == {("x", "FLOPS"), ("x", "p99_ms")}


@pytest.mark.parametrize("overlay", ["beir_bm25", "beir_scifact", "beir_nfcorpus", "irds_scifact"])
def test_overlays_check_bm25_against_anserini(overlay: str) -> None:
    text = (CONFIG / "overlays" / f"{overlay}.yaml").read_text(encoding="utf-8")
    study = load_study(yaml.safe_load(text), CONFIG)
    checked = specs.check_expected(study)["expected"]
    assert "expected" in plan.results(study)
    assert {value["tier"] for value in checked} == {"untrained"}
    found = {(value["system"], value["collection"]): value["value"] for value in checked if value["measure"] != "R@100"}
    ndcg = {"scifact": (0.6789, 0.6647), "nfcorpus": (0.3218, 0.3254)}
    shown = {name: values for name, values in ndcg.items() if name in study.collections}
    systems = ("bm25", "bm25-multifield")
    assert found == {(system, name): shown[name][place] for name in shown for place, system in enumerate(systems)}
    assert len(checked) == 4 * len(shown)


def test_released_checkpoints_stand_beside_what_is_published_of_them() -> None:
    overlay = yaml.safe_load((CONFIG / "overlays" / "released_beir.yaml").read_text(encoding="utf-8"))
    assert overlay["encode_precision"] == "fp32"  # config.yaml takes bf16 where the device has it
    study = load_study(overlay, CONFIG)
    table = study.tables["released"]
    cells = {
        (table.rows[cell["row"]].system, table.columns[cell["column"]].label): cell["value"]
        for cell in specs.render_table(study, "released")["published"]["cells"]
    }
    assert {row.system for row in table.rows} - {system for system, _ in cells} == {"bm25"}
    due = {(value.system, value.measure, value.collection) for value in due_values(study)}
    reported = {value.system for name in table.published for value in values(study.published[name]) if value.checked}
    assert {system for system, _, _ in due} == reported
    assert due >= {(f"{name}-512", "nDCG@10", "beir-13") for name in ("splade-cocondenser-ensembledistil", "splade-v3")}
    # A row is found by the system that it names: Anserini's is called splade-pp-ed there.
    assert cells["splade-cocondenser-ensembledistil-512", "DL20 nDCG@10"] == 0.7197
    assert cells["opensearch-doc-v3-gte", "BEIR-13"] == 0.546
