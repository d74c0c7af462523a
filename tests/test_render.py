"""Tables: layout of values, marks and bests, and the four writers."""

import csv
import io
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from sparsemill.errors import UserError
from sparsemill.study.models import Column, Row, Table
from sparsemill.tables.layout import Cell, Layout, Mark, layout
from sparsemill.tables.render import WRITERS, comma_separated, html, latex, markdown
from sparsemill.tables.tidy import Record, to_frame

TABLE = Table(
    caption="A & B: 50% of <all> | x_y",
    rows=[
        Row(system="bm25", label="BM25"),
        Row(system="x", label="X & Y_1", note="note <1>", compare=["bm25"]),
        Row(system="y", compare=["bm25", "x"]),
        Row(system="gone"),
    ],
    columns=[
        Column(measure="nDCG@10", collection="one"),
        Column(measure="FLOPS", collection="one", digits=2),
        Column(measure="nDCG@10", collection="two", label="Two"),
    ],
)
ENGINES = {"bm25": "lucene", "x": "lucene", "y": "exact", "gone": "lucene"}
PAIRS = [("x", "bm25", 0.1, True), ("y", "x", -0.1, True), ("y", "bm25", 0.2, True)]
TESTS: dict[str, Any] = {
    "test": "t-test",
    "measure": "nDCG@10",
    "alpha": 0.05,
    "pairs": [
        {"system": system, "baseline": baseline, "collection": "one", "mean_difference": gain, "significant": yes}
        for system, baseline, gain, yes in PAIRS
    ],
}


def record(system: str, variant: str, collection: str, engine: str, measure: str, value: float) -> Record:
    seed = int(variant[5:]) if variant.startswith("seed-") else None
    return Record(system, variant, seed, collection, engine, measure, value, 10, "key")


FRAME = to_frame(
    [
        record("bm25", "fixed", "one", "lucene", "nDCG@10", 0.9),
        record("x", "seed-0", "one", "lucene", "nDCG@10", 0.50),
        record("x", "seed-1", "one", "lucene", "nDCG@10", 0.52),
        record("x", "seed-0", "one", "exact", "nDCG@10", 0.99),
        record("x", "seed-0", "one", "", "FLOPS", 1.5),
        record("x", "seed-1", "one", "", "FLOPS", 1.7),
        record("y", "seed-0", "one", "exact", "nDCG@10", 0.4),
        record("y", "seed-0", "one", "", "FLOPS", 0.126),
        record("y", "seed-0", "two", "exact", "nDCG@10", 0.4),
    ]
)


@pytest.fixture
def table() -> Layout:
    return layout(TABLE, FRAME, TESTS, engines=ENGINES)


def test_cells_are_means_over_seeds_of_the_systems_own_engine(table: Layout) -> None:
    shown = {line.system: [cell.text() for cell in line.cells] for line in table.lines}
    assert shown == {
        "bm25": ["0.900", "–", "–"],
        "x": ["0.510 ± 0.014", "1.60 ± 0.14", "–"],
        "y": ["0.400", "0.13", "0.400"],
        "gone": ["–", "–", "–"],
    }


def test_best_is_the_best_of_the_trained_rows_in_columns_of_effectiveness(table: Layout) -> None:
    best = [(line.system, place) for line in table.lines for place, cell in enumerate(line.cells) if cell.best]
    assert best == [("x", 0)]  # not BM25's 0.9, not a FLOPS, and not the lone value of the third column


def test_equal_values_are_all_best() -> None:
    rows = [record(name, "seed-0", "one", "lucene", "nDCG@10", value) for name, value in (("x", 0.51), ("y", 0.5099))]
    found = layout(TABLE, to_frame(rows), None, engines=dict.fromkeys(ENGINES, "lucene"))
    assert [line.cells[0].best for line in found.lines] == [False, True, True, False]
    assert found.legend == []


