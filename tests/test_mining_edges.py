"""Miners, mixtures and files of pairs in the graph: what is made from what, and what is shared."""

from pathlib import Path
from typing import Any

import pytest
from configs import load

from sparsemill.errors import UserError
from sparsemill.study import edges, specs
from sparsemill.study.models import PairFile, Study, TrainingSet
from sparsemill.study.training_sets import judged, members

CONFIG = Path(__file__).resolve().parent.parent / "config"
SELF_MINED = {"extends": "pydocs", "miner": "doc-distill"}


def ancestors(study: Study, key: str) -> set[str]:
    return set(edges.closure(study, [key]))


@pytest.fixture(scope="module")
def self_mined() -> Study:
    """SelfDistil: a retriever learns from the candidates of the one that it follows."""
    return load(
        training_sets={"mined": SELF_MINED, "both": {"extends": "pydocs", "miners": ["minilm", "bm25", "doc-distill"]}},
        experiments={
            "self-distil": {"extends": "doc-distill", "training_set": "mined"},
            "self-distil-l": {"extends": "self-distil", "regulariser": {"lambda_d": 0.5}},
        },
    )


def test_an_experiment_mines_with_its_model_of_seed_0(self_mined: Study) -> None:
    assert edges.upstream(self_mined, "mining/mined/doc-distill") == {
        "collection": ["collections/pydocs-train"],
        "index": ["indexes/doc-distill/seed-0/pydocs-train/exact"],
        "model": ["models/doc-distill/seed-0"],
    }
    assert edges.upstream(self_mined, "candidates/mined")["run"] == ["mining/mined/doc-distill"]
    above = ancestors(self_mined, "models/self-distil/seed-0")
    assert {
        "models/doc-distill/seed-0",
        "vectors/doc-distill/seed-0/pydocs-train/shard-0",
        "candidates/mined",
        "candidates/pydocs",  # doc-distill itself learned from those of BM25
    } <= above


def test_a_retriever_cannot_mine_its_own_candidates() -> None:
    with pytest.raises(UserError, match=r"models/x/seed-0 -> models/x/seed-0 needs itself, through its .* miners"):
        load(
            training_sets={"mined": SELF_MINED | {"miner": "x"}},
            experiments={"x": {"extends": "doc-distill", "training_set": "mined"}},
        )
    with pytest.raises(UserError, match=r"models/x/seed-0 .* models/y/seed-0 .* needs itself"):
        load(
            training_sets={"of-x": SELF_MINED | {"miner": "x"}, "of-y": SELF_MINED | {"miner": "y"}},
            experiments={
                "x": {"extends": "doc-distill", "training_set": "of-y"},
                "y": {"extends": "doc-distill", "training_set": "of-x"},
            },
        )


def test_ablations_on_mined_candidates_share_them(self_mined: Study) -> None:
    one, other = (ancestors(self_mined, f"models/{name}/seed-0") for name in ("self-distil", "self-distil-l"))
    assert one - other == {"models/self-distil/seed-0"}
    assert other - one == {"models/self-distil-l/seed-0"}


def test_several_miners_keep_their_order(self_mined: Study) -> None:
    assert edges.upstream(self_mined, "candidates/both")["run"] == [
        "mining/both/minilm",
        "mining/both/bm25",
        "mining/both/doc-distill",
    ]
    assert edges.upstream(self_mined, "mining/both/minilm") == {
        "collection": ["collections/pydocs-train"],
        "embeddings": ["embeddings/minilm/pydocs-train/shard-0"],
    }


def test_the_run_of_a_miner_is_that_of_the_system_over_training_queries(self_mined: Study) -> None:
    mined = specs.search_training(self_mined, "mined", "doc-distill")
    searched = specs.search(self_mined, "doc-distill", "seed-0", "pydocs-train", "exact")
    assert mined == searched | {"split": "train", "depth": 100}
    assert specs.search_training(self_mined, "both", "bm25") == specs.search_training(self_mined, "pydocs", "bm25")
    assert specs.search_training(self_mined, "both", "minilm")["stage_version"] == specs.VERSIONS["search_dense"]


