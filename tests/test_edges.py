"""The dependency graph."""

from pathlib import Path

import pytest
from configs import load
from paper_recipes import overlay

from sparsemill.study import edges, plan, specs
from sparsemill.study.models import Study
from sparsemill.study.outside import outside_files

CONFIG = Path(__file__).resolve().parent.parent / "config"


@pytest.fixture(scope="module")
def demo() -> Study:
    return load()


@pytest.fixture(scope="module")
def wide() -> Study:
    """Seeds, shards, expected values, a table of its own: every kind of artefact."""
    table = {
        "caption": "",
        "rows": [{"system": "bm25"}, {"system": "x", "compare": ["bm25"]}],
        "columns": [{"measure": "p99_ms", "collection": "pydocs"}, {"measure": "AP", "collection": "pydocs"}],
        "test_measure": "AP",
    }
    value = {"system": "x", "collection": "pydocs", "measure": "AP", "value": 1, "tolerance": 1, "source": "here"}
    experiment = {"extends": "ours", "seeds": [0, 1], "retrieval_idf": "pydocs"}
    return load(shards=3, experiments={"x": experiment}, tables={"t": table}, expected=[value])


def ancestors(study: Study, key: str) -> set[str]:
    return set(edges.closure(study, [key]))


@pytest.mark.parametrize("name", ["demo", "wide"])
def test_inputs_come_first_and_each_once(name: str, request: pytest.FixtureRequest) -> None:
    study = request.getfixturevalue(name)
    order = edges.closure(study, ["verified"])
    assert len(order) == len(set(order))
    place = {key: number for number, key in enumerate(order)}
    for key in order:
        for parents in edges.upstream(study, key).values():
            assert all(place[parent] < place[key] for parent in parents), key


def test_the_results_readme_names_every_kind_of_artefact() -> None:
    study = overlay("papers_demo")
    heads = {key.split("/")[0] for key in edges.closure(study, ["verified"])}
    assert heads >= {"cross_encoders", "training_pairs"}
    text = (CONFIG.parent / "results" / "README.md").read_text()
    assert not [head for head in sorted(heads) if f"`{head}/" not in text]


def test_the_closure_of_everything_is_that_of_its_results(wide: Study) -> None:
    made = set(edges.closure(wide, plan.results(wide)))
    assert set(edges.closure(wide, ["verified"])) == made | {"store", "published", "verified"}
    assert edges.upstream(wide, "published")["artefacts"] == edges.closure(wide, plan.results(wide))
    assert "expected" in made


def test_an_idf_table_from_a_file_counts_nothing() -> None:
    study = load(data="here", idfs={"theirs": {"kind": "file", "path": "idf.json", "backbone": "minilm-l2"}})
    assert edges.upstream(study, "idfs/theirs") == {"backbone": ["backbones/minilm-l2"]}
    assert specs.count_idf(study, "theirs")["path"] == "here/idf.json"
    assert outside_files(study, "idfs/theirs") == outside_files(study, "idfs/pydocs") == []
    assert "kind" not in specs.count_idf(study, "pydocs")


def test_a_backbone_is_cut_to_its_collections() -> None:
    study = load(backbones={"x": {"extends": "minilm-l2", "vocabulary": ["pydocs", "pydocs-train"]}})
    whole = {"collection": ["collections/pydocs-train"]}
    assert edges.upstream(study, "backbones/minilm-l2") == whole
    cut = whole | {"vocabulary": ["collections/pydocs", "collections/pydocs-train"]}
    assert edges.upstream(study, "backbones/x") == cut


def test_ablations_share_upstream_work(demo: Study) -> None:
    ours, without = ancestors(demo, "models/ours/seed-0"), ancestors(demo, "models/ours-without-idf/seed-0")
    for shared in (
        "candidates/pydocs",
        "targets/pydocs/minilm-bm25-s30",
        "embeddings/minilm/pydocs-train/shard-0",
        "embeddings/bm25/pydocs-train/shard-0",
        "backbones/minilm-l2-pydocs",
    ):
        assert shared in ours & without
    assert ours - without == {"models/ours/seed-0", "pretrained/pre-idf/seed-0"}
    assert without - ours == {"models/ours-without-idf/seed-0", "pretrained/pre-binary/seed-0"}


def test_nothing_is_learned_from_test_queries(demo: Study) -> None:
    """The test collection reaches a model through its documents alone: their tokens and frequencies."""
    for key in (key for key in edges.closure(demo, ["verified"]) if key.startswith(("models/", "pretrained/"))):
        users = {
            upstream
            for upstream in ancestors(demo, key)
            for parents in edges.upstream(demo, upstream).values()
            if "collections/pydocs" in parents
        }
        assert users == {"idfs/pydocs", "backbones/minilm-l2-pydocs"}


def test_contrastive_training_has_no_teachers() -> None:
    alone = {"extends": "ours", "start": "minilm-l2", "ensemble": None, "kl_weight": 0, "infonce_weight": 1}
    study = load(experiments={"x": alone, "y": alone | {"in_batch": "documents"}})
    for name in "xy":
        assert set(edges.upstream(study, f"models/{name}/seed-0")) == {"start", "collection", "candidates", "idf"}
        made = ancestors(study, f"models/{name}/seed-0")
        assert not {key for key in made if key.startswith(("targets/", "scores/", "embeddings/"))}


