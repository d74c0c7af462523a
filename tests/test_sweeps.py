"""Sweeps: from a base and a grid to named experiments."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sparsemill.errors import UserError
from sparsemill.study import edges, specs
from sparsemill.study.load import load_study
from sparsemill.study.models import Study
from sparsemill.study.sweeps import plain_value, sweep_members

CONFIG = Path(__file__).resolve().parent.parent / "config"
SWEEPS = {
    name: preset
    for preset in sorted(path.stem for path in (CONFIG / "sweeps").glob("*.yaml"))
    for name in yaml.safe_load((CONFIG / "sweeps" / f"{preset}.yaml").read_text())["sweeps"]
}
"""Shipped sweep -> its file, which is called like the preset that has its base."""


def inline(grid: Any, **keys: Any) -> dict[str, Any]:
    return {"base": "ours", "collection": "pydocs", "grid": grid, **keys}


def load(sweep: Any, **config: Any) -> Study:
    return load_study({"sweep": sweep, **config}, CONFIG)


def told(sweep: Any, **config: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(sweep, **config)
    return str(caught.value)


@pytest.mark.parametrize("name", SWEEPS)
def test_shipped_sweeps_expand(name: str) -> None:
    study = load([name], presets=[SWEEPS[name]])
    members = [row.system for row in study.tables[f"sweep-{name}"].rows[1:]]
    assert len(members) > 1
    assert set(members) < set(study.experiments)


def test_points_are_named_by_sweep_key_and_value() -> None:
    members = sweep_members("s", {"regulariser.lambda_d": [1e-4, 0.001], "query_side": ["idf"]})
    assert members == {
        "s--query_side-idf--lambda_d-0.0001": {"query_side": "idf", "regulariser": {"lambda_d": 0.0001}},
        "s--query_side-idf--lambda_d-0.001": {"query_side": "idf", "regulariser": {"lambda_d": 0.001}},
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


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-2", -2),
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


def test_a_sweep_on_the_command_line() -> None:
    """Everything below `--config` arrives as text."""
    study = load(inline({"regulariser.lambda_d": ["1e-3", "0.01"], "seeds": [["1", "2"]]}))
    assert study.sweep == ["ours"]
    member = study.experiments["ours--lambda_d-0.01--seeds-1-2"]
    assert (member.regulariser.lambda_d, member.seeds) == (0.01, [1, 2])
    base = study.experiments["ours"]
    assert member.regulariser.warmup_steps == base.regulariser.warmup_steps
    assert member.model_dump(exclude={"seeds", "regulariser"}) == base.model_dump(exclude={"seeds", "regulariser"})


def test_table_and_figure_of_a_sweep() -> None:
    study = load(inline({"temperature": [1, 2]}), measures=["AP", "nDCG@10", "MRR@10", "R@100"])
    table = study.tables["sweep-ours"]
    assert [row.system for row in table.rows] == ["ours", "ours--temperature-1", "ours--temperature-2"]
    assert [row.label for row in table.rows] == ["", "temperature-1", "temperature-2"]
    assert [row.compare for row in table.rows] == [[], ["ours"], ["ours"]]
    assert [column.measure for column in table.columns] == ["AP", "nDCG@10", "MRR@10", "FLOPS", "tokens/doc"]
    assert table.test_measure == study.figures["sweep-ours"].y == "AP"
    assert study.figures["sweep-ours"].systems == [row.system for row in table.rows]


def test_members_share_everything_upstream() -> None:
    study = load(inline({"regulariser.lambda_d": [0.1, 0.2]}))
    one, other = (f"models/ours--lambda_d-{value}/seed-0" for value in (0.1, 0.2))
    assert edges.upstream(study, one) == edges.upstream(study, other) == edges.upstream(study, "models/ours/seed-0")
    changed = specs.finetune(study, "ours--lambda_d-0.1", "0")
    changed["regulariser"]["lambda_d"] = 0.2
    assert changed == specs.finetune(study, "ours--lambda_d-0.2", "0")


def test_a_sweep_of_an_overlay_and_an_overlays_base() -> None:
    study = load_study(
        {
            "experiments": {"mine": {"extends": "ours", "steps": 5}},
            "sweeps": {"s": {"base": "mine", "collection": "pydocs", "grid": {"seeds": [[0, 1]]}}},
            "sweep": ["s", "lambda-idf"],
        },
        CONFIG,
    )
    assert study.experiments["s--seeds-0-1"].steps == 5
    assert {"sweep-s", "sweep-lambda-idf"} <= set(study.tables)


def test_sweeps_that_are_not_chosen_train_nothing() -> None:
    assert not [name for name in load([]).experiments if "--" in name]


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("lambda-idf", "config: sweep: expected a list of names or {base, grid, collection}, got 'lambda-idf'"),
        (["lambda-idff"], "config: sweep: no sweep 'lambda-idff'; did you mean 'lambda-idf'?"),
        ({"base": "ours", "collection": "pydocs"}, "config: sweeps.ours.grid: Field required"),
        (inline({}), "config: sweeps.ours.grid: "),
        (inline({"steps": []}), "config: sweeps.ours.grid.steps: "),
        (inline({"steps": 3}), "config: sweeps.ours.grid.steps: Input should be a valid list, got 3"),
        (inline({"steps": [3]}, bse=1), "config: sweeps.ours.bse: unknown key; did you mean 'base'?"),
        (inline({"steps": [3]}, base="our"), "config: sweeps.our.base: no experiment 'our'; did you mean 'ours'?"),
        (inline({"steps": [3]}, collection="x"), "config: tables.sweep-ours.columns: no collection or group 'x'"),
        (inline({"steps": [3, 3.0]}), "config: sweeps.ours.grid: the point ours--steps-3 is there twice"),
        (inline({"regulariser": [{"lambda_d": 1}]}), "config: sweeps.ours.grid.regulariser: a value is a mapping"),
        (
            inline({"regulariser": [1], "regulariser.lambda_d": [1]}),
            "config: sweeps.ours.grid.regulariser: the grid has keys below it too",
        ),
        (
            inline({"regulariser.lamda_d": [0.5]}),
            "config: experiments.ours--lamda_d-0.5.regulariser.lamda_d: unknown key; did you mean 'lambda_d'?",
        ),
    ],
)
def test_sweeps_that_make_no_sense(sweep: Any, message: str) -> None:
    line = told(sweep)
    assert line.startswith(message) or message.split(": ", 2)[2] in line
    assert "\n" not in line


def test_a_member_never_replaces_an_experiment() -> None:
    taken = {"ours--steps-3": {"extends": "ours", "steps": 4}}
    assert "experiments.ours--steps-3 is a preset already" in told(inline({"steps": [3]}), experiments=taken)