def test_marks_and_legend(table: Layout) -> None:
    marks = {line.system: line.cells[0].marks for line in table.lines}
    assert marks["x"] == (Mark("a", worse=False),)
    assert marks["y"] == (Mark("a", worse=False), Mark("b", worse=True))
    assert all(not line.cells[2].marks for line in table.lines)
    assert table.legend == [
        "ᵃ better than BM25, ᵇ better than X & Y_1: paired t-test on nDCG@10, Holm over 3 comparisons, "
        "p < 0.05; ↓ marks worse.",
        "Mean ± sample standard deviation over 2 seeds.",
    ]


def test_where_nothing_could_be_compared_no_test_is_told() -> None:
    found = layout(TABLE, FRAME, TESTS | {"pairs": []}, engines=ENGINES)
    assert found.legend == ["Mean ± sample standard deviation over 2 seeds."]


def test_a_legend_of_no_marks_says_so() -> None:
    """A reader would take `ᵃ better than BM25` alone for a result."""
    tests = TESTS | {"pairs": [pair | {"significant": False} for pair in TESTS["pairs"]]}
    legend = layout(TABLE, FRAME, tests, engines=ENGINES).legend[0]
    assert legend.endswith("Holm over 3 comparisons, p < 0.05; no difference is significant.")


def test_too_many_baselines_are_refused() -> None:
    rows = [Row(system="x", compare=[f"b{number}" for number in range(26)])]
    with pytest.raises(UserError, match="26 systems"):
        layout(TABLE.model_copy(update={"rows": rows}), FRAME, TESTS, engines=ENGINES)


def test_markdown(table: Layout) -> None:
    lines = markdown(table).splitlines()
    assert lines[0] == r"**A & B: 50% of \<all\> \| x\_y**"
    assert lines[2:] == [
        "| System | one nDCG@10 | one FLOPS | Two |",
        "| :--- | ---: | ---: | ---: |",
        "| BM25 | 0.900 | – | – |",
        r"| X & Y\_1 *(note \<1\>)* | **0.510 ± 0.014**ᵃ | 1.60 ± 0.14 | – |",
        "| y | 0.400ᵃᵇ↓ | 0.13 | 0.400 |",
        "| gone | – | – | – |",
        "",
        r"ᵃ better than BM25, ᵇ better than X & Y\_1: paired t-test on nDCG@10, Holm over 3 comparisons, "
        r"p \< 0.05; ↓ marks worse.  ",
        "Mean ± sample standard deviation over 2 seeds.",
    ]


@pytest.mark.parametrize(
    ("label", "written"),
    [
        ("[x](y)", r"\[x\](y)"),
        ("~~x~~", r"~\~x\~\~"),
        ("~0.6", "~0.6"),
        ("R&amp;D & R", r"R\&amp;D & R"),
        ("$x$", r"\$x\$"),
        ("a\\|b", r"a\\\|b"),
    ],
)
def test_markdown_means_nothing_by_a_text(label: str, written: str, table: Layout) -> None:
    lines = [table.lines[0]._replace(label=label)]
    found = markdown(table._replace(caption=label, lines=lines, legend=[label])).splitlines()
    assert found[0] == f"**{written}**"
    assert found[4].startswith(f"| {written} |")
    assert found[6] == written


@pytest.mark.parametrize("text", ["# x-y", "- x", "+ x", "= x"])
def test_what_begins_a_list_or_a_heading_does_so_at_the_start_of_a_line_alone(text: str, table: Layout) -> None:
    lines = [table.lines[0]._replace(label=text)]
    found = markdown(table._replace(caption=text, lines=lines, legend=[text])).splitlines()
    assert found[0] == f"**{text}**"
    assert found[4].startswith(f"| {text} |")
    assert found[6] == f"\\{text}"


