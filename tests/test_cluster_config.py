"""Clusters in the config and in the graph of artefacts."""

from typing import Any

import pytest
from conftest import ROOT

from sparsemill.errors import UserError
from sparsemill.study import edges, plan, specs
from sparsemill.study.load import load_study
from sparsemill.study.models import Study

ENTRY = {"kind": "opensearch", "address": "https://localhost:9200"}


def load(entry: dict[str, Any] | None = None, **config: Any) -> Study:
    engines = {"os": ENTRY | (entry or {}), "embedded": {"kind": "milvus"}}
    return load_study({"engine": "os", "check_engine": "embedded", "engines": engines, **config}, ROOT / "config")


def test_the_tables_engine_may_be_a_cluster() -> None:
    study = load()
    keys = plan.evaluations(study)
    assert {"evaluations/ours/seed-0/pydocs/os", "evaluations/ours/seed-0/pydocs/embedded"} <= set(keys)
    assert {"evaluations/bm25/fixed/pydocs/lucene"} <= set(keys)
    found = edges.upstream(study, "runs/ours/seed-0/pydocs/os")
    assert found["index"] == ["indexes/ours/seed-0/pydocs/os"]
    index = edges.upstream(study, "indexes/ours/seed-0/pydocs/os")
    assert set(index) == {"vectors", "model"}
    assert specs.system_engine(study, "ours") == "os"


def test_moving_a_cluster_changes_no_spec() -> None:
    near = load()
    far = load({"address": "https://elsewhere:9200", "verify": False, "prefix": "mine", "timeout": 5, "retries": 1})
    for key in ("build_index", "search"):
        place = ("ours", "os") if key == "build_index" else ("ours", "seed-0", "pydocs", "os")
        assert getattr(specs, key)(near, *place) == getattr(specs, key)(far, *place)
    asked = load({"query": "two_phase", "two_phase": {"prune_ratio": 0.3}})
    assert specs.build_index(asked, "ours", "os") == specs.build_index(near, "ours", "os")
    assert specs.search(asked, "ours", "seed-0", "pydocs", "os")["cluster"]["two_phase"]["prune_ratio"] == 0.3
    wide = load({"shards": 3})
    assert specs.build_index(wide, "ours", "os")["cluster"]["shards"] == 3
    facts = specs.connection_facts(far, "os")["connection"]
    assert facts["address"] == "https://elsewhere:9200"
    assert "shards" not in facts


def test_no_training_depends_on_a_cluster() -> None:
    sets = {"self": {"extends": "pydocs", "miner": "doc-distill"}}
    mined = load(training_sets=sets)
    exact = load_study({"engine": "exact", "training_sets": sets}, ROOT / "config")
    assert edges.upstream(mined, "mining/self/doc-distill") == edges.upstream(exact, "mining/self/doc-distill")
    assert specs.search_training(mined, "self", "doc-distill") == specs.search_training(exact, "self", "doc-distill")


def test_one_index_is_asked_in_two_ways() -> None:
    two = {"extends": "os", "index": "os", "query": "two_phase"}
    study = load(engines={"os": ENTRY, "two-phase": two, "embedded": {"kind": "milvus"}})
    assert edges.upstream(study, "runs/ours/seed-0/pydocs/two-phase")["index"] == ["indexes/ours/seed-0/pydocs/os"]
    with pytest.raises(UserError, match=r"engines\.two-phase: it searches the index of os, but says something else"):
        load(engines={"os": ENTRY, "two-phase": two | {"shards": 2}, "embedded": {"kind": "milvus"}})
    with pytest.raises(UserError, match=r"engines\.two-phase\.index: no engine with an index of its own 'so'"):
        load(engines={"os": ENTRY, "two-phase": two | {"index": "so"}, "embedded": {"kind": "milvus"}})


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"kind": "opensearch"}, "config: engines.x.address: "),
        ({"kind": "solr"}, "config: engines.x.kind: no kind 'solr'; valid: milvus, opensearch"),
        ({"kind": "milvus", "adress": ""}, "config: engines.x.adress: unknown key; did you mean 'address'?"),
        ({"kind": "milvus", "address": "milvus.db"}, "config: engines.x.address: starts with http:// or https://"),
        (ENTRY | {"query": "ann"}, "config: engines.x: query: ann does not go with field: rank_features"),
        (ENTRY | {"two_phase": {"expansion_rate": 0.5}}, "config: engines.x.two_phase.expansion_rate: "),
    ],
)
def test_mistakes_in_an_entry(entry: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as caught:
        load_study({"engines": {"x": entry}}, ROOT / "config")
    assert told.removesuffix(" ") in str(caught.value)


def test_a_built_in_name_is_taken() -> None:
    with pytest.raises(UserError, match=r"engines\.exact: exact is the name of a built-in engine; rename it"):
        load_study({"engines": {"exact": {"kind": "milvus"}}}, ROOT / "config")
