"""A run's sidecar in the schema of ir_metadata (https://www.ir-metadata.org, schema-version 0.1).

It says what the manifest of the run and those of its inputs know, by PRIMAD: platform, research goal, implementation,
method, actor, data. It is no part of the artefact: commit and machine would give equal runs unequal contents.
"""

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sparsemill.files import write_text

NAME = "run.ir_metadata.yaml"
GOAL = "SPARSEMILL_GOAL"
"""Environment variable with JSON of `sparsemill.study.goal.research_goal`, so that it is no setting of any stage."""
TAG = "sparsemill"
_PARAMETERS = ("k1", "b", "depth", "query_length", "normalisation", "weights", "teachers")
_METHODS = {
    "bm25": "org.apache.lucene.search.similarities.BM25Similarity",
    "experiment": "dot product of sparse vectors",
    "released": "dot product of sparse vectors",
    "sparse": "dot product of sparse vectors, exhaustive",
    "dense": "dot product of embeddings, exhaustive",
    "ensemble": "weighted sum of normalised scores",
}
Manifest = Mapping[str, Any]


def write_sidecar(folder: Path, run: Manifest, inputs: Mapping[str, Manifest]) -> None:
    """Write the sidecar of the run in `folder`; with `# ` before its lines it is the header that the schema describes.

    Args:
        folder: holds `run.trec`.
        run: its manifest.
        inputs: name -> manifest of what the run was made from.
    """
    goal = json.loads(os.environ.get(GOAL, "{}"))
    text = yaml.safe_dump(metadata(run, inputs, goal), sort_keys=False, allow_unicode=True)
    write_text(folder / NAME, f"# ir_metadata.start\n{text}# ir_metadata.end\n")


def metadata(run: Manifest, inputs: Mapping[str, Manifest], goal: Mapping[str, Any]) -> dict[str, Any]:
    """The sidecar's content; what nobody knows is left out.

    Args:
        run: manifest of the run.
        inputs: name -> manifest of what it was made from; `collection`, `model` and `index` are read.
        goal: see `sparsemill.study.goal.research_goal`.
    """
    spec = run["spec"]
    return {
        "schema-version": 0.1,
        "run-version": 1.0,
        "tag": TAG,
        "platform": _platform(run),
        "research goal": _goal(spec.get("system", ""), goal),
        "implementation": {
            "executable": {"cmd": f"snakemake results/{run['key']}/manifest.json"},
            "source": {"lang": _languages(spec["engine"]), "commit": run["git_commit"]},
        },
        "method": _method(spec, inputs),
        "actor": {"role": "experimenter"},
        "data": _data(spec, inputs),
    }


def _languages(engine: str) -> list[str]:
    return ["python", "java"] if engine in ("lucene", "bm25") else ["python"]


def _platform(run: Manifest) -> dict[str, Any]:
    versions = run["versions"]
    libraries = [f"{name}=={version}" for name, version in versions.items()]
    toolkit = [f"pyserini=={versions['pyserini']}"] if "pyserini" in versions else []
    found = {"software": {"libraries": {"python": libraries}, "retrieval toolkit": toolkit}}
    if run["host"] != platform.node():
        return found
    cpu = {
        "model": platform.processor() or platform.machine(),
        "architecture": platform.machine(),
        "operation mode": platform.architecture()[0].replace("bit", "-bit"),
        "number of cores": os.cpu_count(),
    }
    return {
        "hardware": {"cpu": cpu},
        "operating system": {"kernel": f"{platform.system()} {platform.release()}"},
        **found,
    }


def _goal(system: str, goal: Mapping[str, Any]) -> dict[str, Any]:
    tests = [{"name": test, "correction method": "holm"} for test in goal.get("tests", [])]
    evaluation = {
        "reported measures": goal.get("measures", []),
        "baseline": goal.get("baselines", {}).get(system, []),
        "significance test": tests,
    }
    papers = [f"https://arxiv.org/abs/{paper}" for paper in goal.get("papers", [])]
    publication = {"publication": {"arxiv": papers[0] if len(papers) == 1 else papers}} if papers else {}
    return {**publication, "evaluation": {name: value for name, value in evaluation.items() if value}}


def _method(spec: Mapping[str, Any], inputs: Mapping[str, Manifest]) -> dict[str, Any]:
    parameters = {name: spec[name] for name in _PARAMETERS if name in spec}
    stage = {
        "name": spec.get("system", spec["engine"]),
        "method": _METHODS.get(spec.get("kind", ""), "unknown"),
        "engine": spec["engine"],
    }
    index = inputs.get("index", {}).get("spec", {})
    return {
        "automatic": True,
        "score ties": "lowered by single float32 steps, in the engine's order",
        "indexing": {name: value for name, value in index.items() if name != "stage_version"},
        "retrieval": [{**stage, **parameters}],
    }


def _data(spec: Mapping[str, Any], inputs: Mapping[str, Manifest]) -> dict[str, Any]:
    source = inputs.get("collection", {}).get("spec", {})
    tested = {"name": spec["collection"], "qrels": spec["split"], "topics": spec["split"]}
    if source.get("kind") == "ir_datasets":
        tested["ir_datasets"] = f"https://ir-datasets.com/{source['id'].split('/')[0]}#{source['id']}"
    trained = inputs.get("model", {}).get("spec", {}).get("training_set")
    return {"test collection": tested, "training data": [{"name": trained}] if trained else []}
