"""Sweeps: from a base and a grid to named experiments."""

from typing import Any

import pytest
from configs import CONFIG, grid_of, load, read, told

from sparsemill.study import edges, pages, plan, specs
from sparsemill.study.sweep_points import sweep_points

SWEEPS = {
    name: preset
    for preset in sorted(path.stem for path in (CONFIG / "sweeps").glob("*.yaml"))
    for name in read(CONFIG / "sweeps" / f"{preset}.yaml")["sweeps"]
}
"""Shipped sweep -> its file, which is called like the preset that has its base."""


@pytest.mark.parametrize("name", SWEEPS)
def test_shipped_sweeps_expand(name: str) -> None:
    study = load(sweep=[name], presets=[SWEEPS[name]])
    members = [row.system for row in study.tables[f"sweep-{name}"].rows[1:]]
    assert len(members) > 1
    assert set(members) < set(study.experiments)


def test_a_sweep_on_the_command_line() -> None:
    """Everything below `--config` arrives as text."""
    study = load(sweep=grid_of({"regulariser.lambda_d": ["1e-3", "0.01"], "seeds": [["1", "2"]]}))
    assert study.sweep == ["ours"]
    member = study.experiments["ours--lambda_d-0.01--seeds-1-2"]
    assert (member.regulariser.lambda_d, member.seeds) == (0.01, [1, 2])
    base = study.experiments["ours"]
    assert member.regulariser.warmup_steps == base.regulariser.warmup_steps
    assert member.model_dump(exclude={"seeds", "regulariser"}) == base.model_dump(exclude={"seeds", "regulariser"})


def test_table_and_figure_of_a_sweep() -> None:
    study = load(sweep=grid_of({"temperature": [1, 2]}), measures=["AP", "nDCG@10", "MRR@10", "R@100"])
    table = study.tables["sweep-ours"]
    assert [row.system for row in table.rows] == ["ours", "ours--temperature-1", "ours--temperature-2"]
    assert [row.label for row in table.rows] == ["", "temperature-1", "temperature-2"]
    assert [row.compare for row in table.rows] == [[], ["ours"], ["ours"]]
    assert [column.measure for column in table.columns] == ["AP", "nDCG@10", "MRR@10", "FLOPS", "tokens/doc"]
    assert [column.digits for column in table.columns] == [3, 3, 3, 3, 1]
    assert table.test_measure == study.figures["sweep-ours"].y == "AP"
    assert study.figures["sweep-ours"].systems == [row.system for row in table.rows]


def test_a_sweeps_label_is_for_the_figures_that_show_it() -> None:
    study = load(sweep=["lambda-idf"], presets=["demo"])
    assert specs.plot_figure(study, "sweep-lambda-idf")["labels"]["lambda-idf"] == "with IDF"
    assert not any(
        "lambda-idf" in specs.plot_figure(study, name)["labels"] for name in ("activation", "effectiveness-flops")
    )


def test_the_base_of_one_key_is_a_point_of_the_figure() -> None:
    study = load(sweep=["lambda-idf"], presets=["demo"])
    assert specs.plot_figure(study, "sweep-lambda-idf")["bases"] == {"ours": "lambda-idf--lambda_d-0.02"}
    assert specs.plot_figure(study, "effectiveness-flops")["bases"] == {}
    several = load(sweep={"lambda_d": [1e-3, 0.1], "temperature": [1, 2]})
    assert specs.plot_figure(several, "sweep-ours")["bases"] == {}


def test_members_share_everything_upstream() -> None:
    study = load(sweep=grid_of({"regulariser.lambda_d": [0.1, 0.2]}))
    one, other = (f"models/ours--lambda_d-{value}/seed-0" for value in (0.1, 0.2))
    assert edges.upstream(study, one) == edges.upstream(study, other) == edges.upstream(study, "models/ours/seed-0")
    changed = specs.finetune(study, "ours--lambda_d-0.1", "0")
    changed["regulariser"]["lambda_d"] = 0.2
    assert changed == specs.finetune(study, "ours--lambda_d-0.2", "0")


def test_keys_and_values_are_a_sweep() -> None:
    study = load(sweep={"lambda_d": ["1e-3", "1e-2"], "query_side": ["idf", "binary"], "seeds": ["0", "1", "2"]})
    members = [name for name in study.experiments if name.startswith("ours--")]
    assert members == [
        f"ours--query_side-{side}--lambda_d-{value}" for side in ("binary", "idf") for value in ("0.001", "0.01")
    ]
    member = study.experiments["ours--query_side-binary--lambda_d-0.01"]
    assert (member.query_side, member.regulariser.lambda_d, member.seeds) == ("binary", 0.01, [0, 1, 2])
    assert {column.collection for column in study.tables["sweep-ours"].columns} == {"pydocs"}
    assert load(sweep={"base": "doc-distill", "steps": [3]}).sweep == ["doc-distill"]


