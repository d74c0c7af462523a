"""Measures of time: their names, and what a table that shows them makes the graph measure."""

from pathlib import Path
from typing import Any

import pytest

from sparsemill.errors import UserError
from sparsemill.study import edges, plan, specs
from sparsemill.study.load import load_study
from sparsemill.study.measures import Asked, asked_times
from sparsemill.study.models import Study
from sparsemill.study.timings import KINDS, Timing, parse_timing

CONFIG = Path(__file__).resolve().parent.parent / "config"


def load(*measures: str, systems: tuple[str, ...] = ("bm25", "minilm", "ours"), **config: Any) -> Study:
    columns = [{"measure": measure, "collection": "pydocs"} for measure in measures]
    table = {"caption": "", "rows": [{"system": system} for system in systems], "columns": columns}
    return load_study({"tables": {"t": table}, **config}, CONFIG)


@pytest.mark.parametrize(
    ("measure", "timing"),
    [
        ("exact:latency/bm25@1000", Timing("engine_time", "exact", "latency", "bm25", 1000)),
        ("lucene:p50_ms@10", Timing("engine_time", "lucene", "p50_ms", "", 10)),
        ("lucene:p99_ms@10-clients", Timing("serving", "lucene", "p99_ms", "", 10)),
        (
            "lucene:p50-without-fixed/my.bm25@80-clients",
            Timing("serving", "lucene", "p50-without-fixed", "my.bm25", 80),
        ),
        ("p99_ms", None),
        ("latency/BM25", None),
        ("nDCG@10", None),
        ("lucene:p99_ms@0", None),
        ("lucene:p99_ms@10-client", None),
    ],
)
def test_names(measure: str, timing: Timing | None) -> None:
    assert parse_timing(measure) == timing


