"""A checkout in Snakemake's hands: the real Snakefile, rules and config; each stage's script writes empty outputs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from sparsemill.study import edges
from sparsemill.study.load import load_study
from sparsemill.study.models import Study

ROOT = Path(__file__).resolve().parent.parent

OUTPUTS = {
    "fetch_collection": ["corpus.parquet", "queries.parquet", "qrels.parquet"],
    "prepare_backbone": ["model.safetensors"],
    "prepare_released": ["tokenizer.json"],
    "count_idf": ["idf.json"],
    "embed_teacher": [],
    "score_teacher": ["scores.parquet"],
    "normalize_scores": ["scores.parquet"],
    "aggregate_scores": ["scores.parquet"],
    "list_scored": ["run.trec"],
    "mine_candidates": ["candidates.parquet"],
    "count_pairs": ["training_pairs.json"],
    "find_false_negatives": ["dropped.npy"],
    "train_cross_encoder": ["metrics.jsonl", "model/model.safetensors"],
    "pretrain": ["metrics.jsonl"],
    "finetune": ["metrics.jsonl"],
    "encode_corpus": ["vectors.npz", "ids.txt"],
    "build_index": [],
    "search": ["run.trec"],
    "search_dense": ["run.trec"],
    "fuse_runs": ["run.trec"],
    "evaluate_run": ["measures.json", "per_query.parquet"],
    "measure_sparsity": ["sparsity.json"],
    "measure_latency": ["latency.json"],
    "measure_index_size": ["index_size.json"],
    "measure_engine_time": ["engine_time.json"],
    "measure_serving": ["serving.json"],
    "collect_results": ["results.parquet", "results.csv"],
    "test_significance": ["significance.json"],
    "render_table": ["table.md", "table.csv", "table.tex", "table.html"],
    "plot_figure": ["figure.png", "figure.svg"],
    "check_expected": ["verdicts.json"],
    "collection_page": ["collection.html"],
    "sweep_page": ["parallel.html"],
    "report_pages": ["front.rst", "costs.html", "provenance.html"],
    "explain_queries": ["explain.html"],
    "mlflow_init": [],
    "publish": ["receipts.json"],
    "verify_tracking": ["equality.json"],
}

FAKE = """
import argparse, json, pathlib, shutil, sys

parser = argparse.ArgumentParser()
parser.add_argument("--in", dest="inputs", action="append", nargs="+", default=[])
for name in ("spec", "out", "key", "log", "threads"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--facts")
given = parser.parse_args()
out = pathlib.Path(given.out)
places = [pathlib.Path(path) for name, *paths in given.inputs for path in paths if name != "files"]
missing = [place for place in places if not (place / "manifest.json").exists()]
if missing or "stage_version" not in json.loads(given.spec) or not given.out.endswith(given.key):
    sys.exit(f"{given.key}: missing {missing}, or a bad spec {given.spec} or folder {given.out}")
shutil.rmtree(out, ignore_errors=True)
out.mkdir(parents=True)
if given.facts is not None:
    (out / "facts.json").write_text(given.facts)
for name in ["manifest.json", *OUTPUTS[pathlib.Path(sys.argv[0]).stem]]:
    (out / name).touch()
"""

REPORTED = {
    *("collect_results", "test_significance", "render_table", "plot_figure", "check_expected", "publish"),
    *("verify_tracking", "collection_page", "report_pages", "explain_queries"),
}
"""Stages that any new number of the demo passes through."""


def snakemake(checkout: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--workflow-profile", "none", *arguments]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def planned(checkout: Path, *arguments: str) -> dict[str, str]:
    """Key -> rule of everything that a dry run would make."""
    told = snakemake(checkout, "--dry-run", *arguments)
    jobs = re.findall(r"^rule (\w+):\n(?:    input: .*\n)?    output: results/(\S+)/manifest\.json", told, re.MULTILINE)
    assert jobs or "Nothing to be done" in told
    return {key: rule for rule, key in jobs}


def study_of(checkout: Path, overlay: Path | None = None) -> Study:
    config = yaml.safe_load((checkout / "config" / "config.yaml").read_text())
    return load_study(config | (yaml.safe_load(overlay.read_text()) if overlay else {}), checkout / "config")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {path.name}"
    path.write_text(text.replace(old, new))


def made_from(study: Study, changed: set[str]) -> set[str]:
    """The keys, and all that are made from them."""
    found = set(changed)
    for key in edges.closure(study, ["verified"]):
        if any(parent in found for parents in edges.upstream(study, key).values() for parent in parents):
            found.add(key)
    return found


def make_checkout(checkout: Path) -> Path:
    """Fill a folder with a checkout whose scripts are fake."""
    for folder in ("src", "config", "envs", "profiles", "workflow/rules", "workflow/report"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", checkout)
    for stage in OUTPUTS:
        script = checkout / "workflow" / "scripts" / f"{stage}.py"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"OUTPUTS = {OUTPUTS!r}\n{FAKE}")
    return checkout