def test_only_rows_of_the_whole_step_need_embeddings() -> None:
    study = load(experiments={"x": {"extends": "ours", "in_batch": "positives", "infonce_weight": 1}})
    assert "targets" in edges.upstream(study, "models/x/seed-0")
    study = load(experiments={"x": {"extends": "ours", "in_batch": "documents"}})
    assert {"embeddings_minilm", "embeddings_bm25"} <= set(edges.upstream(study, "models/x/seed-0"))


def test_training_reads_no_store(demo: Study) -> None:
    assert "store" not in ancestors(demo, "models/ours/seed-0")
    assert edges.upstream(demo, "published")["store"] == ["store"]


def test_shards_and_seeds(wide: Study) -> None:
    assert edges.upstream(wide, "indexes/x/seed-1/pydocs/exact")["vectors"] == [
        f"vectors/x/seed-1/pydocs/shard-{shard}" for shard in range(3)
    ]
    assert edges.upstream(wide, "models/x/seed-1")["start"] == ["pretrained/pre-idf/seed-1"]
    assert len(edges.upstream(wide, "scores/pydocs/minilm/shard-0")["embeddings"]) == 3
    assert len(edges.upstream(wide, "scores/pydocs/bm25/shard-0")["embeddings"]) == 1
    assert edges.upstream(wide, "runs/x/seed-0/pydocs/lucene")["idf"] == ["idfs/pydocs"]
    assert "idf" not in edges.upstream(wide, "runs/ours/seed-0/pydocs/lucene")


def test_latency_is_measured_where_it_is_shown(demo: Study, wide: Study) -> None:
    sparse = {"bm25/fixed", "ours/seed-0", "ours-without-idf/seed-0", "doc-distill/seed-0", "doc-distill-idf/seed-0"}
    assert set(plan.costs(demo, "latency")) == {f"latency/{system}/pydocs" for system in sparse}
    assert {"latency/x/seed-0/pydocs", "latency/x/seed-1/pydocs"} <= set(plan.costs(wide, "latency"))
    figure = {"extends": "effectiveness-flops", "x": "p50_ms", "systems": ["x"]}
    study = load(presets=["demo"], experiments={"x": {"extends": "ours"}}, figures={"f": figure})
    assert "latency/x/seed-0/pydocs" in plan.costs(study, "latency")
    none = {"t": {"caption": "", "rows": [{"system": "bm25"}], "columns": [{"measure": "AP", "collection": "pydocs"}]}}
    assert plan.costs(load(presets=[], tables=none), "latency") == []


def test_tests_and_intervals_read_every_row_and_what_it_is_compared_with(wide: Study) -> None:
    systems = dict.fromkeys(name for row in wide.tables["t"].rows for name in (row.system, *row.compare))
    found = plan.table_evaluations(wide, "t")
    assert list(dict.fromkeys(key.split("/")[1] for key in found)) == list(systems)
    assert {key for key in found if "/x/" in key or "/bm25/" in key} == {
        "evaluations/x/seed-0/pydocs/exact",
        "evaluations/x/seed-1/pydocs/exact",
        "evaluations/bm25/fixed/pydocs/lucene",
    }


def test_the_second_engine_can_be_left_out(demo: Study) -> None:
    alone = load(check_engine="none")
    assert {key.rpartition("/")[2] for key in plan.evaluations(demo)} == {"lucene", "exact", "fusion"}
    engines = {key.rpartition("/")[2] for key in plan.evaluations(alone) if "/seed-" in key}
    assert engines == {"exact"}


def test_sources_of_own_data(tmp_path: Path) -> None:
    (tmp_path / "mine" / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        (tmp_path / "mine" / name).touch()
    study = load(data=str(tmp_path), collections={"mine": {"kind": "beir_folder", "path": "mine"}})
    found = outside_files(study, "collections/mine")
    assert [Path(path).relative_to(tmp_path / "mine").as_posix() for path in found] == [
        "corpus.jsonl",
        "queries.jsonl",
        "qrels/test.tsv",
    ]
    assert outside_files(study, "collections/pydocs") == []


def test_weights_in_a_folder_are_files_of_what_loads_them(tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    names = ["1_Pooling/config.json", "config.json", "model.safetensors", "vocab.txt"]
    for name in [*names, "pytorch_model.bin", ".gitattributes"]:
        (tmp_path / name).touch()
    weights = {"weights": {"kind": "folder", "path": str(tmp_path)}}
    training = {"training_set": "pydocs", "steps": 1, "queries_per_step": 2, "documents_per_query": 2}
    study = load(
        backbones={"mine": weights},
        released={"mine": {**weights, "query_side": "splade"}},
        cross_encoders={"mine": weights | training},
        teachers={
            "dense": {"kind": "dense", **weights},
            "pairs": {"kind": "cross_encoder", **weights},
            "own": {"kind": "cross_encoder", "trained": "mine"},
        },
    )
    loaded_by = ["backbones/mine", "released/mine/fixed", "cross_encoders/mine"]
    loaded_by += ["embeddings/dense/pydocs/shard-0", "scores/pydocs/pairs/shard-0"]
    for key in loaded_by:
        assert outside_files(study, key) == [(tmp_path / name).as_posix() for name in names], key
    for key in ("scores/pydocs/dense/shard-0", "scores/pydocs/own/shard-0", "backbones/minilm-l2", "tidy"):
        assert outside_files(study, key) == [], key


@pytest.mark.parametrize("key", ["nothing", "tables", "models/ours", "tables/demo/more"])
def test_keys_that_no_rule_makes(demo: Study, key: str) -> None:
    with pytest.raises(ValueError, match="no rule makes"):
        edges.upstream(demo, key)