@pytest.mark.parametrize(
    ("measure", "told"),
    [
        ("lucen:p99_ms@10", "no engine 'lucen'; did you mean 'lucene'?"),
        ("lucene:p9_ms@10", "no measure of time 'p9_ms'; did you mean 'p99_ms'?"),
        ("lucene:throughput@10", "no measure of time 'throughput'; valid: mean_ms, p50_ms, p99_ms"),
        ("lucene:recall@10", "no measure of time 'recall'; valid: mean_ms, p50_ms, p99_ms"),
        ("seismic:recall@10-clients", "no measure of time 'recall'; "),
        ("lucene:latency/bm25@10-clients", "no measure of time 'latency'; "),
        ("lucene:latency/minilm@10", "no teacher of kind bm25 'minilm'; "),
        ("lucene:p99_ms@10-client", "no measure 'lucene:p99_ms@10-client'; "),
    ],
)
def test_what_cannot_be_measured(measure: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        load(measure)
    assert str(error.value).startswith(f"config: tables.t.columns: {told}")


@pytest.fixture(scope="module")
def timed() -> Study:
    shown = ("lucene:latency/bm25@1000", "exact:mean_ms@10", "lucene:p99/slow@80-clients", "lucene:p99_ms@5-clients")
    return load(*shown, teachers={"slow": {"extends": "bm25", "k1": 2.0}})


def test_what_is_shown_is_measured_and_nothing_else(timed: Study) -> None:
    alone = [f"engine_time/{place}" for place in ("bm25/fixed/pydocs/lucene", "ours/seed-0/pydocs/lucene")]
    assert plan.times(timed, "engine_time") == [*alone, "engine_time/ours/seed-0/pydocs/exact"]
    assert plan.times(timed, "serving") == ["serving/bm25/fixed/pydocs/lucene", "serving/ours/seed-0/pydocs/lucene"]
    assert asked_times(timed, "serving", "ours", "pydocs", "lucene") == Asked([5, 80], ["slow"])
    measured = edges.upstream(timed, "tidy")
    assert all(measured[kind] == plan.times(timed, kind) for kind in KINDS)
    demo = load_study({}, CONFIG)
    assert not any(plan.times(demo, kind) for kind in KINDS)


def test_times_need_both_indexes_and_the_query_side(timed: Study) -> None:
    assert edges.upstream(timed, "serving/ours/seed-0/pydocs/lucene") == {
        "index": ["indexes/ours/seed-0/pydocs/lucene"],
        "baseline": edges.upstream(timed, "runs/slow/fixed/pydocs/lucene")["index"],
        "collection": ["collections/pydocs"],
        "model": ["models/ours/seed-0"],
    }
    found = edges.upstream(timed, "engine_time/ours/seed-0/pydocs/exact")
    assert found["index"] == ["indexes/ours/seed-0/pydocs/exact"]
    assert found["baseline"] == []


def test_an_approximate_engine_is_compared_with_the_exact_one() -> None:
    study = load("seismic:recall@10", "seismic:p99_ms@5-clients", seismic_engine={"query_cut": 5})
    place = ("ours", "seed-0", "pydocs", "seismic")
    assert plan.times(study, "engine_time") == [f"engine_time/{'/'.join(place)}"]
    found = edges.upstream(study, f"engine_time/{'/'.join(place)}")
    assert (found["index"], found["exact"]) == ([f"indexes/{'/'.join(place)}"], ["indexes/ours/seed-0/pydocs/exact"])
    assert "exact" not in edges.upstream(study, f"serving/{'/'.join(place)}")
    searched = {"seismic": {"query_cut": 5, "heap_factor": study.seismic_engine.heap_factor}}
    assert specs.measure_engine_time(study, *place)["options"] == searched
    assert specs.measure_serving(study, *place)["options"] == searched


def test_two_phases_share_all_but_the_search() -> None:
    twice = {"extends": "ours", "model": "ours", "two_phase": {"expansion_rate": 2.5}}
    shown = ("lucene:mean_ms@10", "exact:mean_ms@10", "latency/BM25", "nDCG@10")
    study = load(*shown, systems=("ours", "twice"), experiments={"twice": twice}, engine="exact", check_engine="exact")
    settings = {"prune_ratio": 0.4, "expansion_rate": 2.5, "max_window_size": 10_000}
    place = ("twice", "seed-0", "pydocs")
    assert specs.search(study, *place, "lucene")["two_phase"] == settings
    assert specs.measure_latency(study, *place)["two_phase"] == settings
    assert specs.measure_engine_time(study, *place, "lucene")["options"] == {"two_phase": settings}
    assert "two_phase" not in specs.search(study, "ours", "seed-0", "pydocs", "exact")
    assert specs.finetune(study, "twice", "0") == specs.finetune(study, "ours", "0")
    assert [key for key in plan.evaluations(study) if "/twice/" in key] == [f"evaluations/{'/'.join(place)}/lucene"]
    assert [key for key in plan.times(study, "engine_time") if "/twice/" in key] == [
        f"engine_time/{'/'.join(place)}/lucene"
    ]
    assert edges.upstream(study, f"runs/{'/'.join(place)}/lucene")["index"] == ["indexes/ours/seed-0/pydocs/lucene"]


def test_specs(timed: Study) -> None:
    serving = specs.measure_serving(timed, "ours", "seed-0", "pydocs", "lucene")
    assert serving["load"]["clients"] == [5, 80]
    assert serving["baselines"] == {"slow": {"k1": 2.0, "b": 0.4}}
    assert serving["query_side"] == {"query_length": timed.experiments["ours"].query_length}
    alone = specs.measure_engine_time(timed, "bm25", "fixed", "pydocs", "lucene")
    assert (alone["depths"], alone["kind"], alone["options"]) == ([1000], "bm25", {"k1": 0.9, "b": 0.4})


def test_another_column_measures_only_where_it_is_shown(timed: Study) -> None:
    more = load("lucene:p99_ms@5-clients", "nDCG@10")
    serving = [specs.measure_serving(study, "ours", "seed-0", "pydocs", "lucene") for study in (timed, more)]
    assert [spec["load"]["clients"] for spec in serving] == [[5, 80], [5]]
    assert plan.times(more, "engine_time") == []
