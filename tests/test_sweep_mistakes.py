"""What a sweep that makes no sense is refused with."""

from typing import Any

import pytest
from configs import grid_of, told

FIGURE = {"kind": "sweep", "caption": "", "collection": "pydocs", "systems": ["ours"], "sweep": "ours"}


def test_figures_of_sweeps_that_make_no_sense() -> None:
    sweep = {"steps": [3, 4]}
    assert "no swept key of ours 'step'; did you mean 'steps'?" in told(
        sweep=sweep, figures={"f": {**FIGURE, "key": "step"}}
    )
    assert "no chosen sweep 'o'" in told(sweep=sweep, figures={"f": {**FIGURE, "key": "steps", "sweep": "o"}})
    assert "kind sweep, and no other, has `sweep` and `key`" in told(sweep=sweep, figures={"f": FIGURE})


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        (
            "lambda-idf",
            "config: sweep: expected a list of names, or a mapping of keys to values, got 'lambda-idf'; "
            "write [lambda-idf]",
        ),
        (["lambda-idff"], "config: sweep: no sweep 'lambda-idff'; did you mean 'lambda-idf'?"),
        ({"base": "ours", "collection": "pydocs"}, "config: sweeps.ours.grid: Field required"),
        (grid_of({}), "config: sweeps.ours.grid: "),
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
            {"pretraining.seeds": [1]},
            "config: sweeps.ours.grid.pretraining.seeds: no key 'seeds' in pretrainings; did you mean",
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
        (
            {"extends": ["our"], "steps": [1]},
            "config: sweeps.ours.grid.extends: no experiment 'our'; did you mean 'ours'?",
        ),
        ({"base": "siamese", "steps": [1]}, "config: sweeps.siamese.collection: no table shows siamese"),
        (grid_of({"steps": []}), "config: sweeps.ours.grid.steps: "),
        (grid_of({"steps": 3}), "config: sweeps.ours.grid.steps: Input should be a valid list, got 3"),
        (grid_of({"steps": [3]}, bse=1), "config: sweeps.ours.bse: unknown key; did you mean 'base'?"),
        (grid_of({"steps": [3]}, base="our"), "config: sweeps.our.base: no experiment 'our'; did you mean 'ours'?"),
        (grid_of({"steps": [3]}, collection="x"), "config: tables.sweep-ours.columns: no collection or group 'x'"),
        (grid_of({"steps": [3, 3.0]}), "config: sweeps.ours.grid: the point ours--steps-3 is there twice"),
        (grid_of({"regulariser": [{"lambda_d": 1}]}), "config: sweeps.ours.grid.regulariser: a value is a mapping"),
        (
            grid_of({"regulariser": [1], "regulariser.lambda_d": [1]}),
            "config: sweeps.ours.grid.regulariser: the grid has keys below it too",
        ),
        (
            grid_of({"regulariser.lamda_d": [0.5]}),
            "config: experiments.ours--lamda_d-0.5.regulariser.lamda_d: unknown key; did you mean 'lambda_d'?",
        ),
    ],
)
def test_sweeps_that_make_no_sense(sweep: Any, message: str) -> None:
    line = told(sweep=sweep)
    assert line.startswith(message) or message.split(": ", 2)[2] in line


def test_a_base_of_the_grid_is_told_where_it_stands() -> None:
    assert told(sweep={"extends": ["our"]}).startswith("config: sweeps.ours.grid.extends: no experiment 'our'")


def test_a_table_without_rows_is_told_when_a_sweep_looks_for_its_place() -> None:
    tables = {"t": {"caption": "", "rows": None, "columns": [{"measure": "AP", "collection": "pydocs"}]}}
    sweep = {"base": "siamese", "collection": None, "steps": [3]}
    assert "sweeps.siamese.collection: no table shows siamese" in told(sweep=sweep, tables=tables)


def test_what_two_sweeps_make_has_two_names() -> None:
    sweeps = {"lambda": grid_of({"steps": [1, 2]}), "lambda-steps": grid_of({"temperature": [1, 2]})}
    assert "sweeps.lambda-steps: figures.sweep-lambda-steps is that of another chosen sweep" in told(
        sweep=list(sweeps), sweeps=sweeps
    )


def test_lists_that_read_alike_are_not_taken_for_one() -> None:
    teachers = {name: {"kind": "bm25"} for name in ("a", "b", "a-b")}
    line = told(sweep={"teachers": [["a", "b"], ["a-b"]]}, teachers=teachers)
    assert "two points would be called ours--teachers-a-b; rename what their lists name" in line
    sweeps = {"s": grid_of({"teachers": [["a", "b"]]}), "t": grid_of({"teachers": [["a-b"]]})}
    line = told(sweep=["s", "t"], sweeps=sweeps, teachers=teachers)
    assert (
        "sweeps.t.grid: experiments.ours.ensemble: two of ensembles would be called minilm-bm25-s30--teachers-a-b"
        in line
    )


def test_names_that_grow_too_long() -> None:
    many = {"teachers": [["minilm", "bm25"]], "normalisation": ["zscore"], "learning_rate": [1e-4], "steps": [5]}
    line = told(sweep={**many, "pretraining.temperature": [1]})
    assert line.startswith("config: sweeps.ours.grid: ours--normalisation-zscore--teachers-minilm-bm25--learning_rate-")
    assert "80 are the most; sweep fewer keys at once" in line
    derived = {"s": grid_of({"weights": [[0.1234567812345678] * 3]})}
    assert "minilm-bm25-s30--weights-0.1234567812345678-" in told(sweep=["s"], sweeps=derived)


def test_a_member_never_replaces_an_experiment() -> None:
    taken = {"ours--steps-3": {"extends": "ours", "steps": 4}}
    assert "experiments.ours--steps-3 is a preset already" in told(sweep=grid_of({"steps": [3]}), experiments=taken)
