"""`scales`: one overlay key decides which values of an entry count; and `assumed`: values that no paper states."""

from pathlib import Path
from typing import Any

import pytest
from configs import load, told

from sparsemill.files import canonical_json
from sparsemill.study import specs
from sparsemill.study.models import Study

CONFIG = Path(__file__).resolve().parent.parent / "config"
Config = dict[str, Any]

SCALED = {
    "base": {
        "extends": "ours",
        "seeds": [1],
        "scales": {"paper": {"steps": 50, "regulariser": {"lambda_d": 0.02}}, "one-gpu": None},
    },
    "child": {"extends": "base", "regulariser": {"warmup_steps": 7}},
    "stubborn": {"extends": "base", "steps": 9, "regulariser": {"lambda_d": 0.5}},
    "deeper": {"extends": "base", "scales": {"paper": {"steps": 60}, "one-gpu": {"steps": 70}}},
}


def scaled(scale: str) -> Study:
    return load(scale=scale, experiments=SCALED)


def test_the_chosen_scale_is_merged_over_the_entry() -> None:
    demo, paper = load(), scaled("paper")
    base, ours = paper.experiments["base"], demo.experiments["ours"]
    assert (base.steps, base.regulariser.lambda_d, base.seeds) == (50, 0.02, [1])
    assert base.regulariser.warmup_steps == load(scale="paper").experiments["ours"].regulariser.warmup_steps
    assert scaled("demo").experiments["base"].model_dump() == ours.model_dump() | {"seeds": [1]}


def test_extends_takes_the_scales_along_and_what_stands_nearer_wins() -> None:
    """A point of a sweep or an ablation has its value at every scale, whatever the base says of that scale."""
    found = scaled("paper").experiments
    child = found["child"]
    assert (child.steps, child.regulariser.lambda_d, child.regulariser.warmup_steps) == (50, 0.02, 7)
    assert (found["stubborn"].steps, found["stubborn"].regulariser.lambda_d) == (9, 0.5)
    assert (found["deeper"].steps, found["deeper"].regulariser.lambda_d) == (60, 0.02)


def test_an_entry_whose_scale_is_null_is_left_out_with_those_that_extend_it() -> None:
    found = scaled("one-gpu").experiments
    assert not {"base", "child", "stubborn"} & set(found)
    assert found["deeper"].steps == 70
    table = {"caption": "", "rows": [{"system": "base"}], "columns": [{"measure": "AP", "collection": "pydocs"}]}
    assert "no experiment, released checkpoint, teacher or ensemble 'base'" in told(
        scale="one-gpu", experiments=SCALED, tables={"t": table}
    )


def test_a_sweep_is_evaluated_where_a_table_of_its_scale_shows_the_base() -> None:
    table = {"caption": "", "rows": [{"system": "ours"}]}
    demo = {"columns": [{"measure": "AP", "collection": "pydocs"}], "scales": {"one-gpu": None}}
    cited = {"measure": "AP", "collection": "elsewhere", "cited": True}
    larger = {"columns": [cited, {"measure": "AP", "collection": "networkx"}]}
    tables = {"first": {**table, **demo}, "second": {**table, **larger}}
    found = load(scale="one-gpu", tables=tables, sweep={"steps": [3]})
    assert found.sweeps["ours"].collection == "networkx"


def test_a_base_that_its_scale_leaves_out() -> None:
    sweep = {"base": "short", "collection": "pydocs", "steps": [3]}
    assert told(scale="paper", sweep=sweep).startswith("config: sweeps.short.base: short is left out at this scale")
    extended = {"extends": ["ours", "short"], "collection": "pydocs"}
    assert "config: sweeps.ours.grid.extends: short is left out" in told(scale="paper", sweep=extended)


