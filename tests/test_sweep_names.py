"""Names of a sweep's points, and values that arrive as text."""

from typing import Any

import pytest

from sparsemill.study.sweep_keys import plain_value
from sparsemill.study.sweeps import sweep_members


def test_points_are_named_by_sweep_key_and_value() -> None:
    members = sweep_members("s", {"regulariser.lambda_d": [1e-4, 0.001], "query_side": ["idf"]})
    assert members == {
        "s--query_side-idf--lambda_d-0.0001": {"query_side": "idf", "regulariser.lambda_d": 0.0001},
        "s--query_side-idf--lambda_d-0.001": {"query_side": "idf", "regulariser.lambda_d": 0.001},
    }


def test_names_do_not_depend_on_order_or_spelling() -> None:
    one = sweep_members("s", {"steps": [10], "regulariser.lambda_d": [0.001]})
    other = sweep_members("s", {"regulariser.lambda_d": ["1e-3"], "steps": ["10.0"]})
    assert one == other


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0.1234567891, "0.1234567891"),
        (1e-07, "1e-07"),
        (1e20, "100000000000000000000"),
        (2.0, "2"),
        (True, "true"),
        (None, "null"),
        ([1, 2], "1-2"),
        (1.5e300, None),
    ],
)
def test_values_in_names(value: Any, name: str | None) -> None:
    (member,) = sweep_members("s", {"k": [value]})
    assert name is None or member == f"s--k-{name}"
    assert "+" not in member


def test_a_key_that_experiments_have_too_is_named_in_full() -> None:
    assert list(sweep_members("s", {"regulariser.warmup_steps": [3]})) == ["s--regulariser.warmup_steps-3"]
    assert list(sweep_members("s", {"warmup_steps": [3]})) == ["s--warmup_steps-3"]


def test_a_key_that_ends_as_another_one_is_named_in_full() -> None:
    for key in ("prune.top_k", "query_prune.top_k", "pretraining.regulariser.warmup_steps"):
        assert list(sweep_members("s", {key: [3]})) == [f"s--{key}-3"]
    assert list(sweep_members("s", {"pretraining.regulariser.lambda_d": [3]})) == ["s--pretraining.lambda_d-3"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-2", -2),
        ("9007199254740993", 2**53 + 1),
        (".5", 0.5),
        ("3.0", 3),
        (3.0, 3),
        ("true", True),
        ("null", None),
        ("idf", "idf"),
        ("1.2.3", "1.2.3"),
        (["1", ["2"]], [1, [2]]),
        ("", ""),
    ],
)
def test_values_that_arrive_as_text(text: Any, value: Any) -> None:
    found = plain_value(text)
    assert found == value
    assert type(found) is type(value)
