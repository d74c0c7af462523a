"""Means over groups of collections: their shares, what is planned for them, hand numbers, and what is missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sparsemill.errors import UserError
from sparsemill.evaluation.significance import Comparison, compare, with_groups
from sparsemill.study import plan, specs
from sparsemill.study.groups import shares
from sparsemill.study.load import load_study
from sparsemill.study.models import Column, Row, Study, Table
from sparsemill.tables import groups as means
from sparsemill.tables.layout import layout
from sparsemill.tables.tidy import Record, to_frame, values_of

CONFIG = Path(__file__).resolve().parent.parent / "config"
FOLDER = {"kind": "beir_folder", "path": "x"}
GROUPS = {"inner": {"members": ["a", "b"]}, "all": {"members": ["inner", "c"]}}


def study(groups: dict[str, Any] = GROUPS, **config: Any) -> Study:
    collections = dict.fromkeys("abc", FOLDER)
    return load_study({"collections": collections, "groups": groups, **config}, CONFIG)


def table(*columns: tuple[str, str], **keys: Any) -> dict[str, Any]:
    shown = [{"measure": measure, "collection": collection} for measure, collection in columns]
    return {
        "caption": "",
        "rows": [{"system": "bm25"}, {"system": "ours", "compare": ["bm25"]}],
        "columns": shown,
        **keys,
    }


def test_a_group_inside_a_group_counts_as_one() -> None:
    assert shares(study(), "all") == {"a": 0.25, "b": 0.25, "c": 0.5}
    assert shares(study(), "inner") == {"a": 0.5, "b": 0.5}
    assert shares(study(), "c") == {"c": 1.0}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"a": {"members": ["b"]}}, "groups.a: collections has an entry of that name too"),
        ({"g": {"members": ["aa"]}}, "groups.g.members: no collection or group 'aa'; did you mean"),
        ({"g": {"members": ["h"]}, "h": {"members": ["g"]}}, "groups.g: is a member of itself: g -> h -> g"),
        ({"g": {"members": ["a", "a"]}}, "groups.g.members: a member is named twice"),
    ],
)
def test_mistakes_are_told(groups: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        study(groups)


def test_a_group_plans_what_its_members_need() -> None:
    found = study(tables={"t": table(("nDCG@10", "all"), ("latency/BM25", "inner"))})
    kept = {cell.collection for cell in plan.wanted_cells(found)}
    assert kept >= set("abc")
    assert [key for key in plan.table_evaluations(found, "t") if "/bm25/" in key] == [
        f"evaluations/bm25/fixed/{collection}/lucene" for collection in "abc"
    ]
    timed = {key.split("/")[3] for key in plan.costs(found, "latency")}
    assert timed >= {"a", "b"}
    assert "c" not in timed
    assert specs.render_table(found, "t")["groups"] == {"all": shares(found, "all"), "inner": shares(found, "inner")}
    assert "groups" not in specs.render_table(found, "demo")


def test_groups_are_shown_by_tables_figures_and_expected_values_only() -> None:
    figure = {"kind": "tradeoff", "caption": "", "collection": "all", "systems": ["ours"]}
    expected = {"system": "ours", "collection": "all", "measure": "nDCG@10", "value": 1, "tolerance": 1, "source": "s"}
    found = study(figures={"f": figure}, expected=[expected])
    assert (
        specs.plot_figure(found, "f")["groups"]
        == specs.check_expected(found)["groups"]
        == {"all": shares(found, "all")}
    )
    with pytest.raises(UserError, match=r"figures.f.collection: no collection 'all'"):
        study(figures={"f": {**figure, "kind": "activation"}})


def record(system: str, collection: str, measure: str, value: float, seed: int | None = None) -> Record:
    variant = "fixed" if seed is None else f"seed-{seed}"
    return Record(system, variant, seed, collection, "lucene" if "@" in measure else "", measure, value, 10, "key")


SHARES = {"all": {"a": 0.25, "b": 0.25, "c": 0.5}}
FRAME = to_frame(
    [record("x", place, "nDCG@10", value, 0) for place, value in (("a", 0.2), ("b", 0.6), ("c", 0.5))]
    + [record("x", place, "nDCG@10", value, 1) for place, value in (("a", 0.4), ("b", 0.6), ("c", 0.5))]
    + [record("x", place, "FLOPS", value, 0) for place, value in (("a", 1.0), ("b", 3.0), ("c", 4.0))]
    + [record("y", place, "nDCG@10", 1.0, 0) for place in "ab"]
)
ENGINES = {"x": "lucene", "y": "lucene"}


def test_means_by_hand_for_every_seed_and_never_over_fewer() -> None:
    found = means.with_groups(FRAME, SHARES)
    assert values_of(found, "x", "all", "nDCG@10", engines=ENGINES) == pytest.approx([0.45, 0.5])
    assert values_of(found, "x", "all", "FLOPS", engines=ENGINES) == pytest.approx([3.0])
    assert values_of(found, "y", "all", "nDCG@10", engines=ENGINES) == []
    assert found[found["collection"] == "all"]["queries"].tolist() == [30, 30, 30]
    assert means.with_groups(FRAME, {}) is FRAME


def test_a_table_says_what_a_mean_is_of_and_why_there_is_none() -> None:
    shown = Table(
        caption="",
        rows=[Row(system="x", label="X"), Row(system="y", label="Y")],
        columns=[Column(measure="nDCG@10", collection="all"), Column(measure="FLOPS", collection="all")],
    )
    found = layout(shown, FRAME, None, engines=ENGINES, groups=SHARES)
    assert [[cell.text() for cell in line.cells] for line in found.lines] == [["0.475 ± 0.035", "3.000"], ["–", "–"]]
    assert "all: mean over 3 collections, of which groups inside it are averaged first." in found.legend
    # y has no vectors, so no FLOPS are missing; its nDCG@10 is.
    assert [note for note in found.legend if "for want of" in note] == ["all: no nDCG@10 of Y, for want of c."]


def test_a_check_with_a_second_engine_does_not_stand_in_for_a_member() -> None:
    shown = Table(caption="", rows=[Row(system="y")], columns=[Column(measure="nDCG@10", collection="all")])
    check = Record("y", "seed-0", 0, "c", "exact", "nDCG@10", 1.0, 10, "key")
    own = [record("y", place, "nDCG@10", 1.0, 0) for place in "ab"]
    found = layout(shown, to_frame([*own, check]), None, engines=ENGINES, groups=SHARES)
    assert found.lines[0].cells[0].mean is None
    assert found.legend[-1] == "all: no nDCG@10 of y, for want of c."


def test_the_pooled_test_is_about_the_groups_mean() -> None:
    random = np.random.default_rng(5)
    sizes = {"a": 4, "b": 40, "c": 11}
    values = {
        (system, place): {f"q{number}": float(value) for number, value in enumerate(random.random(size))}
        for system in "xy"
        for place, size in sizes.items()
    }
    pooled = with_groups(values | {("z", "a"): {"q0": 1.0}}, SHARES)
    assert ("z", "all") not in pooled
    for system in "xy":
        mean = sum(share * np.mean(list(values[system, place].values())) for place, share in SHARES["all"].items())
        assert np.mean(list(pooled[system, "all"].values())) == pytest.approx(mean)
    (outcome,) = compare(pooled, [Comparison("x", "y", "all")], test="t-test", alpha=0.05)
    weighted = [
        (values["x", place][query] - values["y", place][query]) * SHARES["all"][place] * 55 / size
        for place, size in sizes.items()
        for query in values["x", place]
    ]
    assert outcome.p == pytest.approx(stats.ttest_1samp(weighted, 0).pvalue)
    assert outcome.mean_difference == pytest.approx(np.mean(weighted))