def test_csv_keeps_unrounded_values(table: Layout) -> None:
    rows = list(csv.DictReader(io.StringIO(comma_separated(table))))
    assert float(rows[1]["one nDCG@10"]) == pytest.approx(0.51)
    assert float(rows[1]["one nDCG@10 std"]) == pytest.approx(0.02 / 2**0.5)
    assert rows[2]["one nDCG@10 marks"] == "ab↓"
    assert rows[2]["one FLOPS"] == "0.126"
    assert rows[3]["one nDCG@10"] == ""


def test_latex_is_balanced_and_escaped(table: Layout) -> None:
    text = latex(table)
    assert r"\caption{A \& B: 50\% of $<$all$>$ \textbar{} x\_y}" in text
    assert r" & \multicolumn{2}{c}{one} & \multicolumn{1}{c}{} \\" in text
    assert r"\cmidrule(lr){2-3}" in text
    assert r"X \& Y\_1 \emph{(note $<$1$>$)} & \textbf{0.510 $\pm$ 0.014}\textsuperscript{a}" in text
    assert r"0.400\textsuperscript{ab$\downarrow$} & 0.13 & 0.400 \\" in text
    assert text.isascii()
    begun, ended = re.findall(r"\\begin{(\w+)}", text), re.findall(r"\\end{(\w+)}", text)
    assert begun == ended[::-1] == ["table", "tabular"]
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    body = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {3}


def test_latex_prints_hyphens_and_dashes_as_they_are(table: Layout) -> None:
    text = latex(table._replace(caption="s--lambda_d-0.1 --- 1–2"))
    assert r"\caption{s-{}-lambda\_d-0.1 -{}-{}- 1\textendash{}2}" in text
    assert " & -- \\\\" in text  # a cell without a value


def test_a_latex_row_that_starts_as_an_option_is_none(table: Layout) -> None:
    first, second, *_ = table.lines
    lines = [first._replace(label="[1] BM25"), second._replace(label="*X")]
    text = latex(table._replace(lines=lines))
    assert "\n{}[1] BM25 & " in text
    assert "\n{}*X " in text


class _Balance(HTMLParser):
    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_is_balanced_escaped_and_needs_no_network(table: Layout) -> None:
    text = html(table)
    parser = _Balance()
    parser.feed(text)
    assert parser.open == []
    assert "<all>" not in text
    assert "A & B: 50% of <all> | x_y" in parser.text
    assert "http" not in text
    assert "<strong>0.510</strong>" in text
    assert "<sup class=worse>b↓</sup>" in text


def test_a_large_count_has_separators_wherever_people_read_it(table: Layout) -> None:
    line = table.lines[0]._replace(cells=[Cell(1234567.0, None, 0), *table.lines[0].cells[1:]])
    large = table._replace(lines=[line])
    for write in (markdown, latex, html):
        assert "1,234,567" in write(large)


def test_the_same_table_gives_the_same_text(table: Layout) -> None:
    again = layout(TABLE, FRAME.sample(frac=1, random_state=1), TESTS, engines=ENGINES)
    for write in WRITERS.values():
        assert write(again) == write(table)


def test_intervals_are_in_the_csv_and_beside_the_pointer() -> None:
    means = [
        {"system": "bm25", "collection": "one", "mean": 0.9, "low": 0.85, "high": 0.95},
        {"system": "x", "collection": "one", "mean": 0.51, "low": None, "high": None},
    ]
    tests = TESTS | {"interval": {"level": 0.95}, "means": means}
    found = layout(TABLE, FRAME, tests, engines=ENGINES)
    first, second, *_ = csv.DictReader(io.StringIO(comma_separated(found)))
    assert (first["one nDCG@10 low"], first["one nDCG@10 high"]) == ("0.85", "0.95")
    assert (second["one nDCG@10 low"], second["one nDCG@10 high"]) == ("", "")
    assert "one FLOPS low" not in first
    assert html(found).count('title="95% interval 0.850 to 0.950 (bootstrap over queries)"') == 1
    assert "interval" not in markdown(found)