def test_miners_may_search_with_another_engine_than_tables() -> None:
    """All but BM25, which Lucene searches, and what searches in two phases."""
    two = {"extends": "doc-distill", "two_phase": {}}
    sets = {"mined": SELF_MINED, "both": {"extends": "pydocs", "miners": ["bm25", "two", "minilm"]}}
    chosen = load(mining_engine="exact", engine="lucene", training_sets=sets, experiments={"two": two})
    study = load(engine="lucene", training_sets=sets, experiments={"two": two})
    assert specs.miner_engine(chosen, "doc-distill") == "exact"
    assert specs.miner_engine(study, "doc-distill") == "lucene"
    assert specs.system_engine(chosen, "doc-distill") == "lucene"
    for miner in ("bm25", "two"):
        assert specs.search_training(chosen, "both", miner) == specs.search_training(study, "both", miner)
    assert edges.upstream(chosen, "mining/mined/doc-distill")["index"] == [
        "indexes/doc-distill/seed-0/pydocs-train/exact"
    ]


def test_windows_reach_as_deep_as_they_draw() -> None:
    windows = [{"top": 50, "keep": 50}, {"top": 1000, "keep": 50}]
    study = load(training_sets={"x": {"extends": "pydocs", "windows": windows}})
    assert specs.search_training(study, "x", "bm25")["depth"] == 1000
    spec = specs.mine_candidates(study, "x")
    assert (spec["windows"], "top" in spec) == (windows, False)


def test_keys_that_came_later_leave_old_specs_alone() -> None:
    spec = specs.mine_candidates(load(), "pydocs")
    assert set(spec) == {
        *("collection", "split", "miner", "top", "filter_top", "seed", "max_queries", "stage_version"),
    }


# --- false negatives ---------------------------------------------------------------------------------------------


def test_false_negatives_are_marked_after_scoring_and_read_by_training() -> None:
    study = load(
        training_sets={"x": {"extends": "pydocs", "false_negatives": {"teacher": "minilm", "margin": 0.1}}},
        experiments={"y": {"extends": "doc-distill", "training_set": "x"}},
        cross_encoders={"small": {"extends": "ce-minilm", "training_set": "x"}},
    )
    assert edges.upstream(study, "false_negatives/x") == {
        "candidates": ["candidates/x"],
        "scores": ["scores/x/minilm/shard-0"],
    }
    assert edges.upstream(study, "models/y/seed-0")["false_negatives"] == ["false_negatives/x"]
    assert edges.upstream(study, "cross_encoders/small")["false_negatives"] == ["false_negatives/x"]
    assert "false_negatives/x" not in ancestors(study, "targets/x/minilm-bm25-s30")
    assert "false_negatives" not in specs.mine_candidates(study, "x")
    assert specs.find_false_negatives(study, "x") == {"teacher": "minilm", "margin": 0.1, "stage_version": 1}
    with pytest.raises(UserError, match="no false_negatives"):
        specs.find_false_negatives(study, "pydocs")


# --- mixtures and pairs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed() -> Study:
    pairs = {"kind": "pairs", "path": "a.jsonl.gz", "format": "jsonl", "top": 20, "search_queries": 9, "origin": "me"}
    return load(
        data="there",
        training_sets={"some-pairs": pairs, "all": {"kind": "mixture", "sets": {"some-pairs": 1, "pydocs": 3}}},
        experiments={
            "lists": {"extends": "doc-distill", "training_set": "all"},
            "batch": {"extends": "doc-distill", "training_set": "all", "in_batch": True, "ensemble": "minilm-bm25"},
        },
    )


def test_a_file_of_pairs_is_a_collection_and_its_judged_pairs(mixed: Study) -> None:
    collection = mixed.collections["some-pairs"]
    assert isinstance(collection, PairFile)
    assert (collection.split, collection.self_hits, collection.max_queries) == ("train", "drop", 9)
    assert judged(mixed, "some-pairs") == TrainingSet(collection="some-pairs", top=20)
    spec = specs.fetch_collection(mixed, "some-pairs")
    assert (spec["path"], spec["kind"], "origin" in spec) == ("there/a.jsonl.gz", "pairs", False)
    assert specs.search_training(mixed, "some-pairs", "bm25")["self_hits"] == "drop"


