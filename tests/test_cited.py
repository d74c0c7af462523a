"""Tables with published values: beside ours, alone, and with their footnotes."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest

from sparsemill.errors import UserError
from sparsemill.study import plan, specs
from sparsemill.study.load import load_study
from sparsemill.study.missing import made_only
from sparsemill.study.models import Study
from sparsemill.tables.build import build
from sparsemill.tables.layout import Cited, Layout
from sparsemill.tables.render import comma_separated, html, latex, markdown
from sparsemill.tables.tidy import Record, to_frame

CONFIG = Path(__file__).resolve().parent.parent / "config"
PUBLISHED = {
    "paper": "1234.56789",
    "table": "Table 7",
    "source": "arXiv",
    "evidence": "printed",
    "percent": True,
    "note": "One run each.",
    "columns": {
        "here": {"measure": "nDCG@10", "collection": "pydocs"},
        "there": {"measure": "nDCG@10", "collection": "far-away"},
    },
    "rows": {
        "ours": {"values": [73.5, 50.35]},
        "old": {
            "values": [
                {"value": 60, "evidence": "recalled", "note": "A misprint."},
                {"value": 9, "evidence": "digitised"},
            ]
        },
        "bm25-there": {"note": "Mislabelled.", "values": [None, 44.5]},
    },
}
TABLE = {
    "caption": "T",
    "published": ["x"],
    "rows": [
        {"system": "bm25", "published": "bm25-there"},
        {"system": "ours", "label": "Ours", "compare": ["bm25"]},
        {"published": "old", "label": "Old"},
    ],
    "columns": [
        {"measure": "nDCG@10", "collection": "pydocs"},
        {"measure": "nDCG@10", "collection": "far-away", "label": "far", "cited": True, "digits": 4},
    ],
}
FRAME = to_frame(
    Record(system, "fixed", None, "pydocs", "lucene" if system == "bm25" else "exact", "nDCG@10", value, 10, "key")
    for system, value in (("bm25", 0.64), ("ours", 0.72))
)


def load(**changes: Any) -> Study:
    return load_study({"published": {"x": PUBLISHED}, "tables": {"t": {**TABLE, **changes}}}, CONFIG)


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return specs.render_table(load(), "t")


@pytest.fixture(scope="module")
def shown(spec: dict[str, Any]) -> Layout:
    return build(spec, FRAME, None)


def test_published_values_stand_where_collection_and_measure_are_the_same(shown: Layout) -> None:
    cells = {line.label: [cell.cited for cell in line.cells] for line in shown.lines}
    ours = cells["Ours"]
    assert ours[0] is not None
    assert ours[0].difference == pytest.approx(-0.015)
    assert ours[0]._replace(difference=None) == Cited(0.735, "printed")
    assert ours[1] == Cited(0.5035, "printed")
    assert cells["bm25"] == [None, Cited(0.445, "printed")]
    assert cells["Old"] == [Cited(0.6, "recalled", None, (1,)), Cited(0.09, "digitised")]
    assert shown.legend == [
        "Cells: in parentheses the published value and the difference of ours from it; "
        "in italics published values alone; ≈ read off a plot; ~ recalled, not read in the paper.",
        "Published: 1234.56789, Table 7: One run each.",
        "¹ A misprint.",
        "² Mislabelled.",
    ]


def test_cited_rows_and_columns_run_nothing() -> None:
    study = load()
    wanted = {(cell.system, cell.collection) for cell in plan.wanted_cells(study)}
    assert all(collection == "pydocs" and system for system, collection in wanted)
    rows = [{key: value for key, value in row.items() if key != "published"} for row in TABLE["rows"][:2]]
    with_it, without = study, load(rows=rows, columns=TABLE["columns"][:1], published=[])
    assert plan.evaluations(with_it) == plan.evaluations(without)
    assert specs.test_significance(with_it, "t") == specs.test_significance(without, "t")


def test_a_table_without_published_values_has_the_spec_it_always_had() -> None:
    spec = specs.render_table(load_study({}, CONFIG), "demo")
    assert spec.keys() == {"name", "table", "engines", "stage_version"}
    assert spec["table"].keys() == {"caption", "rows", "columns", "test_measure", "test", "alpha"}
    assert spec["table"]["rows"][0].keys() == {"system", "label", "note", "compare"}
    assert spec["table"]["columns"][0].keys() == {"measure", "collection", "label", "digits"}


def test_writers(shown: Layout) -> None:
    lines = markdown(shown).splitlines()
    assert lines[4:7] == [
        "| bm25² | 0.640 | *0.4450* |",
        "| Ours | 0.720 (0.735, −0.015) | *0.5035* |",
        "| Old *(cited)* | *~0.600*¹ | *≈0.0900* |",
    ]
    rows = list(csv.DictReader(io.StringIO(comma_separated(shown))))
    assert rows[1]["pydocs nDCG@10 published"] == "0.735"
    assert float(rows[1]["pydocs nDCG@10 difference"]) == pytest.approx(-0.015)
    assert rows[2]["pydocs nDCG@10 evidence"] == "recalled"
    assert rows[0]["pydocs nDCG@10 published"] == ""
    tex = latex(shown)
    assert tex.isascii()
    assert r"0.720 {\scriptsize (0.735, $-$0.015)}" in tex
    assert r"\emph{\textasciitilde{}0.600}\textsuperscript{1}" in tex
    bare = re.sub(r"\\[{}]", "", tex)
    assert bare.count("{") == bare.count("}")
    page = html(shown)
    assert '0.720 <span class="published">(0.735, −0.015)</span>' in page
    assert '<tr class="cited">' in page
    assert "<sup>2</sup>" in page


def test_mistakes_are_told_in_one_line() -> None:
    rows = [{"system": "bm25"}, {"published": "oldd"}]
    with pytest.raises(UserError, match="no published row 'oldd'; did you mean 'old'"):
        load(rows=rows)
    with pytest.raises(UserError, match="no published table 'y'"):
        load(published=["y"])
    with pytest.raises(UserError, match="names a system, a training set, or a published row"):
        load(rows=[{"label": "nothing"}])


def test_rows_that_were_not_run_say_so_and_the_command_that_runs_them() -> None:
    study = load(rows=[TABLE["rows"][0], {"system": "minilm"}, TABLE["rows"][1] | {"compare": ["bm25", "minilm"]}])
    there = {"evaluations/bm25/fixed/pydocs/lucene", "evaluations/ours/seed-0/pydocs/exact"}
    shown = made_only(study, there.__contains__)
    assert {cell.system for cell in plan.wanted_cells(shown)} == {"bm25", "ours"}
    bm25, minilm, ours = shown.tables["t"].rows
    assert (bm25.system, ours.system, ours.compare) == ("bm25", "ours", ["bm25"])
    assert minilm.system == ""
    assert minilm.note == "not run"
    command = "snakemake --cores all results/tables/t/manifest.json --config 'presets=[demo]' scale=demo"
    assert shown.tables["t"].notes == [f"Rows that were not run: {command}"]
    assert not shown.explanations  # its page needs a model that was not run
    assert shown.figures["effectiveness-flops"].systems == ["bm25", "ours"]
    spec = specs.render_table(shown, "t")
    table = build(spec, FRAME, None)
    assert [line.label for line in table.lines] == ["bm25", "minilm", "Ours"]
    assert table.lines[1].note == "not run"
    assert f"Rows that were not run: {command}" in table.legend
    assert made_only(study, lambda _: True) == study


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ({"results": "results/mine"}, "--config 'presets=[demo]' scale=demo results=results/mine"),
        ({"sweep": ["lambda-idf"]}, "--config 'presets=[demo]' scale=demo 'sweep=[lambda-idf]'"),
        (
            {"sweep": {"steps": ["3"], "collection": "pydocs"}},
            """--config 'presets=[demo]' scale=demo 'sweep={"grid": {"steps": ["3"]}, "collection": "pydocs", """
            """"base": "ours"}'""",
        ),
    ],
)
def test_the_command_that_runs_the_rest_knows_what_this_invocation_does(config: dict[str, Any], options: str) -> None:
    study = load_study(config, CONFIG)
    (note,) = made_only(study, lambda _: False).tables["demo"].notes
    assert note.endswith(f"/tables/demo/manifest.json {options}")
    (note,) = made_only(study, lambda _: False, [Path("a b.yaml"), Path("c.yaml")]).tables["demo"].notes
    assert f" --configfile 'a b.yaml' c.yaml {options} missing=run" in note
