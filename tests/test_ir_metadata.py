"""The sidecar of a run: valid by ir_metadata's checklists, no part of the artefact, and true."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sparsemill import job
from sparsemill.retrieval.ir_metadata import GOAL, NAME, metadata
from sparsemill.retrieval.runs import Hit, write_run
from sparsemill.study import specs
from sparsemill.study.check import system_names
from sparsemill.study.goal import research_goal
from sparsemill.study.load import load_study

ROOT = Path(__file__).resolve().parent.parent
TEXT, NUMBER, TEXTS = str, int, list
# The checklists of https://www.ir-metadata.org, schema-version 0.1: every key that may stand there, and its type.
CHECKLIST: dict[str, Any] = {
    "schema-version": float,
    "run-version": float,
    "tag": TEXT,
    "platform": {
        "hardware": {
            "cpu": {"model": TEXT, "architecture": TEXT, "operation mode": TEXT, "number of cores": NUMBER},
            "gpu": {"architecture": TEXT, "number of cores": NUMBER, "ram": TEXT},
            "ram": TEXT,
        },
        "operating system": {"kernel": TEXT, "distribution": TEXT},
        "software": {"libraries": {"python": TEXTS, "java": TEXTS}, "retrieval toolkit": TEXTS},
    },
    "research goal": {
        "venue": {"name": TEXT, "year": NUMBER},
        "publication": {"dblp": TEXT, "doi": TEXT, "arxiv": (TEXT, TEXTS), "url": TEXT, "abstract": TEXT},
        "evaluation": {"reported measures": TEXTS, "baseline": TEXTS, "significance test": list},
    },
    "implementation": {
        "executable": {"cmd": TEXT},
        "source": {"lang": TEXTS, "repository": TEXT, "commit": TEXT},
    },
    "method": {"automatic": bool, "score ties": TEXT, "indexing": dict, "retrieval": list},
    "actor": dict.fromkeys(("name", "orcid", "team", "mail", "role", "degree", "github", "twitter"), TEXT)
    | {"fields": TEXTS},
    "data": {
        "test collection": dict.fromkeys(("name", "source", "qrels", "topics", "ir_datasets"), TEXT),
        "training data": list,
        "other": list,
    },
}
PRIMAD = ["platform", "research goal", "implementation", "method", "actor", "data"]


def check(found: Any, allowed: Any, where: str = "") -> None:
    if not isinstance(allowed, dict):
        assert isinstance(found, allowed), where
        return
    assert isinstance(found, dict), where
    assert set(found) <= set(allowed), where
    for key, value in found.items():
        check(value, allowed[key], f"{where}/{key}")


def fuse(tmp_path: Path, out: str) -> dict[str, Any]:
    """Run the command line of fusion in this process; its manifest."""
    place = {"system": "both", "variant": "fixed", "collection": "scifact", "engine": "fusion", "kind": "ensemble"}
    rules = {"split": "test", "depth": 10, "normalisation": "minmax", "weights": None, "teachers": ["a", "b"]}
    spec: dict[str, Any] = {**place, **rules}
    loaded = importlib.util.spec_from_file_location("fuse_runs", ROOT / "workflow" / "scripts" / "fuse_runs.py")
    assert loaded is not None
    assert loaded.loader is not None
    module = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(module)
    runs = [tmp_path / name for name in ("a", "b")]
    for folder in runs:
        folder.mkdir(exist_ok=True)
        write_run(folder / "run.trec", {"q": [Hit("d1", 2.0), Hit("d2", 1.0)]})
    arguments = ["--spec", json.dumps(spec), "--out", str(tmp_path / out), "--in", "runs", *map(str, runs)]
    assert job.main("fuse_runs", module.run, argv=arguments) == 0
    written: dict[str, Any] = json.loads((tmp_path / out / "manifest.json").read_text())
    return written


def test_the_sidecar_is_valid_and_no_part_of_the_artefact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(GOAL, raising=False)
    alone = fuse(tmp_path, "alone")
    goal = {"measures": ["nDCG@10"], "papers": ["2411.04403"], "tests": ["t-test"], "baselines": {"both": ["bm25"]}}
    monkeypatch.setenv(GOAL, json.dumps(goal))
    told = fuse(tmp_path, "told")
    assert alone["content"] == told["content"]
    assert set(told["outputs"]) == {"run.trec", "run.json"}
    text = (tmp_path / "told" / NAME).read_text()
    assert text.startswith("# ir_metadata.start\nschema-version: 0.1\n")
    assert text.endswith("\n# ir_metadata.end\n")
    found = yaml.safe_load(text)
    check(found, CHECKLIST)
    assert list(found) == ["schema-version", "run-version", "tag", *PRIMAD]
    assert found["tag"] == (tmp_path / "told" / "run.trec").read_text().split()[5]
    assert found["implementation"]["source"]["commit"] == told["git_commit"]
    assert found["research goal"]["evaluation"] == {
        "reported measures": ["nDCG@10"],
        "baseline": ["bm25"],
        "significance test": [{"name": "t-test", "correction method": "holm"}],
    }
    assert found["method"]["retrieval"][0]["teachers"] == ["a", "b"]
    check(yaml.safe_load((tmp_path / "alone" / NAME).read_text()), CHECKLIST)


def test_it_names_the_test_collection_and_the_training_data(tmp_path: Path) -> None:
    run = fuse(tmp_path, "out")
    run["spec"] |= {"kind": "experiment", "engine": "lucene", "split": "trec-dl-2019"}
    collection = {"spec": {"kind": "ir_datasets", "id": "msmarco-passage"}}
    model = {"spec": {"training_set": "msmarco-train"}}
    index = {"spec": {"engine": "lucene", "quantisation": 100, "stage_version": 1}}
    found = metadata(run, {"collection": collection, "model": model, "index": index}, {})
    check(found, CHECKLIST)
    assert found["data"]["test collection"]["ir_datasets"] == "https://ir-datasets.com/msmarco-passage#msmarco-passage"
    assert found["data"]["test collection"]["qrels"] == "trec-dl-2019"
    assert found["data"]["training data"] == [{"name": "msmarco-train"}]
    assert found["method"]["indexing"] == {"engine": "lucene", "quantisation": 100}
    assert found["implementation"]["source"]["lang"] == ["python", "java"]


def test_every_kind_of_system_that_searches_has_a_method(tmp_path: Path) -> None:
    study = load_study({"presets": ["demo"]}, ROOT / "config")
    run = fuse(tmp_path, "out")
    kinds = {specs.system_kind(study, system) for system in system_names(study)}
    assert kinds == {"bm25", "dense", "sparse", "experiment", "released", "ensemble"}
    for kind in kinds:
        run["spec"]["kind"] = kind
        assert metadata(run, {}, {})["method"]["retrieval"][0]["method"] != "unknown", kind


def test_the_goal_of_a_study() -> None:
    goal = research_goal(load_study({}, ROOT / "config"))
    assert goal["baselines"]["ours"] == ["bm25", "ours-without-idf"]
    assert goal["tests"] == ["t-test"]
    assert "nDCG@10" in goal["measures"]
