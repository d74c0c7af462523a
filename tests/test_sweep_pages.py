"""What a sweep ends in: a plot against each key, and parallel coordinates."""

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from matplotlib import pyplot as plt

from sparsemill.errors import UserError
from sparsemill.study.models import Figure
from sparsemill.tables.parallel_page import key_axis, measure_axis, page
from sparsemill.tables.sweep_plot import Mean, axis_scale, lines, sweep_plot
from sparsemill.tables.tidy import Record, to_frame

SETTINGS: dict[str, dict[str, Any]] = {
    "b": {"lambda_d": 0.02, "side": "idf"},
    "s-1": {"lambda_d": 0.3, "side": "idf"},
    "s-2": {"lambda_d": 0.001, "side": "idf"},
    "s-3": {"lambda_d": 0.001, "side": "binary"},
    "s-4": {"lambda_d": 0.3, "side": "binary"},
}
VALUES = {"b": [0.7], "s-1": [0.6, 0.62], "s-2": [0.5], "s-3": [0.4, 0.5, 0.6]}
FRAME = to_frame(
    Record(system, f"seed-{seed}", seed, "c", "lucene", "nDCG@10", value, 5, "k")
    for system, values in VALUES.items()
    for seed, value in enumerate(values)
)
ENGINES = dict.fromkeys(SETTINGS, "lucene")


def figure(key: str, **keys: Any) -> Figure:
    return Figure(kind="sweep", caption="x", collection="c", systems=list(SETTINGS), sweep="s", key=key, **keys)


def test_a_line_for_each_value_of_the_other_keys() -> None:
    found = lines(figure("lambda_d"), FRAME, engines=ENGINES, settings=SETTINGS)
    assert list(found) == ["side idf", "side binary"]
    assert [point.value for point in found["side idf"]] == [0.001, 0.02, 0.3]
    assert found["side idf"][2] == Mean(0.3, pytest.approx(0.61), pytest.approx(0.02 / 2**0.5))
    assert found["side binary"] == [Mean(0.001, pytest.approx(0.5), pytest.approx(0.1))]
    assert list(lines(figure("side"), FRAME, engines=ENGINES, settings=SETTINGS)) == [
        "lambda_d 0.02",
        "lambda_d 0.3",
        "lambda_d 0.001",
    ]
    with pytest.raises(UserError, match="none of its systems has a AP"):
        lines(figure("side", y="AP"), FRAME, engines=ENGINES, settings=SETTINGS)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([0.001, 0.3], "log"),
        ([1, 10], "log"),
        ([1, 9], "linear"),
        ([0, 0.001, 1], "symlog"),
        ([0, 1], "linear"),
        ([-1, 1, 100], "linear"),
        ([5], "linear"),
    ],
)
def test_the_axis_is_logarithmic_over_decades(values: list[float], scale: str) -> None:
    assert axis_scale(values) == scale


def test_the_plot_marks_the_swept_values() -> None:
    weights = sweep_plot(figure("lambda_d"), lines(figure("lambda_d"), FRAME, engines=ENGINES, settings=SETTINGS))
    sides = sweep_plot(figure("side"), lines(figure("side"), FRAME, engines=ENGINES, settings=SETTINGS))
    plt.close("all")
    assert weights.axes[0].get_xscale() == "log"
    assert [tick.get_text() for tick in weights.axes[0].get_xticklabels()] == ["0.001", "0.02", "0.3"]
    assert [tick.get_text() for tick in sides.axes[0].get_xticklabels()] == ["idf", "binary"]
    assert len(weights.axes[0].get_legend().get_texts()) == 2
    assert (weights.axes[0].get_xlabel(), weights.axes[0].get_ylabel()) == ("lambda_d", "nDCG@10 on c")


def test_lines_join_numbers_alone_and_every_deviation_is_inside() -> None:
    drawn = {"a": [Mean(1, 0.5, 0.2), Mean(2, 0.6, 0)], "b": [Mean(1, 0.9, 0.3), Mean(2, 0.4, 0.3)]}
    words = {name: [point._replace(value=str(point.value)) for point in points] for name, points in drawn.items()}
    for series, style in ((drawn, "-"), (words, "None")):
        axes = sweep_plot(figure("k"), series).axes[0]
        plt.close("all")
        assert [line[0].get_linestyle() for line in axes.containers] == [style, style]
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert (bottom < 0.1, top > 1.2, left < axes.get_xticks()[0], right > axes.get_xticks()[-1]) == (True,) * 4


def test_axes_by_hand() -> None:
    assert key_axis("k", [30, 10, 90, 10]).heights == [0.5, 0, 1, 0]
    assert key_axis("k", ["b", "a", "b"]) == ("k", ["b", "a", "b"], [0, 1, 0], False)
    assert key_axis("k", [True, None])[1] == ["true", "null"]
    assert measure_axis("m", [0.5, None, 0.75]) == ("m", ["0.5", "–", "0.75"], [0, None, 1], True)
    assert measure_axis("m", [None]).heights == [None]


def test_no_line_runs_through_the_values_at_the_ends_of_axes() -> None:
    text = page(
        "s", {name: name for name in "abc"}, [key_axis("k", [1, 2, 3])], [measure_axis("m", [0.1, 0.3, 0.2])], lead=""
    )
    ticks = re.findall(r'class="tick" x="(\d+)" y="([\d.]+)"[^>]*>([^<]+)', text)
    assert ticks == [
        *(("90", "414.0", "1"), ("97", "230.0", "2"), ("90", "48.0", "3")),
        *(("260", "414.0", "0.1"), ("260", "48.0", "0.3")),
    ]


def test_the_page_has_a_line_for_each_point_and_needs_no_network() -> None:
    keys = [key_axis("lambda <d>", [0.1, 1])]
    measures = [measure_axis("nDCG@10", [0.5, 0.75]), measure_axis("FLOPS", [None, 2.0])]
    text = page("Sweep s", {"a": "first & best", "b": "b"}, keys, measures, lead="Means.")
    drawing = re.search(r"<svg.*</svg>", text, re.DOTALL)
    assert drawing is not None
    svg = ET.fromstring(drawing[0])
    points = [group for group in svg.iter("g") if group.get("class") == "point"]
    assert [group.findtext("title") for group in points] == [
        "first & best: lambda <d> 0.1; nDCG@10 0.5; FLOPS –",
        "b: lambda <d> 1; nDCG@10 0.75; FLOPS 2",
    ]
    corners = [group.findall("polyline")[1].get("points", "").split() for group in points]
    assert corners == [["90,396.0", "260,396.0"], ["90,56.0", "260,56.0", "430,396.0"]]
    assert len({group.findall("polyline")[1].get("stroke") for group in points}) == 2
    assert "http" not in text
    assert "<script" not in text
    assert ":hover" in text