def test_members_of_a_mixture_are_inputs_in_order_of_their_names(mixed: Study) -> None:
    assert members(mixed, "all") == {"pydocs": 3, "some-pairs": 1}
    assert members(mixed, "pydocs") == {"pydocs": 1}
    lists = edges.upstream(mixed, "models/lists/seed-0")
    assert (lists["candidates_0"], lists["candidates_1"]) == (["candidates/pydocs"], ["candidates/some-pairs"])
    assert lists["collection_0"] == ["collections/pydocs-train"]
    assert lists["targets_1"] == ["targets/some-pairs/minilm-bm25-s30"]
    batch = edges.upstream(mixed, "models/batch/seed-0")
    assert batch["embeddings_minilm_1"] == ["embeddings/minilm/some-pairs/shard-0"]
    assert not {key for key in (*lists, *batch) if key in ("collection", "candidates", "targets", "embeddings_minilm")}


def test_weights_of_a_mixture_are_in_the_spec_of_training(mixed: Study) -> None:
    assert specs.finetune(mixed, "lists", "0")["mixture"] == {"pydocs": 3, "some-pairs": 1}
    assert "mixture" not in specs.finetune(mixed, "doc-distill", "0")


# --- mistakes ----------------------------------------------------------------------------------------------------

PAIRS = {"kind": "pairs", "path": "a", "format": "jsonl"}


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            {"x": {"extends": "pydocs", "miners": ["bm25", "ours2"]}},
            "training_sets.x.miners: no experiment, released checkpoint or teacher",
        ),
        ({"x": {"kind": "mixture", "sets": {"pydoc": 1}}}, "training_sets.x.sets: no training set that is no mixture"),
        (
            {"x": {"kind": "mixture", "sets": {"y": 1}}, "y": {"kind": "mixture", "sets": {"pydocs": 1}}},
            "training_sets.x.sets: no training set that is no mixture 'y'",
        ),
        ({"x": {"kind": "mixture", "sets": {"pydocs": 0}}}, "training_sets.x.sets.pydocs: "),
        ({"x": {"kind": "mixtur", "sets": {}}}, "training_sets.x.kind: no kind 'mixtur'; did you mean 'mixture'"),
        ({"pydocs-train": PAIRS}, "training_sets.pydocs-train: collections has an entry of that name too"),
        ({"x": PAIRS | {"formatt": "tsv"}}, "training_sets.x.formatt: unknown key; did you mean 'format'"),
        ({"x": {"extends": "pydocs", "windows": [{"top": 5, "keep": 6}]}}, "keep: 6 of the first 5 documents"),
        (
            {"x": {"extends": "pydocs", "false_negatives": {"teacher": "minilmm"}}},
            "training_sets.x.false_negatives.teacher: no teacher 'minilmm'; did you mean 'minilm'",
        ),
    ],
)
def test_mistakes_are_told_in_one_line(sets: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        load(training_sets=sets)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_sources_of_the_inference_free_paper_are_named() -> None:
    """2411.04403, Table 1: thirteen sources, their sizes, and the two that are sub-sampled."""
    study = load()
    sources = members(study, "inference-free-pretraining")
    assert len(sources) == 13
    assert set(sources.values()) == {1}
    files = [study.collections[name] for name in sources]
    lines = {
        file.path.removeprefix("embedding-training-data/"): file.lines for file in files if isinstance(file, PairFile)
    }
    assert len(lines) == 13
    assert (lines["S2ORC_title_abstract.jsonl.gz"], lines["squad_pairs.jsonl.gz"]) == (41_769_185, 87_599)
    kept = {name: judged(study, name).max_queries for name in sources}
    assert {name: most for name, most in kept.items() if most} == {
        "pairs-s2orc": 500_000,
        "pairs-wikianswers": 1_000_000,
    }
    assert all(judged(study, name).filter_top == 10 for name in sources)
