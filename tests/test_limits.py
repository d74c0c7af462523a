"""More documents than an engine gives are refused when a config is loaded."""

from typing import Any

import pytest
from test_cluster_config import load

from sparsemill.errors import UserError

TWO_PHASES = {"query": "two_phase"}
LIMITS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"depth": 10_001}, {}, "config: depth: engine os gives at most 10000 documents of a query, but 10001 are asked "),
    ({"depth": 10_000, "check_engine": "none"}, {}, ""),
    (
        {"depth": 20_000, "engine": "exact"},
        {},
        "config: depth: engine embedded gives at most 16384 documents of a query, but 20000 are asked for on pydocs; l",
    ),
    ({"depth": 20_000, "engine": "exact", "check_engine": "lucene"}, {}, ""),
    ({"depth": 2000}, TWO_PHASES, ""),
    ({"depth": 2001}, TWO_PHASES, "config: engines.os.two_phase: 2001 documents on pydocs x expansion_rate 5 are more"),
    ({"depth": 2001}, TWO_PHASES | {"two_phase": {"max_window_size": 20_000}}, "config: engines.os.two_phase: 2001"),
    ({"depth": 2001}, TWO_PHASES | {"two_phase": {"expansion_rate": 4}}, ""),
]


@pytest.mark.parametrize(("config", "entry", "told"), LIMITS)
def test_more_documents_than_an_engine_gives(config: dict[str, Any], entry: dict[str, Any], told: str) -> None:
    if not told:
        assert load(entry, **config).depth == config["depth"]
        return
    with pytest.raises(UserError) as caught:
        load(entry, **config)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_a_query_that_finds_itself_asks_for_one_more() -> None:
    table = {"caption": "", "rows": [{"system": "ours"}], "columns": [{"measure": "nDCG@10", "collection": "twin"}]}
    same = {"twin": {"extends": "pydocs", "self_hits": "drop"}}
    with pytest.raises(UserError, match="at most 10000 documents of a query, but 10001 are asked for on twin"):
        load(collections=same, tables={"t": table}, depth=10_000)
    assert load(collections=same, depth=10_000)  # nothing is searched there


def test_two_phases_of_an_experiment_are_limited_by_its_window() -> None:
    config: dict[str, Any] = {"engine": "exact", "check_engine": "none"}
    config["experiments"] = {"x": {"extends": "ours", "model": "ours", "two_phase": {}}}
    column = {"measure": "nDCG@10", "collection": "pydocs"}
    table = {"caption": "", "rows": [{"system": "x"}], "columns": [column]}
    with pytest.raises(
        UserError, match=r"^config: experiments\.x\.two_phase: 2001 documents on pydocs x expansion_rate"
    ):
        load(**config, tables={"t": table}, depth=2001)
    timed = table | {"columns": [column | {"measure": "lucene:mean_ms@3000"}]}
    with pytest.raises(UserError, match=r"^config: experiments\.x\.two_phase: 3000 documents on pydocs"):
        load(**config, tables={"t": timed}, depth=200)
    assert load(**config, depth=2001)  # no table shows it


def test_a_miner_in_two_phases_is_limited_by_its_window() -> None:
    config: dict[str, Any] = {"experiments": {"x": {"extends": "ours", "model": "ours", "two_phase": {}}}}
    mined = {"extends": "pydocs", "miner": "x", "top": 2000}
    assert load(**config, training_sets={"s": mined})
    told = r"^config: experiments\.x\.two_phase: 2001 documents on pydocs-train x expansion_rate 5 are more"
    for keys in ({"top": 2001}, {"filter_top": 2001}, {"windows": [{"top": 2001, "keep": 1}]}):
        with pytest.raises(UserError, match=told):
            load(**config, training_sets={"s": mined | keys})
    same = {"twin": {"extends": "pydocs-train", "self_hits": "drop"}}
    with pytest.raises(UserError, match="2001 documents on twin"):
        load(**config, collections=same, training_sets={"s": mined | {"collection": "twin"}})
