"""Sweeps: from a base and a grid to named experiments."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sparsemill.errors import UserError
from sparsemill.study import edges, pages, plan, specs
from sparsemill.study.load import load_study
from sparsemill.study.models import Study
from sparsemill.study.sweep_keys import plain_value
from sparsemill.study.sweep_points import sweep_points
from sparsemill.study.sweeps import sweep_members

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


def short(**keys: Any) -> Study:
    """A sweep as on the command line, without base, collection and grid."""
    return load(keys)


def test_keys_and_values_are_a_sweep() -> None:
    study = short(lambda_d=["1e-3", "1e-2"], query_side=["idf", "binary"], seeds=["0", "1", "2"])
    members = [name for name in study.experiments if name.startswith("ours--")]
    assert members == [
        f"ours--query_side-{side}--lambda_d-{value}" for side in ("binary", "idf") for value in ("0.001", "0.01")
    ]
    member = study.experiments["ours--query_side-binary--lambda_d-0.01"]
    assert (member.query_side, member.regulariser.lambda_d, member.seeds) == ("binary", 0.01, [0, 1, 2])
    assert {column.collection for column in study.tables["sweep-ours"].columns} == {"pydocs"}
    assert load({"base": "doc-distill", "steps": [3]}).sweep == ["doc-distill"]


def test_seeds_alone_are_one_point() -> None:
    assert short(seeds=[0, 1]).experiments["ours--seeds-0-1"].seeds == [0, 1]


def test_points_derive_their_ensembles() -> None:
    study = short(scale=[10, 30], normalisation=["minmax", "zscore"], temperature=[1, 2])
    ensembles = {name for name in study.ensembles if "--" in name}
    derived = "minilm-bm25-s30--normalisation-zscore--scale-10"
    assert derived in ensembles
    assert len(ensembles) == 3
    assert study.ensembles[derived].teachers == study.ensembles["minilm-bm25-s30"].teachers
    member = study.experiments["ours--normalisation-zscore--scale-10--temperature-2"]
    assert (member.ensemble, member.temperature) == (derived, 2)
    # The values of the base's own ensemble name that one.
    assert study.experiments["ours--normalisation-minmax--scale-30--temperature-1"].ensemble == "minilm-bm25-s30"


def test_a_grid_may_name_ensembles_and_change_them() -> None:
    grid = {"ensemble": ["minilm-bm25", "minilm-bm25-added"], "teachers": [["minilm"], ["minilm", "bm25"]]}
    study = short(**grid)
    member = study.experiments["ours--ensemble-minilm-bm25-added--teachers-minilm"]
    ensemble = study.ensembles[str(member.ensemble)]
    assert (ensemble.teachers, ensemble.normalisation, ensemble.scale) == (["minilm"], "none", 1)


def test_points_derive_their_pre_trainings() -> None:
    study = load({"pretraining.lambda_d": [0.1, "1e-2"], "pretraining.ensemble.scale": [5]})
    member = study.experiments["ours--pretraining.scale-5--pretraining.lambda_d-0.1"]
    pretraining = study.pretrainings[member.start]
    assert (member.start, pretraining.regulariser.lambda_d) == ("pre-idf--scale-5--lambda_d-0.1", 0.1)
    assert study.ensembles[str(pretraining.ensemble)].scale == 5
    assert pretraining.regulariser.warmup_steps == study.pretrainings["pre-idf"].regulariser.warmup_steps


def test_points_of_several_bases() -> None:
    study = load({"extends": ["ours", "ours-without-idf"], "lambda_d": [0.1]})
    sides = {name: study.experiments[name].query_side for name in study.experiments if name.startswith("ours--")}
    assert sides == {
        "ours--extends-ours--lambda_d-0.1": "idf",
        "ours--extends-ours-without-idf--lambda_d-0.1": "binary",
    }


RETRAINED = {"normalized", "targets", "models", "vectors", "indexes", "runs", "evaluations", "sparsity"}
SHOWN = {
    "sweeps",
    "pages",
    "collection_pages",
    "tidy",
    "significance",
    "tables",
    "figures",
    "expected",
    "published",
    "verified",
}


@pytest.mark.parametrize(
    ("sweep", "made"),
    [
        ({"scale": [10, 20]}, RETRAINED - {"normalized"}),
        ({"normalisation": ["zscore"]}, RETRAINED),
        ({"teachers": [["bm25"]]}, RETRAINED - {"normalized"}),
        ({"lambda_d": ["1e-3"]}, RETRAINED - {"normalized", "targets"}),
        ({"pretraining.temperature": [3]}, RETRAINED - {"normalized", "targets"} | {"pretrained"}),
        ({"prune": [{}]}, None),
        ({"quantisation": [50]}, {"indexes", "runs", "evaluations", "sparsity"}),
        ({"prune.top_k": [50]}, {"vectors", "indexes", "runs", "evaluations", "sparsity"}),
        ({"temperature": [4]}, {"runs", "evaluations", "sparsity"}),
    ],
)
def test_only_what_differs_is_made(sweep: dict[str, Any], made: set[str] | None) -> None:
    if made is None:
        assert "a value is a mapping" in told(sweep)
        return
    before = set(edges.closure(load([]), ["verified"]))
    new = set(edges.closure(load(sweep), ["verified"])) - before
    assert {key.split("/")[0] for key in new} - SHOWN == made


def test_a_figure_for_each_key_with_several_values() -> None:
    study = short(lambda_d=["2e-2", 0.1], scale=[10, 20], temperature=[4], seeds=[0, 1])
    assert {name for name in study.figures if name.startswith("sweep-ours-")} == {
        "sweep-ours-lambda_d",
        "sweep-ours-scale",
    }
    spec = specs.plot_figure(study, "sweep-ours-scale")
    assert spec["settings"]["ours"] == {"scale": 30, "lambda_d": 0.02, "temperature": 4}
    assert spec["settings"]["ours--scale-10--lambda_d-0.1--temperature-4"]["lambda_d"] == 0.1
    assert pages.sweep_page(study, "ours")["settings"] == spec["settings"]
    assert {"sweeps/ours", "figures/sweep-ours-scale"} <= set(plan.results(study))


def test_the_base_is_no_second_point() -> None:
    study = load({"extends": ["ours", "ours-without-idf"], "lambda_d": ["2e-2"]})
    assert "ours" not in sweep_points(study, "ours")
    assert sweep_points(load({"pretraining.steps": [5]}), "ours")["ours"] == {"pretraining.steps": 150}


FIGURE = {"kind": "sweep", "caption": "", "collection": "pydocs", "systems": ["ours"], "sweep": "ours"}


def test_figures_of_sweeps_that_make_no_sense() -> None:
    sweep = {"steps": [3, 4]}
    assert "no swept key of ours 'step'; did you mean 'steps'?" in told(sweep, figures={"f": {**FIGURE, "key": "step"}})
    assert "no chosen sweep 'o'" in told(sweep, figures={"f": {**FIGURE, "key": "steps", "sweep": "o"}})
    assert "kind sweep, and no other, has `sweep` and `key`" in told(sweep, figures={"f": FIGURE})


def test_points_that_differ_after_training_share_a_model() -> None:
    study = load({"prune.top_k": [50, 100], "steps": [3], "seeds": [0, 1]})
    first, second = "ours--top_k-50--steps-3", "ours--top_k-100--steps-3"
    assert (study.experiments[first].model, study.experiments[second].model) == (None, first)


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
        (
            "lambda-idf",
            "config: sweep: expected a list of names, or a mapping of keys to values, got 'lambda-idf'",
        ),
        (["lambda-idff"], "config: sweep: no sweep 'lambda-idff'; did you mean 'lambda-idf'?"),
        ({"base": "ours", "collection": "pydocs"}, "config: sweeps.ours.grid: Field required"),
        (inline({}), "config: sweeps.ours.grid: "),
        (
            {"max_ratio": [0.1]},
            "config: sweeps.ours.grid.max_ratio: max_ratio is short for prune.max_ratio and query_prune.max_ratio",
        ),
        (
            {"lamda_d": [1]},
            "config: sweeps.ours.grid.lamda_d: no key 'lamda_d' in experiments; did you mean 'lambda_d'?",
        ),
        (
            {"lambda_d": [1], "regulariser.lambda_d": [1]},
            "config: sweeps.ours.grid: regulariser.lambda_d is there twice",
        ),
        (
            {"ensemble.scales": [1]},
            "config: sweeps.ours.grid.ensemble.scales: no key 'scales' in ensembles; did you mean",
        ),
        ({"ensemble": ["x"], "scale": [1]}, "config: sweeps.ours.grid: experiments.ours.ensemble: x is no entry of"),
        (
            {"base": "doc-distill", "pretraining.steps": [1]},
            "config: sweeps.doc-distill.grid: experiments.doc-distill.start: minilm-l2-pydocs is no entry of",
        ),
        ({"extends": ["our"], "steps": [1]}, "config: sweeps.ours.base: no experiment 'our'; did you mean 'ours'?"),
        ({"base": "siamese", "steps": [1]}, "config: sweeps.siamese.collection: no table shows siamese"),
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
