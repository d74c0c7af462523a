"""Released checkpoints through every stage of a study, in the order of its graph, by the scripts of the rules."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import ROOT
from released_formats import save_opensearch
from test_collect import call
from tiny import save_language_model

from sparsemill.errors import UserError
from sparsemill.files import read_json
from sparsemill.study import check, edges, pages, plan, revisions, specs
from sparsemill.study.load import load_study
from sparsemill.study.models import Study

HUB = {"kind": "hub", "id": "someone/splade"}
SPEC: dict[str, tuple[str, Callable[..., specs.Spec], slice]] = {
    "collections": ("fetch_collection", specs.fetch_collection, slice(1)),
    "released": ("prepare_released", specs.prepare_released, slice(1)),
    "vectors": ("encode_corpus", lambda study, key, shard: specs.encode_corpus(study, key, shard[6:]), slice(0, 4, 3)),
    "indexes": ("build_index", specs.build_index, slice(0, 4, 3)),
    "runs": ("search", specs.search, slice(4)),
    "evaluations": ("evaluate_run", specs.evaluate_run, slice(4)),
    "sparsity": ("measure_sparsity", specs.measure_sparsity, slice(3)),
    "tidy": ("collect_results", specs.collect_results, slice(0)),
    "significance": ("test_significance", specs.test_significance, slice(1)),
    "tables": ("render_table", specs.render_table, slice(1)),
    "figures": ("plot_figure", specs.plot_figure, slice(1)),
    "explain": ("explain_queries", specs.explain_queries, slice(1)),
    "collection_pages": ("collection_page", pages.collection_page, slice(1)),
    "pages": ("report_pages", pages.report_pages, slice(0)),
    "store": ("mlflow_init", specs.mlflow_init, slice(0)),
    "published": ("publish", specs.publish, slice(0)),
}
"""Kind of artefact -> the stage that makes it, its spec, and which parts of the key that is cut for."""


def config(folder: Path, **options: Any) -> dict[str, Any]:
    """Two released checkpoints on a few docstrings."""
    lengths = {"query_length": 16, "encode_length": 48}
    table = {"weights": {"kind": "folder", "path": str(folder / "table")}, "query_side": "table", **lengths}
    lexical = {"weights": {"kind": "folder", "path": str(folder / "plain")}, "query_side": "lexical", **lengths}
    shown = {"measure": "nDCG@10", "collection": "few"}, {"measure": "FLOPS", "collection": "few"}
    rows = [{"system": "released-table", "compare": ["released-lexical"]}, {"system": "released-lexical"}]
    return {
        "presets": [],
        "device": "cpu",
        "depth": 20,
        "measures": ["nDCG@10", "R@20"],
        "results": str(folder / "results"),
        "collections": {"few": {"kind": "pydocs", "packages": ["networkx"], "max_documents": 40, "max_queries": 12}},
        "released": {
            "released-table": table | {"activation": "double_log", "prune": {"max_ratio": 0.1}},
            "released-lexical": lexical,
        },
        "tables": {"t": {"caption": "Released.", "rows": rows, "columns": shown}},
        "figures": {"f": {"kind": "activation", "caption": "", "collection": "few", "systems": ["released-table"]}},
        "explanations": {"e": {"collection": "few", "systems": ["released-table", "released-lexical"], "queries": 2}},
        "tracking": {"experiment": "released"},
        **options,
    }


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    """A study, and a folder in which every stage of it has run."""
    folder = tmp_path_factory.mktemp("released")
    save_language_model(folder / "plain")
    save_opensearch(folder / "plain", folder / "table")
    study = load_study(config(folder), ROOT / "config")
    for key in edges.closure(study, [*plan.results(study), "published"]):
        head, *parts = key.split("/")
        stage, spec, names = SPEC[head]
        inputs = {name: [folder / "results" / one for one in keys] for name, keys in edges.upstream(study, key).items()}
        call(stage, folder / "results" / key, spec(study, *parts[names]), key=key, **inputs)
    return study, folder / "results"


def test_every_measure_of_every_row_is_there(work: tuple[Study, Path]) -> None:
    results = work[1]
    frame = pd.read_parquet(results / "tidy" / "results.parquet").set_index(["system", "engine", "measure"])["value"]
    for system in ("released-table", "released-lexical"):
        lucene, exact = (frame[system, engine, "nDCG@10"] for engine in ("lucene", "exact"))
        assert 0 < lucene <= 1
        assert lucene == pytest.approx(exact, abs=0.05)
        assert frame[system, "", "FLOPS"] > 0
    assert "released-lexical" in (results / "tables" / "t" / "table.md").read_text(encoding="utf-8")
    assert "<html" in (results / "explain" / "e" / "explain.html").read_text(encoding="utf-8")
    assert (results / "figures" / "f" / "figure.svg").is_file()


def test_a_released_checkpoint_is_a_parent_run_like_an_experiment(work: tuple[Study, Path]) -> None:
    receipts = read_json(work[1] / "published" / "receipts.json")
    assert receipts["pending"] == []
    assert {"systems/released-table/fixed", "systems/released-lexical/fixed"} <= receipts["runs"].keys()


def test_what_a_released_checkpoint_is_made_from(tmp_path: Path) -> None:
    study = load_study(config(tmp_path), ROOT / "config")
    place = "released-table/fixed/few"
    model = ["released/released-table/fixed"]
    assert edges.upstream(study, f"vectors/{place}/shard-0")["model"] == model
    assert edges.upstream(study, f"runs/{place}/lucene")["model"] == model
    assert edges.upstream(study, model[0]) == {}
    assert f"sparsity/{place}" in plan.costs(study, "sparsity")
    assert "prune" not in specs.prepare_released(study, "released-table")
    assert specs.encode_corpus(study, "released-table", "0")["prune"] == {"max_ratio": 0.1, "top_k": None}
    assert specs.search(study, "released-lexical", "fixed", "few", "exact")["encoder"]["device"] == "cpu"
    precise = load_study(config(tmp_path, encode_precision="bf16"), ROOT / "config")
    assert specs.search(precise, "released-lexical", "fixed", "few", "exact")["encoder"]["precision"] == "bf16"
    mined = {"x": {"extends": "pydocs", "miner": "released-table"}}
    mining = load_study(config(tmp_path, training_sets=mined), ROOT / "config")
    assert edges.upstream(mining, "mining/x/released-table")["model"] == model


def test_the_registry_asks_for_commits_of_what_is_run_alone(tmp_path: Path) -> None:
    study = load_study(config(tmp_path), ROOT / "config")
    assert revisions.unpinned(study) == []
    assert "splade-v3" in check.system_names(study)
    own = config(tmp_path)
    own["released"]["released-lexical"] = {"weights": HUB, "query_side": "splade"}
    with pytest.raises(UserError, match=r"config: revisions: .*someone/splade: COMMIT"):
        revisions.check_revisions(load_study(own, ROOT / "config"))
    pinned = load_study(own | {"revisions": {"someone/splade": "a" * 40}}, ROOT / "config")
    revisions.check_revisions(pinned)
    assert specs.prepare_released(pinned, "released-lexical")["weights"]["revision"] == "a" * 40


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query_side": "idf"}, "released.x.query_side: Input should be 'splade', 'lexical', 'binary' or 'table'"),
        ({"query_side": "binary", "query_prune": {"top_k": 5}}, "query_prune: queries of query_side binary are not"),
        ({"query_side": "splade", "steps": 3}, "released.x.steps: unknown key"),
    ],
)
def test_entries_that_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    entry = {"x": {"weights": HUB} | changes}
    with pytest.raises(UserError) as error:
        load_study(config(tmp_path, released=entry, tables={}, figures={}, explanations={}), ROOT / "config")
    assert message in str(error.value)


def test_a_name_stands_for_one_system(tmp_path: Path) -> None:
    entry = {"bm25": {"weights": HUB, "query_side": "splade"}}
    with pytest.raises(UserError, match="released has an entry of that name too"):
        load_study(config(tmp_path, released=entry, tables={}, figures={}, explanations={}), ROOT / "config")