def test_seeds_alone_are_one_point() -> None:
    assert load(sweep={"seeds": [0, 1]}).experiments["ours--seeds-0-1"].seeds == [0, 1]


def test_points_derive_their_ensembles() -> None:
    study = load(sweep={"scale": [10, 30], "normalisation": ["minmax", "zscore"], "temperature": [1, 2]})
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
    study = load(sweep=grid)
    member = study.experiments["ours--ensemble-minilm-bm25-added--teachers-minilm"]
    ensemble = study.ensembles[str(member.ensemble)]
    assert (ensemble.teachers, ensemble.normalisation, ensemble.scale) == (["minilm"], "none", 1)


def test_points_derive_their_pre_trainings() -> None:
    study = load(sweep={"pretraining.lambda_d": [0.1, "1e-2"], "pretraining.ensemble.scale": [5]})
    member = study.experiments["ours--pretraining.scale-5--pretraining.lambda_d-0.1"]
    pretraining = study.pretrainings[member.start]
    assert (member.start, pretraining.regulariser.lambda_d) == ("pre-idf--scale-5--lambda_d-0.1", 0.1)
    assert study.ensembles[str(pretraining.ensemble)].scale == 5
    assert pretraining.regulariser.warmup_steps == study.pretrainings["pre-idf"].regulariser.warmup_steps


def test_points_of_several_bases() -> None:
    study = load(sweep={"extends": ["ours", "ours-without-idf"], "lambda_d": [0.1]})
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
        assert "a value is a mapping" in told(sweep=sweep)
        return
    before = set(edges.closure(load(sweep=[]), ["verified"]))
    new = set(edges.closure(load(sweep=sweep), ["verified"])) - before
    assert {key.split("/")[0] for key in new} - SHOWN == made


def test_a_figure_for_each_key_with_several_values() -> None:
    study = load(sweep={"lambda_d": ["2e-2", 0.1], "scale": [10, 20], "temperature": [4], "seeds": [0, 1]})
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
    study = load(sweep={"extends": ["ours", "ours-without-idf"], "lambda_d": ["2e-2"]})
    assert "ours" not in sweep_points(study, "ours")
    assert sweep_points(load(sweep={"pretraining.steps": [5]}), "ours")["ours"] == {"pretraining.steps": 150}


def test_points_that_differ_after_training_share_a_model() -> None:
    study = load(sweep={"prune.top_k": [50, 100], "steps": [3], "seeds": [0, 1]})
    first, second = "ours--prune.top_k-50--steps-3", "ours--prune.top_k-100--steps-3"
    assert (study.experiments[first].model, study.experiments[second].model) == (None, first)


@pytest.mark.parametrize("grid", [{"postings": ["float32", "blocked"]}, {"quantisation": [50]}, {"prune.top_k": [9]}])
def test_points_of_keys_that_train_nothing_take_the_bases_model(grid: dict[str, Any]) -> None:
    study = load(sweep=grid)
    assert {study.experiments[row.system].model for row in study.tables["sweep-ours"].rows[1:]} == {"ours"}


def test_a_sweep_of_models_takes_the_models_that_it_names() -> None:
    alike = {"other": {"extends": "ours"}}
    study = load(sweep={"model": ["ours", "other", None], "quantisation": [50]}, experiments=alike)
    points = [f"ours--model-{model}--quantisation-50" for model in ("ours", "other", "null")]
    assert [study.experiments[point].model for point in points] == ["ours", "other", None]
    assert "query_side: not that of ours-without-idf, whose model it takes" in told(
        sweep={"model": ["ours-without-idf"]}
    )


def test_a_sweep_of_an_overlay_and_an_overlays_base() -> None:
    study = load(
        experiments={"mine": {"extends": "ours", "steps": 5}},
        sweeps={"s": {"base": "mine", "collection": "pydocs", "grid": {"seeds": [[0, 1]]}}},
        sweep=["s", "lambda-idf"],
    )
    assert study.experiments["s--seeds-0-1"].steps == 5
    assert {"sweep-s", "sweep-lambda-idf"} <= set(study.tables)


def test_sweeps_that_are_not_chosen_train_nothing() -> None:
    assert not [name for name in load(sweep=[]).experiments if "--" in name]
