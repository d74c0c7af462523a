"""What each stage depends on: a change of the config changes the specs that it should, and no other."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from configs import turned
from every_spec import spec_of

from sparsemill.study import edges, mirror, plan, specs
from sparsemill.study.load import load_study
from sparsemill.study.models import LATER, Model, Table
from sparsemill.study.sharing import index_of

ROOT = Path(__file__).resolve().parent.parent
ALONE = ROOT / "no-presets"  # the config of a test is the whole config
Config = dict[str, Any]


def demo() -> Config:
    """The whole demo as one config, so that a test can change any of it."""
    merged: Config = {"presets": []}
    for path in [*sorted((ROOT / "config" / "registry").glob("*.yaml")), ROOT / "config" / "papers" / "demo.yaml"]:
        for key, value in yaml.safe_load(path.read_text()).items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return merged


def all_specs(config: Config) -> dict[str, str]:
    study = load_study(config, ALONE)
    return {key: spec_of(study, key) for key in edges.closure(study, ["verified"])}


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    return all_specs(demo())


def changed(before: dict[str, str], change: Callable[[Config], None]) -> set[str]:
    """Keys of the artefacts whose spec is another one after a change."""
    config = deepcopy(demo())
    change(config)
    after = all_specs(config)
    assert after.keys() == before.keys()
    return {key for key in after if after[key] != before[key]}


def setting(*path: str | int, value: Any) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        level: Any = config
        for part in path[:-1]:
            level = level.setdefault(part, {}) if isinstance(level, dict) else level[part]
        level[path[-1]] = value

    return change


def kinds(keys: set[str]) -> set[str]:
    return {key.split("/")[0] for key in keys}


def test_every_artefact_has_a_spec_and_a_version(before: dict[str, str]) -> None:
    assert all('"stage_version":' in spec for spec in before.values())
    assert sorted(specs.VERSIONS) == sorted(path.stem for path in (ROOT / "workflow" / "scripts").glob("*.py"))


def test_reordered_keys_and_floats_change_nothing(before: dict[str, str]) -> None:
    assert all_specs(turned(demo())) == before


def test_text_that_is_a_number_changes_nothing(before: dict[str, str]) -> None:
    assert changed(before, setting("experiments", "ours", "regulariser", "lambda_d", value="2e-2")) == set()
    assert changed(before, setting("experiments", "ours", "learning_rate", value="1e-4")) == set()


def test_measures(before: dict[str, str]) -> None:
    more = ["nDCG@10", "MRR@10", "R@100", "AP", "P@5"]
    assert kinds(changed(before, setting("measures", value=more))) == {"evaluations"}


def test_relevance_and_self_hits(before: dict[str, str]) -> None:
    found = changed(before, setting("collections", "pydocs", "relevance", value=2))
    assert kinds(found) == {"evaluations", "explain"}
    assert kinds(changed(before, setting("collections", "pydocs", "self_hits", value="drop"))) == {"runs"}


def test_an_upgrade_reads_docstrings_anew(before: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda package: "1.2.3")
    assert changed(before, lambda config: None) == {"collections/pydocs", "collections/pydocs-train"}


def test_encode_length(before: dict[str, str]) -> None:
    found = changed(before, setting("experiments", "doc-distill", "encode_length", value=64))
    assert found == {"vectors/doc-distill/seed-0/pydocs/shard-0"}


def test_lambda_of_an_experiment(before: dict[str, str]) -> None:
    found = changed(before, setting("experiments", "doc-distill", "regulariser", value={"lambda_d": 0.5}))
    assert found == {"models/doc-distill/seed-0"}


def test_lambda_of_a_base_is_inherited(before: dict[str, str]) -> None:
    found = changed(before, setting("experiments", "ours", "regulariser", "lambda_d", value=0.5))
    assert found == {f"models/{name}/seed-0" for name in ("ours", "ours-without-idf", "doc-distill", "doc-distill-idf")}


def test_quantisation(before: dict[str, str]) -> None:
    found = changed(before, setting("experiments", "doc-distill", "quantisation", value=10))
    assert found == {"indexes/doc-distill/seed-0/pydocs/lucene", "sparsity/doc-distill/seed-0/pydocs"}


def test_form_of_the_exact_index(before: dict[str, str]) -> None:
    found = changed(before, setting("experiments", "doc-distill", "postings", value="blocked"))
    assert found == {"indexes/doc-distill/seed-0/pydocs/exact"}


def test_seismic(before: dict[str, str]) -> None:
    assert changed(before, setting("seismic_engine", value={"heap_factor": 0.5})) == set()
    study = load_study(demo() | {"check_engine": "seismic", "seismic_engine": {"n_postings": 7, "query_cut": 3}}, ALONE)
    built = specs.build_index(study, "ours", "seismic")["seismic"]
    assert built == {"n_postings": 7, "centroid_fraction": 0.4, "summary_energy": 0.9}
    searched = specs.search(study, "ours", "seed-0", "pydocs", "seismic")["seismic"]
    assert searched == {"query_cut": 3, "heap_factor": 1.0}
    assert "seismic" not in specs.search(study, "ours", "seed-0", "pydocs", "exact")
    assert "evaluations/ours/seed-0/pydocs/seismic" in plan.evaluations(study)


def test_pruning(before: dict[str, str]) -> None:
    found = changed(before, setting("experiments", "doc-distill", "prune", value={"max_ratio": 0.1}))
    assert found == {"vectors/doc-distill/seed-0/pydocs/shard-0"}
    config = demo()
    config["experiments"]["doc-distill"] |= {"query_side": "splade", "query_prune": {"top_k": 5}}
    study = load_study(config, ALONE)
    for spec in (
        specs.search(study, "doc-distill", "seed-0", "pydocs", "exact"),
        specs.measure_sparsity(study, "doc-distill", "seed-0", "pydocs"),
        specs.measure_latency(study, "doc-distill", "seed-0", "pydocs"),
    ):
        assert spec["encoder"]["prune"] == {"max_ratio": None, "top_k": 5}
    assert not {"prune", "query_prune"} & specs.finetune(study, "doc-distill", "0").keys()


def test_query_length(before: dict[str, str]) -> None:
    found = changed(before, setting("experiments", "doc-distill", "query_length", value=10))
    assert kinds(found) == {"models", "runs", "sparsity", "latency", "explain"}


def test_bm25(before: dict[str, str]) -> None:
    found = changed(before, setting("teachers", "bm25", "k1", value=1.2))
    assert not {key for key in found if key.startswith(("indexes", "models", "vectors", "evaluations"))}
    assert {"mining/pydocs/bm25", "runs/bm25/fixed/pydocs/lucene", "embeddings/bm25/pydocs/shard-0"} <= found


def test_ensemble(before: dict[str, str]) -> None:
    found = changed(before, setting("ensembles", "minilm-bm25", "scale", value=5))
    assert kinds(found) == {"pretrained"}
    found = changed(before, setting("ensembles", "minilm-bm25-s30", "scale", value=5))
    assert kinds(found) == {"targets", "models"}


def test_captions_labels_and_other_columns(before: dict[str, str]) -> None:
    table = ("tables", "demo")
    assert changed(before, setting(*table, "caption", value="Another.")) == {"tables/demo", "pages"}
    assert changed(before, setting(*table, "notes", value=["A note."])) == {"tables/demo"}
    assert changed(before, setting(*table, "columns", 0, "digits", value=5)) == {"tables/demo"}
    assert changed(before, setting(*table, "columns", 3, "measure", value="postings")) == {"tables/demo"}
    found = changed(before, setting(*table, "rows", 6, "label", value="we"))
    assert "tables/demo" in found
    assert kinds(found) == {"tables", "figures", "explain", "collection_pages", "published"}


def test_tests_of_a_table(before: dict[str, str]) -> None:
    both = {"tables/demo", "significance/demo"}
    assert changed(before, setting("tables", "demo", "alpha", value=0.01)) == both
    assert changed(before, setting("tables", "demo", "test_measure", value="MRR@10")) == both
    assert changed(before, setting("tables", "demo", "rows", 6, "compare", value=["bm25"])) == both


def test_the_tested_table_is_a_table() -> None:
    study = load_study(demo(), ALONE)
    table = Table(**specs.test_significance(study, "demo")["table"])
    assert [(row.system, row.compare) for row in table.rows if row.system.startswith("ours")] == [
        ("ours-without-idf", ["bm25"]),
        ("ours", ["bm25", "ours-without-idf"]),
    ]
    assert [column.measure for column in table.columns] == ["nDCG@10"]
    config = demo()
    for row in config["tables"]["demo"]["rows"]:
        row.pop("compare", None)
    alone = specs.test_significance(load_study(config, ALONE), "demo")
    assert not any(row.compare for row in Table(**alone["table"]).rows)


def test_shards_and_device(before: dict[str, str]) -> None:
    found = changed(before, setting("device", value="cpu"))
    assert kinds(found) == {"embeddings", "pretrained", "models", "vectors"}
    study = load_study(demo() | {"shards": 3}, ALONE)
    assert [specs.encode_corpus(study, "ours", shard)["shard"] for shard in "012"] == [0, 1, 2]
    assert specs.shard_count(study, "minilm") == 3
    assert specs.shard_count(study, "bm25") == 1


def test_head(before: dict[str, str]) -> None:
    assert changed(before, setting("head", value="chunked")) == set()
    assert kinds(changed(before, setting("head", value="triton"))) == {"pretrained", "models", "vectors"}


def test_tracking(before: dict[str, str]) -> None:
    found = changed(before, setting("tracking", value={"experiment": "mine", "live": False}))
    assert found == {"store", "published", "verified"}


def test_a_stage_version_is_in_the_spec(before: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(specs.VERSIONS, "encode_corpus", specs.VERSIONS["encode_corpus"] + 1)
    assert kinds(changed(before, lambda config: None)) == {"vectors"}


def test_seeds() -> None:
    config = demo()
    config["experiments"]["doc-distill"]["seeds"] = [0, 7]
    study = load_study(config, ALONE)
    assert specs.variants(study, "doc-distill") == ["seed-0", "seed-7"]
    one, other = specs.finetune(study, "doc-distill", "0"), specs.finetune(study, "doc-distill", "7")
    assert one | {"seed": 7} == other


def test_the_reference_bm25_is_the_one_called_so() -> None:
    config = demo()
    config["teachers"] = {"a-tuned": {"kind": "bm25", "k1": 2}, **config["teachers"]}
    name, teacher = specs.reference_bm25(load_study(config, ALONE))
    assert (name, teacher.k1) == ("bm25", 0.9)


def test_bm25_that_differs_in_k1_and_b_alone_shares_an_index() -> None:
    config = demo()
    config["teachers"]["a-tuned"] = {"kind": "bm25", "k1": 2}
    study = load_study(config, ALONE)
    own = {name: name for name in ("bm25", "bm25-multifield", "bm25-opensearch")}
    expected = own | {"a-tuned": "bm25", "bm25-standard": "bm25-opensearch"}
    assert {name: index_of(study, name, "lucene") for name in expected} == expected
    version = specs.VERSIONS["build_index"]
    assert specs.build_index(study, "bm25", "lucene") == {"engine": "bm25", "stage_version": version}
    assert specs.build_index(study, "bm25-multifield", "lucene")["fields"] == "multifield"
    run = specs.search(study, "bm25-opensearch", "fixed", "pydocs", "lucene")
    assert (run["analyzer"], run["k1"], run["b"]) == ("standard", 1.2, 0.75)
    assert specs.embed_teacher(study, "bm25-multifield", "0")["fields"] == "multifield"


def test_latency_of_another_bm25_is_that_of_its_own_settings() -> None:
    config = demo()
    config["teachers"] |= {"tuned": {"kind": "bm25", "k1": 2}, "same": {"kind": "bm25"}}
    study = load_study(config, ALONE)
    found = {name: specs.measure_latency(study, name, "fixed", "pydocs") for name in ("bm25", "same", "tuned")}
    assert found["tuned"]["own"] == {"k1": 2, "b": 0.4}
    assert found["tuned"]["bm25"] == {"k1": 0.9, "b": 0.4}
    assert "own" not in found["bm25"].keys() | found["same"].keys()


def test_a_later_key_is_in_the_spec_only_where_it_is_not_at_its_default() -> None:
    class Inner(Model):
        old: int = 1
        new: Annotated[int, LATER] = 2

    class Outer(Model):
        inner: Inner = Inner()
        more: Annotated[int | None, LATER] = None

    assert Outer().model_dump(mode="json") == {"inner": {"old": 1}}
    assert Outer(inner=Inner(new=3), more=4).model_dump() == {"inner": {"old": 1, "new": 3}, "more": 4}
    assert Outer.model_validate(Outer().model_dump()) == Outer()


def test_tables_from_the_store_ask_for_the_settings_of_all_that_was_measured() -> None:
    """And of what it was made from, but for collections, which may hold what is installed here."""

    def asked(*path: str | int, value: Any) -> Any:
        config = {**demo(), "tables_source": "mlflow"}
        setting(*path, value=value)(config)
        study = load_study(config, ALONE)
        found = mirror.collect_results(study)["mlflow"]
        assert set(found["keys"]) == {key for keys in plan.measured(study).values() for key in keys}
        tests = mirror.test_significance(study, "demo")["mlflow"]
        assert tests["keys"].items() <= found["keys"].items()
        assert set(tests["above"]) <= set(found["above"])
        return found

    before = asked("tables_source", value="mlflow")
    measures = asked("measures", value=["nDCG@10", "MRR@10", "R@100", "AP", "P@5"])
    assert measures["above"] == before["above"]
    assert measures["keys"] != before["keys"]
    trained = asked("experiments", "ours", "learning_rate", value=3e-4)
    assert trained["keys"] == before["keys"]
    assert trained["above"] != before["above"]
    assert asked("collections", "pydocs", "packages", value=["scipy"]) == before
