"""Loading a config: presets, overlays, `extends`, numbers, and measures that columns show."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from configs import CONFIG, Config, experiment, load, read, table, told
from snakemake.cli import parse_config

from sparsemill.errors import UserError
from sparsemill.study.load import load_study
from sparsemill.study.models import Study


@pytest.fixture(scope="module")
def demo() -> Study:
    return load()


# --- what is shipped ---------------------------------------------------------------------------------------------


def test_the_default_config_is_the_demo(demo: Study) -> None:
    study = load(**read(CONFIG / "config.yaml"))
    assert study.presets == ["demo"]
    assert study.experiments == demo.experiments
    assert list(study.tables) == ["demo"]


@pytest.mark.parametrize("preset", sorted(path.stem for path in (CONFIG / "papers").glob("*.yaml")))
def test_presets_validate(preset: str) -> None:
    assert load(presets=[preset]).tables


@pytest.mark.parametrize("overlay", sorted((CONFIG / "overlays").glob("*.yaml")), ids=lambda path: path.stem)
def test_overlays_validate(overlay: Path) -> None:
    study = load(**(read(CONFIG / "config.yaml") | read(overlay)))
    assert study.tables


def test_values_of_the_demo(demo: Study) -> None:
    ours = demo.experiments["ours"]
    assert (ours.start, ours.query_side, ours.regulariser.lambda_d) == ("pre-idf", "idf", 2e-2)
    without = demo.experiments["ours-without-idf"]
    apart = {"start", "query_side", "temperature"}
    assert without.model_dump(exclude=apart) == ours.model_dump(exclude=apart)


# --- numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1e-3", "0.001", "1.0E-3", 1e-3])
def test_numbers_that_arrive_as_text(text: Any) -> None:
    """YAML 1.1 reads `1e-3` as text, and everything nested below `--config` is text."""
    assert load(experiments=experiment(regulariser={"lambda_d": text})).experiments["x"].regulariser.lambda_d == 0.001


@pytest.mark.parametrize("paper", ["2411.04403", "2210.12340", "1412.6980", "0704.0001"])
def test_arxiv_ids_that_arrive_as_numbers(paper: str) -> None:
    """YAML reads an unquoted id as a number, and so does `--config`, whatever the quotes."""
    number = float(paper)
    assert load(tables=table(paper=number)).tables["t"].paper == paper
    assert load(tables=table(paper=paper), **parse_config([f"paper={paper}"])).paper == paper
    with pytest.raises(UserError, match=r"tables\.t\.paper: Input should be a valid string, got 3\.5"):
        load(tables=table(paper=3.5))


def test_integers_and_booleans_that_arrive_as_text() -> None:
    study = load(experiments=experiment(steps="70", seeds=["3", "4"], in_batch="false"), shards="2")
    assert (study.experiments["x"].steps, study.experiments["x"].seeds, study.shards) == (70, [3, 4], 2)
    assert study.experiments["x"].in_batch == "none"
    for written, meant in ((True, "documents"), ("true", "documents"), (False, "none"), ("positives", "positives")):
        study = load(experiments=experiment(in_batch=written))
        assert study.experiments["x"].in_batch == meant


def test_null_that_arrives_as_text() -> None:
    sets = {"y": {"extends": "pydocs", "filter_top": "null", "max_queries": "null"}}
    left_out = {"z": {"extends": "ours", "scales": {"demo": "null"}}}
    study = load(experiments=experiment(query_side="binary", idf="null") | left_out, training_sets=sets)
    assert study.experiments["x"].idf is None
    assert "z" not in study.experiments
    assert study.training_sets["y"].model_dump().items() >= {"filter_top": None, "max_queries": None}.items()
    assert load(tables=table(caption="null")).tables["t"].caption == "null"


def test_yaml_1_1_text_is_what_it_seems() -> None:
    assert yaml.safe_load("1e-3") == "1e-3"


# --- presets and overlays ----------------------------------------------------------------------------------------


def test_redefining_a_preset_is_refused() -> None:
    changed = deepcopy(read(CONFIG / "papers" / "demo.yaml")["experiments"]["ours"])
    changed["regulariser"]["lambda_d"] = 0.5
    message = told(experiments={"ours": changed})
    assert message.startswith("config: experiments.ours is a preset already; give yours another name")
    assert "extends: ours" in message
    assert "teachers.bm25 is a preset already" in told(teachers={"bm25": {"kind": "bm25", "k1": 1.2}})


def test_repeating_a_preset_is_accepted(demo: Study) -> None:
    preset = read(CONFIG / "papers" / "demo.yaml")
    reordered = {key: preset["experiments"]["ours"][key] for key in reversed(preset["experiments"]["ours"])}
    reordered["steps"] = float(reordered["steps"])
    assert load(experiments={"ours": reordered}) == demo


def test_an_empty_section_adds_nothing(demo: Study) -> None:
    assert load(experiments=None, tables=None, expected=None) == demo


def test_order_of_entries_means_nothing() -> None:
    preset = read(CONFIG / "papers" / "demo.yaml")
    turned = {
        section: {name: entries[name] for name in reversed(entries)} if isinstance(entries, dict) else entries
        for section, entries in preset.items()
    }
    one, other = load(presets=[], **preset), load(presets=[], **turned)
    assert one.model_dump_json() == other.model_dump_json()


def test_single_values_win_and_mappings_merge(tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "p.yaml").write_text("depth: 5\nshards: 3\ntracking: {experiment: p}\n")
    study = load_study({"presets": ["p"], "depth": 7, "measures": ["AP"], "tracking": {"live": False}}, tmp_path)
    assert (study.depth, study.shards) == (7, 3)
    assert (study.tracking.experiment, study.tracking.live) == ("p", False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"p.yaml: not YAML: "),
        ("- 1\n", r"p.yaml: expected a mapping of sections"),
        ("", r"p.yaml: expected a mapping of sections"),
        ("depth: 1\ndepth: 2\n", r"p.yaml:2: 'depth' is there already, in line 1; keep one of them"),
        ("tables:\n  t: {rows: [{system: a, system: b}]}\n", r"p.yaml:2: 'system' is there already, in line 2"),
    ],
)
def test_broken_presets(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "p.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_study({"presets": ["p"]}, tmp_path)


def test_loading_leaves_the_config_as_it_was() -> None:
    config: Config = {"experiments": experiment(steps=3), "sweep": ["lambda-idf"]}
    before = deepcopy(config)
    assert load_study(config, CONFIG) == load_study(config, CONFIG)
    assert config == before


# --- extends -----------------------------------------------------------------------------------------------------


def test_extends_merges_mappings_and_replaces_lists(demo: Study) -> None:
    chain = {
        "a": {"extends": "ours", "regulariser": {"warmup_steps": 7}, "seeds": [1, 2]},
        "b": {"extends": "a", "regulariser": {"lambda_d": 0.5}, "seeds": [3]},
    }
    b = load(experiments=chain).experiments["b"]
    assert (b.regulariser.warmup_steps, b.regulariser.lambda_d, b.seeds) == (7, 0.5, [3])
    assert b.model_dump(exclude={"regulariser", "seeds"}) == demo.experiments["ours"].model_dump(
        exclude={"regulariser", "seeds"}
    )


def test_extends_in_a_circle_is_refused() -> None:
    circle = {"a": {"extends": "b"}, "b": {"extends": "c"}, "c": {"extends": "a"}}
    assert "`extends` runs in a circle: a -> b -> c -> a" in told(experiments=circle)
    assert "circle: a -> a" in told(tables={"a": {"extends": "a"}})


# --- measures ----------------------------------------------------------------------------------------------------

COSTS = ["FLOPS", "tokens/doc", "tokens/query", "latency/BM25", "p50_ms", "p99_ms"]


def column(measure: str) -> Config:
    return table(columns=[{"measure": measure, "collection": "pydocs"}])


@pytest.mark.parametrize("measure", COSTS)
def test_costs_are_columns_but_not_measures_of_runs(measure: str) -> None:
    assert load(tables=column(measure)).tables["t"].columns[0].measure == measure
    assert told(measures=["nDCG@10", measure]).startswith(f"config: measures: {measure!r} is no measure of runs")


@pytest.mark.parametrize(
    ("measure", "told_of_it"),
    [
        ("FLOP", "tables.t.columns: no measure 'FLOP'; did you mean 'FLOPS'?"),
        ("ndcg@10", "tables.t.columns: no measure 'ndcg@10'; did you mean 'nDCG@10'?"),
        ("latency", "tables.t.columns: no measure 'latency'; did you mean 'latency/BM25'?"),
        ("R", "tables.t.columns: no measure 'R'; "),
        ("nDCG@5", "tables.t.columns: nDCG@5 is not among `measures`, so no run is evaluated with it; add it"),
    ],
)
def test_columns_that_nothing_measures(measure: str, told_of_it: str) -> None:
    assert told(tables=column(measure)).startswith(f"config: {told_of_it}")


def test_figures_and_expected_values_that_nothing_measures() -> None:
    assert "figures.f.x: no measure 'flop'" in told(figures={"f": {"extends": "effectiveness-flops", "x": "flop"}})
    assert "figures.f.y: P@7 is not among" in told(figures={"f": {"extends": "effectiveness-flops", "y": "P@7"}})
    value = {"system": "ours", "collection": "pydocs", "measure": "MAX", "value": 1, "tolerance": 1, "source": "here"}
    assert "expected.measure: no measure 'MAX'" in told(expected=[value])


@pytest.mark.parametrize("measure", ["nDCG10", "R", "Recall@10", "nDCG@0", ""])
def test_bad_measures_of_runs(measure: str) -> None:
    assert told(measures=[measure]).startswith(f"config: measures: {measure!r} is no measure of runs; valid: nDCG, ")


def test_measures_that_look_beyond_the_depth_of_a_run() -> None:
    message = told(measures=["nDCG@10", "R@1000"], depth=200)
    assert message.startswith("config: measures: R@1000 looks at 1000 documents, but runs keep 200 (`depth`); raise")
    assert "R@100 looks at 100" in told(depth=99)
    assert load(measures=["nDCG@10", "MRR@10", "R@100", "AP"], depth=100).depth == 100


def test_the_measure_that_extremes_are_picked_by_is_measured() -> None:
    page = {"extends": "pydocs", "pick": "extremes", "measure": "MAP@20"}
    assert told(explanations={"e": page}).startswith("config: explanations.e.measure: AP@20 is not among `measures`")


def test_a_measure_twice() -> None:
    assert told(measures=["AP", "AP"]).startswith("config: measures: a measure is named twice")


def compared(**keys: Any) -> Config:
    return table(rows=[{"system": "bm25"}, {"system": "ours", "compare": ["bm25"]}], **keys)


def test_the_test_measure_is_measured_and_shown() -> None:
    ap = [{"measure": "AP", "collection": "pydocs"}]
    assert "tables.t.test_measure: rows are compared on nDCG@10, but no column shows it" in told(
        tables=compared(columns=ap)
    )
    assert "rows are compared on P@3, which is not among `measures`" in told(tables=compared(test_measure="P@3"))
    assert load(tables=compared(columns=ap, test_measure="AP")).tables["t"].test_measure == "AP"
    assert load(presets=[], measures=["AP"], tables=table(rows=[{"system": "bm25"}], columns=ap))  # nothing is compared
