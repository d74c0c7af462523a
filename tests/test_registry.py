"""The registry of collections: every id, split and count is what ir_datasets knows; groups are complete."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ir_datasets
import pytest
import yaml

from sparsemill.data.irds import judged_subsets
from sparsemill.errors import UserError
from sparsemill.study import edges, specs
from sparsemill.study.groups import members, shares
from sparsemill.study.load import load_study
from sparsemill.study.models import SplitOf, Study, Table

CONFIG = Path(__file__).resolve().parent.parent / "config"
BY_ID = load_study({"presets": []}, CONFIG)
NAMES = [name for name, chosen in BY_ID.collections.items() if chosen.kind == "ir_datasets"]
SPLITS = [name for name, chosen in BY_ID.collections.items() if chosen.kind == "split"]


def known(data: Any) -> dict[str, int]:
    """Counts that ir_datasets' metadata has; where only some queries are judged, those of the subset `judged`."""
    judged = f"{data.dataset_id()}/judged"
    found: Mapping[str, Any] = (ir_datasets.load(judged) if judged in ir_datasets.registry else data).metadata()
    names = {"documents": "docs", "queries": "queries", "judgements": "qrels"}
    return {ours: found[theirs]["count"] for ours, theirs in names.items()}


@pytest.mark.parametrize("name", NAMES)
def test_ids_splits_and_counts_are_those_of_ir_datasets(name: str) -> None:
    chosen: Any = BY_ID.collections[name]
    assert chosen.id in ir_datasets.registry
    assert ir_datasets.load(chosen.id).has_docs()
    assert chosen.counts == known(judged_subsets(chosen.id, chosen.split)[chosen.split])


@pytest.mark.parametrize("name", SPLITS)
def test_splits_have_the_counts_of_ir_datasets(name: str) -> None:
    chosen: Any = BY_ID.collections[name]
    base: Any = BY_ID.collections[chosen.of]
    expected = known(judged_subsets(base.id, base.split)[chosen.split])
    assert chosen.counts | {"documents": base.counts["documents"]} == expected


def test_rules_of_the_collections() -> None:
    drop = {name for name, chosen in BY_ID.collections.items() if chosen.self_hits == "drop" and "-mined" not in name}
    assert drop - set(BY_ID.training_sets) == {"beir-arguana", "beir-quora", "nano-arguana", "nano-quora"}
    assert {name for name, chosen in BY_ID.collections.items() if chosen.relevance == 2} == {"trec-dl19", "trec-dl20"}


def test_groups_are_complete() -> None:
    assert len(members(BY_ID, "beir-13")) == len(members(BY_ID, "nano-beir")) == 13
    assert len(BY_ID.groups["beir-18"].members) == 18
    forums = [key for key in ir_datasets.registry if key.startswith("beir/cqadupstack/")]
    assert len(members(BY_ID, "beir-cqadupstack")) == len(forums) == 12
    found = shares(BY_ID, "beir-18")
    assert found["beir-cqadupstack-tex"] == pytest.approx(1 / 18 / 12)
    assert sum(found.values()) == pytest.approx(1)


def test_a_split_shares_documents_vectors_and_indexes() -> None:
    columns = [{"measure": "nDCG@10", "collection": name} for name in ("msmarco", "trec-dl19")]
    table = {"caption": "", "rows": [{"system": "ours"}, {"system": "minilm"}, {"system": "bm25"}], "columns": columns}
    study = load_study({"tables": {"t": table}}, CONFIG)
    keys = edges.closure(study, ["tidy"])
    own = {key.split("/")[0] for key in keys if "trec-dl19" in key}
    assert own == {"runs", "evaluations", "sparsity"}
    assert edges.upstream(study, "evaluations/ours/seed-0/trec-dl19/lucene")["collection"] == ["collections/msmarco"]
    spec = specs.evaluate_run(study, "ours", "seed-0", "trec-dl19", "lucene")
    assert (spec["split"], spec["relevance"], spec["counts"]["queries"]) == ("trec-dl-2019", 2, 43)
    assert specs.search(study, "ours", "seed-0", "trec-dl19", "lucene")["split"] == "trec-dl-2019"


def load(**collections: Any) -> Study:
    return load_study({"presets": [], "collections": collections}, CONFIG)


def test_mistakes_of_splits_are_told() -> None:
    with pytest.raises(
        UserError, match=r"collections.x.of: no collection with documents of its own 'msmarcoo'; did you"
    ):
        load(x={"kind": "split", "of": "msmarcoo"})
    with pytest.raises(UserError, match=r"collections.x.of: no collection with documents of its own 'trec-dl19'"):
        load(x={"kind": "split", "of": "trec-dl19"})
    with pytest.raises(UserError, match="the documents are those of msmarco"):
        load(x={"kind": "split", "of": "msmarco", "counts": {"documents": 1}})
    with pytest.raises(UserError, match="is a split of msmarco and not fetched"):
        specs.fetch_collection(BY_ID, "trec-dl19")
    idf = {"x": {"collections": ["trec-dl19"], "backbone": "minilm-l2"}}
    with pytest.raises(UserError, match=r"idfs.x.collections: no collection with documents of its own 'trec-dl19'"):
        load_study({"presets": [], "idfs": idf}, CONFIG)
    assert isinstance(BY_ID.collections["trec-dl20"], SplitOf)


@pytest.mark.parametrize("overlay", ["papers_demo", "papers_paper"])
def test_every_table_of_the_papers_can_be_tested_and_rendered(overlay: str) -> None:
    study = load_study(yaml.safe_load((CONFIG / "overlays" / f"{overlay}.yaml").read_text()), CONFIG)
    for table in study.tables:
        tested = Table(**specs.test_significance(study, table)["table"])
        assert specs.render_table(study, table)["stage_version"] >= 2
        kept = {row.system for row in study.tables[table].rows if row.system}
        assert {row.system for row in tested.rows} - {""} == kept
    if overlay == "papers_paper":
        groups = specs.render_table(study, "inference-free-table-3")["groups"]
        assert groups == {"beir-13": shares(study, "beir-13")}
        keys = edges.closure(study, ["tables/inference-free-table-2"])
        assert "evaluations/ours/seed-0/trec-dl19/lucene" in keys
        assert "indexes/ours/seed-0/msmarco/lucene" in keys
