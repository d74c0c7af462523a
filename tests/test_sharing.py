"""Experiments that take another one's model, IDF tables by collection, and weights that nobody pinned."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from configs import load, told

from sparsemill.errors import UserError
from sparsemill.study import edges, plan
from sparsemill.study.load import load_study
from sparsemill.study.models import HubWeights, Study
from sparsemill.study.revisions import check_revisions, unpinned

CONFIG = Path(__file__).resolve().parent.parent / "config"
Config = dict[str, Any]


def taking(**keys: Any) -> Config:
    return {"x": {"extends": "ours", "model": "ours", **keys}}


def shown(*systems: str) -> Config:
    rows = [{"system": system} for system in systems]
    return {"t": {"caption": "", "rows": rows, "columns": [{"measure": "AP", "collection": "pydocs"}]}}


def own(study: Study) -> set[str]:
    """What is made for x alone."""
    return {key for key in edges.closure(study, plan.results(study)) if "/x/" in f"{key}/"}


def test_another_idf_table_at_search_time_trains_encodes_and_indexes_nothing() -> None:
    idfs = {"other": {"extends": "pydocs", "collections": ["pydocs"]}}
    study = load(idfs=idfs, experiments=taking(retrieval_idf="other"), tables=shown("x"))
    assert {key.split("/")[0] for key in own(study)} == {"runs", "evaluations", "sparsity"}
    run = edges.upstream(study, "runs/x/seed-0/pydocs/lucene")
    assert run["index"] == ["indexes/ours/seed-0/pydocs/lucene"]
    assert (run["model"], run["idf"]) == (["models/ours/seed-0"], ["idfs/other"])


def test_another_encoding_makes_vectors_and_another_quantisation_an_index() -> None:
    encoded = load(experiments=taking(encode_length=64), tables=shown("x"))
    heads = {key.split("/")[0] for key in own(encoded)}
    assert heads == {"vectors", "indexes", "runs", "evaluations", "sparsity"}
    assert edges.upstream(encoded, "vectors/x/seed-0/pydocs/shard-0")["model"] == ["models/ours/seed-0"]
    quantised = load(experiments=taking(quantisation=10), tables=shown("x"))
    assert {key.split("/")[0] for key in own(quantised)} == {"indexes", "runs", "evaluations", "sparsity"}


def test_the_ablation_of_quantisation_shares_all_but_lucenes_index() -> None:
    study = load(**yaml.safe_load((CONFIG / "overlays" / "quantisation.yaml").read_text(encoding="utf-8")))
    made = edges.closure(study, plan.results(study))
    own = {key.split("/")[0] for key in made if "ours-q" in key}
    assert own == {"indexes", "runs", "evaluations", "sparsity"}
    for name in ("ours-q10", "ours-q1000"):
        searched = {engine: f"runs/{name}/seed-0/pydocs/{engine}" for engine in ("lucene", "exact")}
        found = {engine: edges.upstream(study, key)["index"] for engine, key in searched.items()}
        assert found["lucene"] == [f"indexes/{name}/seed-0/pydocs/lucene"]
        # The exact engine quantises nothing.
        assert found["exact"] == ["indexes/ours/seed-0/pydocs/exact"]


def test_a_shared_model_is_of_the_same_recipe() -> None:
    assert told(experiments=taking(steps=7)).startswith(
        "config: experiments.x.steps: not that of ours, whose model it takes"
    )
    assert "experiments.x.seeds: ours has no model of seed 1" in told(experiments=taking(seeds=[0, 1]))
    assert "experiments.x.model: no experiment 'our'; did you mean 'ours'?" in told(experiments=taking(model="our"))
    chain = taking() | {"y": {"extends": "ours", "model": "x"}}
    assert "experiments.y.model: x takes the model of another one itself" in told(experiments=chain)


def test_idf_tables_by_collection() -> None:
    idfs = {"other": {"extends": "pydocs", "collections": ["pydocs"]}}
    table = shown("x")
    table["t"]["columns"].append({"measure": "AP", "collection": "pydocs-train"})
    split = {"again": {"kind": "split", "of": "pydocs", "split": "train"}}
    study = load(idfs=idfs, experiments=taking(retrieval_idf={"pydocs": "other"}), tables=table, collections=split)
    assert edges.upstream(study, "runs/x/seed-0/pydocs/exact")["idf"] == ["idfs/other"]
    assert edges.upstream(study, "runs/x/seed-0/again/exact")["idf"] == ["idfs/other"]
    assert "idf" not in edges.upstream(study, "runs/x/seed-0/pydocs-train/exact")
    assert "retrieval_idf: no collection 'pydoc'" in told(experiments=taking(retrieval_idf={"pydoc": "pydocs"}))
    assert "retrieval_idf: no idf 'pydoc'" in told(experiments=taking(retrieval_idf={"pydocs": "pydoc"}))


# --- revisions ---------------------------------------------------------------------------------------------------

HUB = {"mine": {"weights": {"kind": "hub", "id": "a/b"}}}


def hub(**config: Any) -> Study:
    return load(backbones=HUB, experiments={"x": {"extends": "doc-distill", "start": "mine"}}, **config)


def test_weights_that_a_result_needs_must_be_pinned() -> None:
    assert unpinned(hub()) == []  # no table shows x
    study = hub(tables=shown("x"))
    assert unpinned(study) == ["a/b"]
    with pytest.raises(UserError, match=r"--config 'revisions=\{a/b: COMMIT\}'"):
        check_revisions(study)


def test_the_registry_has_one_commit_of_a_repository_and_of_code() -> None:
    study = load_study({"presets": []}, CONFIG)
    kinds = (study.backbones, study.teachers, study.cross_encoders, study.released)
    found = [getattr(entry, "weights", None) for kind in kinds for entry in kind.values()]
    weights = [one for one in found if isinstance(one, HubWeights)]
    assert len({(one.id, one.revision) for one in weights}) == len({one.id for one in weights}) > 10
    trusted = {one.id: one.code_revision for one in weights if one.trust_remote_code}
    assert set(trusted) == {
        "Alibaba-NLP/gte-large-en-v1.5",
        "opensearch-project/opensearch-neural-sparse-encoding-doc-v3-gte",
    }
    assert set(trusted.values()) == {"40ced75c3017eb27626c9d4ea981bde21a2662f4"}  # of Alibaba-NLP/new-impl, for both


def test_revisions_pin_what_has_none() -> None:
    study = hub(tables=shown("x"), revisions={"a/b": "0" * 40})
    check_revisions(study)
    assert study.backbones["mine"].weights.model_dump()["revision"] == "0" * 40
    assert "config: revisions.a/b: " in told(revisions={"a/b": "main"})