def test_sweeps_have_scales_and_their_points_keep_their_values() -> None:
    sweep = {"base": "base", "collection": "pydocs", "grid": {"regulariser.lambda_d": [1, 2]}}
    grid = {"regulariser.lambda_d": [0.1, 0.3]}
    assumed = {"regulariser.lambda_d": "the grid is not printed"}
    sweeps = {"s": {**sweep, "assumed": assumed, "scales": {"paper": {"grid": grid}}}}
    found = load(scale="paper", experiments=SCALED, sweeps=sweeps, sweep=["s"])
    point = found.experiments["s--lambda_d-0.3"]
    assert (point.steps, point.regulariser.lambda_d) == (50, 0.3)
    assert point.assumed.items() >= assumed.items()
    assert "s--lambda_d-1" in load(experiments=SCALED, sweeps=sweeps, sweep=["s"]).experiments


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"scale": "papper"}, "config: scale: no scale 'papper'; did you mean 'paper'?"),
        (
            {"experiments": {"x": {"extends": "ours", "scales": {"onegpu": {}}}}},
            "config: experiments.x.scales: no scale 'onegpu'; did you mean 'one-gpu'?",
        ),
        (
            {"experiments": {"x": {"extends": "ours", "scales": ["paper"]}}},
            "config: experiments.x.scales: expected a mapping of scales, got ['paper']",
        ),
        (
            {"experiments": {"x": {"extends": "ours", "scales": {"paper": 3}}}},
            "config: experiments.x.scales.paper: expected a mapping or null, got 3",
        ),
        (
            {"scale": "paper", "experiments": {"x": {"extends": "ours", "scales": {"paper": {"stepz": 3}}}}},
            "config: experiments.x.stepz: unknown key; did you mean 'steps'?",
        ),
        (
            {"scale": "paper", "experiments": {"x": {"extends": "ours", "scales": {"paper": {"extends": "ours"}}}}},
            "config: experiments.x.extends: unknown key",
        ),
    ],
)
def test_mistakes(config: Config, message: str) -> None:
    assert told(**config).startswith(message)


def test_a_preset_is_not_redefined_by_a_scale_of_its_own() -> None:
    assert told(experiments={"ours": {"scales": {"paper": {"steps": 1}}}}).startswith(
        "config: experiments.ours is a preset already"
    )


def test_expected_values_belong_to_a_scale() -> None:
    value = {"system": "ours", "collection": "pydocs", "measure": "AP", "value": 1, "tolerance": 1, "source": ""}
    values = [value, {**value, "scale": "paper"}, {**value, "scale": "demo"}]
    assert [item.scale for item in load(presets=["demo"], expected=values).expected[-2:]] == [None, "demo"]
    assert {item.scale for item in load(scale="paper", expected=values).expected} <= {None, "paper"}
    assert told(expected=[{**value, "scale": "paper!"}]).startswith("config: expected.")


# --- assumed -----------------------------------------------------------------------------------------------------


def marked(**assumed: str) -> Config:
    return {"x": {"extends": "ours", "assumed": assumed}}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("learning_rat", "config: experiments.x: assumed: no key 'learning_rat'; did you mean 'learning_rate'?"),
        ("regulariser.lamda_d", "assumed: no key 'regulariser.lamda_d'; did you mean 'lambda_d'?"),
        ("steps.more", "assumed: no key 'steps.more'"),
    ],
)
def test_assumed_keys_exist(key: str, message: str) -> None:
    assert message in told(experiments=marked(**{key: "a guess"}))


def test_assumed_keys_have_evidence() -> None:
    assert "assumed: steps needs its evidence" in told(experiments=marked(steps=" "))
    entry = {"extends": "pre-idf", "assumed": {"backbone": "the released code"}}
    assert load(pretrainings={"y": entry}).pretrainings["y"].assumed == {"backbone": "the released code"}


def test_evidence_is_no_part_of_the_identity() -> None:
    one = load(experiments=marked(**{"steps": "a guess", "regulariser.warmup_steps": "the released code"}))
    other, none = load(experiments=marked(steps="another text")), load(experiments=marked())
    texts = [canonical_json(specs.finetune(study, "x", "0")) for study in (one, other, none)]
    assert texts[0] == texts[1] == texts[2] == canonical_json(specs.finetune(load(), "ours", "0"))
    assert specs.trained_facts(one, "models/x/seed-0")["assumed"] == one.experiments["x"].assumed
    assert specs.trained_facts(one, "pretrained/pre-idf/seed-0")["assumed"] == one.pretrainings["pre-idf"].assumed


def test_checkpoints_are_no_part_of_the_identity() -> None:
    training = {"training_set": "pydocs", "steps": 1, "queries_per_step": 2, "documents_per_query": 2}
    weights = {"weights": {"kind": "folder", "path": "here"}}
    often, seldom = (
        load(
            experiments={"x": {"extends": "ours", "checkpoint_steps": steps}},
            pretrainings={"x": {"extends": "pre-idf", "checkpoint_steps": steps}},
            cross_encoders={"x": {**weights, **training, "checkpoint_steps": steps}},
        )
        for steps in (7, 70)
    )
    assert specs.finetune(often, "x", "0") == specs.finetune(seldom, "x", "0")
    assert specs.pretrain(often, "x", "0") == specs.pretrain(seldom, "x", "0")
    assert specs.train_cross_encoder(often, "x") == specs.train_cross_encoder(seldom, "x")
    for key in ("models/x/seed-0", "pretrained/x/seed-0", "cross_encoders/x"):
        assert specs.trained_facts(seldom, key)["checkpoint_steps"] == 70
