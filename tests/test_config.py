"""Loading a config: presets, overlays, `extends`, and what a mistake is told."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from sparsemill.errors import UserError
from sparsemill.study.edges import upstream
from sparsemill.study.load import load_study
from sparsemill.study.models import Study

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "config"

Config = dict[str, Any]


def load(**config: Any) -> Study:
    return load_study(config, CONFIG)


def told(**config: Any) -> str:
    """The one line that a config is refused with."""
    with pytest.raises(UserError) as caught:
        load(**config)
    message = str(caught.value)
    assert "\n" not in message
    return message


def read(path: Path) -> Config:
    content: Config = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def experiment(**keys: Any) -> Config:
    return {"x": {"extends": "ours", **keys}}


@pytest.fixture(scope="module")
def demo() -> Study:
    return load()


def table(**keys: Any) -> Config:
    given = {"rows": [{"system": "ours"}], "columns": [{"measure": "nDCG@10", "collection": "pydocs"}], **keys}
    return {"t": {"caption": "", **given}}


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


def test_integers_and_booleans_that_arrive_as_text() -> None:
    study = load(experiments=experiment(steps="70", seeds=["3", "4"], in_batch="false"), shards="2")
    assert (study.experiments["x"].steps, study.experiments["x"].seeds, study.shards) == (70, [3, 4], 2)
    assert study.experiments["x"].in_batch == "none"
    for written, meant in ((True, "documents"), ("true", "documents"), (False, "none"), ("positives", "positives")):
        study = load(experiments=experiment(in_batch=written))
        assert study.experiments["x"].in_batch == meant


def test_yaml_1_1_text_is_what_it_seems() -> None:
    assert yaml.safe_load("1e-3") == "1e-3"


# --- unknown keys ------------------------------------------------------------------------------------------------

UNKNOWN_KEYS = [
    ({"experimnts": {}}, "config: experimnts: unknown key; did you mean 'experiments'?"),
    (
        {"experiments": experiment(regulariser={"lamda_d": 1})},
        "config: experiments.x.regulariser.lamda_d: unknown key; did you mean 'lambda_d'?",
    ),
    ({"experiments": experiment(stepz=1)}, "config: experiments.x.stepz: unknown key; did you mean 'steps'?"),
    (
        {"teachers": {"x": {"extends": "minilm", "max_lenght": 1}}},
        "config: teachers.x.max_lenght: unknown key; did you mean 'max_length'?",
    ),
    (
        {"teachers": {"x": {"extends": "minilm", "weights": {"shar256": "0"}}}},
        "config: teachers.x.weights.shar256: unknown key; did you mean 'sha256'?",
    ),
    (
        {"collections": {"x": {"kind": "beir_folder", "path": "x", "relevence": 2}}},
        "config: collections.x.relevence: unknown key; did you mean 'relevance'?",
    ),
    ({"tracking": {"lives": True}}, "config: tracking.lives: unknown key; did you mean 'live'?"),
    (
        {"tables": table(rows=[{"system": "ours", "lable": "us"}])},
        "config: tables.t.rows.0.lable: unknown key; did you mean 'label'?",
    ),
    ({"figures": {"f": {"extends": "activation", "z": 1}}}, "config: figures.f.z: unknown key; valid: caption, "),
]


@pytest.mark.parametrize(
    ("config", "message"), UNKNOWN_KEYS, ids=[message.split(": ")[1] for _, message in UNKNOWN_KEYS]
)
def test_unknown_keys_name_the_path_and_the_nearest_key(config: Config, message: str) -> None:
    assert told(**config).startswith(message)


def test_a_misspelt_required_key_is_told_before_the_missing_one() -> None:
    entry = {"training_sets": {"x": {"colection": "pydocs-train"}}}
    message = told(**entry)
    assert message == "config: training_sets.x.colection: unknown key; did you mean 'collection'? (and 1 more)"


# --- wrong values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "start"),
    [
        ({"depth": "many"}, "config: depth: Input should be a valid integer"),
        ({"depth": 0}, "config: depth: Input should be greater than 0, got 0"),
        ({"engine": "solr"}, "config: engine: no engine 'solr'; valid: exact, lucene"),
        ({"experiments": experiment(learning_rate="fast")}, "config: experiments.x.learning_rate: "),
        ({"experiments": experiment(learning_rate=float("nan"))}, "config: experiments.x.learning_rate: "),
        (
            {"experiments": experiment(regulariser={"lambda_d": float("inf")})},
            "config: experiments.x.regulariser.lambda_d: ",
        ),
        ({"experiments": experiment(steps=True)}, "config: experiments.x: steps is neither true nor false"),
        ({"experiments": experiment(seeds=[1, 1])}, "config: experiments.x.seeds: a seed is named twice"),
        ({"experiments": experiment(seeds=[-1])}, "config: experiments.x.seeds.0: "),
        (
            {"experiments": experiment(kl_weight=0, infonce_weight=0)},
            "config: experiments.x: kl_weight, infonce_weight and margin_mse_weight are all 0",
        ),
        (
            {"experiments": experiment(ensemble=None)},
            "config: experiments.x: ensemble is null, but kl_weight is not 0; name an ensemble",
        ),
        (
            {"experiments": experiment(ensemble=None, kl_weight=0, margin_mse_weight=1)},
            "config: experiments.x: ensemble is null, but margin_mse_weight is not 0; name an ensemble",
        ),
        (
            {"experiments": experiment(in_batch="positives", infonce_weight=0)},
            "config: experiments.x: in_batch: positives acts on InfoNCE alone, but infonce_weight is 0",
        ),
        (
            {"experiments": experiment(query_regulariser={"lambda_q": 0.1})},
            "config: experiments.x: query_regulariser: queries of query_side idf are not encoded",
        ),
        (
            {"experiments": experiment(regulariser={"kind": "l1", "reduction": "mean_of_slots"})},
            "config: experiments.x.regulariser: reduction and weighting belong to kind flops",
        ),
        (
            {"experiments": experiment(query_regulariser={"lambda_d": 0.1})},
            "config: experiments.x.query_regulariser.lambda_d: unknown key; did you mean 'lambda_q'?",
        ),
        ({"experiments": {"a/b": {"extends": "ours"}}}, "config: experiments.a/b: "),
        ({"experiments": {"x": 3}}, "config: experiments.x: expected a mapping, got 3"),
        ({"experiments": [1]}, "config: experiments: expected a mapping of names"),
        ({"expected": {"a": 1}}, "config: expected: expected a list"),
        ({"presets": "demo"}, "config: presets: expected a list of names, got 'demo'"),
        ({"results": None}, "config: results: "),
        (
            {"ensembles": {"x": {"teachers": ["bm25"], "weights": [1, 2]}}},
            "config: ensembles.x: 1 teachers but 2 weights",
        ),
        (
            {"backbones": {"x": {"extends": "minilm-l2", "start_active": None}}},
            "config: backbones.x: start_active and ",
        ),
        ({"teachers": {"x": {"kind": "densse"}}}, "config: teachers.x.kind: no kind 'densse'; did you mean 'dense'?"),
        (
            {"teachers": {"x": {"k1": 1}}},
            "config: teachers.x: `kind` is missing; valid: bm25, cross_encoder, dense, monot5, scores, sparse",
        ),
    ],
)
def test_wrong_values_name_the_path(config: Config, start: str) -> None:
    assert told(**config).startswith(start)


# --- references --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"presets": ["demos"]}, "config: presets: no preset 'demos'; did you mean 'demo'?"),
        ({"presets": [["demo"]]}, "config: presets: no preset"),
        ({"sweep": ["nope"]}, "config: sweep: no sweep 'nope'; "),
        (
            {"experiments": experiment(ensemble="minilm-bm2")},
            "experiments.x.ensemble: no ensemble 'minilm-bm2'; did you",
        ),
        ({"experiments": experiment(idf="pydoc")}, "experiments.x.idf: no idf 'pydoc'; did you mean 'pydocs'?"),
        ({"experiments": experiment(retrieval_idf="pydoc")}, "experiments.x.retrieval_idf: no idf 'pydoc'; did"),
        ({"experiments": experiment(training_set="docs")}, "experiments.x.training_set: no training set 'docs'; did"),
        (
            {"experiments": experiment(start="minilm")},
            "no backbone or pre-training 'minilm'; did you mean 'minilm-l2'?",
        ),
        ({"experiments": {"x": {"extends": "our"}}}, "experiments.x: extends unknown 'our'; did you mean 'ours'?"),
        ({"experiments": {"x": {"extends": ["ours"]}}}, "experiments.x: extends unknown ['ours']; "),
        ({"ensembles": {"x": {"teachers": ["bm52"]}}}, "ensembles.x.teachers: no teacher 'bm52'; did you mean 'bm25'?"),
        (
            {"idfs": {"x": {"collections": ["pydoc"], "backbone": "minilm-l2"}}},
            "idfs.x.collections: no collection with documents of its own 'pydoc'; did you mean 'pydocs'?",
        ),
        ({"idfs": {"x": {"extends": "pydocs", "backbone": "minilm"}}}, "idfs.x.backbone: no backbone 'minilm'; did"),
        (
            {"training_sets": {"x": {"collection": "pydocs-trian"}}},
            "no collection with documents of its own 'pydocs-trian'; did you mean 'pydocs-train'?",
        ),
        (
            {"training_sets": {"x": {"extends": "pydocs", "miner": "minilmm"}}},
            "x.miner: no experiment, released checkpoint or teacher of kind bm25, dense, sparse 'minilmm'",
        ),
        ({"pretrainings": {"x": {"extends": "pre-idf", "backbone": "x"}}}, "pretrainings.x.backbone: no backbone 'x'"),
        (
            {"backbones": {"x": {"extends": "minilm-l2", "start_collection": "pydoc"}}},
            "start_collection: no collection",
        ),
        (
            {"tables": table(rows=[{"system": "our"}])},
            "tables.t.rows: no experiment, released checkpoint, teacher or ensemble 'our'; did you",
        ),
        (
            {"tables": table(rows=[{"system": "ours", "compare": ["bm25"]}])},
            "tables.t.rows.ours.compare: no row 'bm25'",
        ),
        (
            {"tables": table(columns=[{"measure": "AP", "collection": "x"}])},
            "tables.t.columns: no collection or group 'x'",
        ),
        (
            {"figures": {"f": {"extends": "activation", "systems": ["bm25"]}}},
            "figures.f.systems: no experiment or released checkpoint 'bm25'",
        ),
        ({"figures": {"f": {"extends": "activation", "collection": "x"}}}, "figures.f.collection: no collection 'x'"),
        (
            {"explanations": {"e": {"extends": "pydocs", "systems": ["minilm"]}}},
            "explanations.e.systems: no experiment",
        ),
        (
            {"explanations": {"e": {"extends": "pydocs", "baseline": "bm"}}},
            "explanations.e.baseline: no experiment, released checkpoint, teacher",
        ),
        (
            {
                "expected": [
                    {"system": "x", "collection": "pydocs", "measure": "AP", "value": 1, "tolerance": 1, "source": ""}
                ]
            },
            "expected.system: no experiment, released checkpoint, teacher or ensemble 'x'",
        ),
    ],
)
def test_unknown_names_name_the_nearest(config: Config, message: str) -> None:
    assert message in told(**config)


def test_a_name_stands_for_one_thing() -> None:
    assert told(experiments={"bm25": {"extends": "ours"}}).startswith("config: teachers.bm25: experiments has an entry")
    clash = {"minilm-l2": {"extends": "pre-idf"}}
    assert told(pretrainings=clash).startswith("config: pretrainings.minilm-l2: backbones has an entry of that name")


def test_training_that_cannot_work() -> None:
    assert "documents_per_query: 1 without in_batch" in told(experiments=experiment(documents_per_query=1))


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
    study = load_study({"presets": ["p"], "depth": 7, "tracking": {"live": False}}, tmp_path)
    assert (study.depth, study.shards) == (7, 3)
    assert (study.tracking.experiment, study.tracking.live) == ("p", False)


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "p.yaml: not YAML: "), ("- 1\n", "p.yaml: expected a mapping of sections")]
)
def test_broken_presets(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "p.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_study({"presets": ["p"]}, tmp_path)


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


def test_loading_leaves_the_config_as_it_was() -> None:
    config: Config = {"experiments": experiment(steps=3), "sweep": ["lambda-idf"]}
    before = deepcopy(config)
    assert load_study(config, CONFIG) == load_study(config, CONFIG)
    assert config == before


def test_query_sides_name_what_they_need() -> None:
    splade = {"extends": "ours", "query_side": "splade", "query_encoder": "separate", "query_backbone": "minilm-l2"}
    study = load(experiments={"x": splade | {"idf": None}})
    found = upstream(study, "models/x/seed-0")
    assert found["query_start"] == ["backbones/minilm-l2"]
    assert "idf" not in found
    with pytest.raises(UserError, match=r"experiments\.x\.query_backbone: no backbone 'minilm-12'"):
        load(experiments={"x": splade | {"query_backbone": "minilm-12"}})
    with pytest.raises(UserError, match=r"experiments\.x: query_side: idf needs an IDF table: set `idf`"):
        load(experiments={"x": {"extends": "ours", "idf": None}})
