"""The whole graph in Snakemake's hands: what would run, and what runs again after a change.

The real Snakefile, rules and config are used; each stage's script is replaced by one that writes empty outputs.
"""

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from sparsemill.study import edges, plan
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
given_folders = [pathlib.Path(path) for _, *paths in given.inputs for path in paths]
missing = [folder for folder in given_folders if not (folder / "manifest.json").exists()]
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


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with fake scripts."""
    checkout = tmp_path_factory.mktemp("fresh") / "checkout"
    for folder in ("src", "config", "envs", "profiles", "workflow/rules", "workflow/report"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", checkout)
    for stage in OUTPUTS:
        script = checkout / "workflow" / "scripts" / f"{stage}.py"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"OUTPUTS = {OUTPUTS!r}\n{FAKE}")
    return checkout


@pytest.fixture(scope="module")
def built(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after the whole demo ran."""
    checkout = tmp_path_factory.mktemp("built") / "checkout"
    shutil.copytree(fresh, checkout)
    snakemake(checkout, "--quiet", "all")
    return checkout


@pytest.fixture
def checkout(built: Path, tmp_path: Path) -> Path:
    """A copy of the finished checkout elsewhere, to change things in."""
    return Path(shutil.copytree(built, tmp_path / "moved"))


def test_every_stage_has_a_fake_and_a_script() -> None:
    assert sorted(OUTPUTS) == sorted(path.stem for path in (ROOT / "workflow" / "scripts").glob("*.py"))


def test_the_demo_makes_its_closure_and_nothing_else(fresh: Path) -> None:
    jobs = planned(fresh)
    study = study_of(fresh)
    assert set(jobs) == set(edges.closure(study, [*plan.results(study), "verified"]))
    counts = Counter(jobs.values())
    assert counts["fetch_collection"] == 2
    assert counts["prepare_backbone"] == counts["count_idf"] == counts["mine_candidates"] == 1
    assert counts["embed_teacher"] == 4  # two teachers on two collections
    assert (counts["pretrain"], counts["finetune"], counts["encode_corpus"]) == (2, 4, 4)
    assert counts["build_index"] == 2 + 4 * 2  # BM25 on two collections; four models in two engines
    assert (counts["search"], counts["search_dense"], counts["fuse_runs"]) == (1 + 4 * 2, 1, 1)
    assert counts["evaluate_run"] == 11
    assert counts["measure_latency"] == counts["measure_sparsity"] == 5


def test_targets_by_name(fresh: Path) -> None:
    assert set(planned(fresh, "tables").values()) >= {"render_table", "finetune"}
    assert "publish" not in planned(fresh, "figures").values()


def test_a_moved_checkout_has_nothing_to_do(checkout: Path) -> None:
    assert planned(checkout) == {}


def test_the_profile_for_several_gpus_starts_trainings_with_torchrun(fresh: Path) -> None:
    profile = ("--workflow-profile", "profiles/multi-gpu", "--quiet", "host")
    told = snakemake(fresh, "--dry-run", "--printshellcmds", *profile)
    started = re.findall(r"Shell command: (.*) \S*/(\w+)\.py --in start", told)
    assert len(started) == 6
    assert {command for command, _ in started} == {"python -m torch.distributed.run --standalone --nproc_per_node 8 --"}
    assert {script for _, script in started} == {"pretrain", "finetune"}


def test_the_number_of_processes_trains_nothing_again(checkout: Path) -> None:
    assert planned(checkout, "--set-resources", "finetune:processes=2") == {}


def turned(value: object) -> object:
    """The same config with reversed keys, and every integer written as a float."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [turned(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def test_reordered_keys_and_floats_run_nothing(checkout: Path) -> None:
    for path in checkout.glob("config/*/*.yaml"):
        path.write_text(yaml.safe_dump(turned(yaml.safe_load(path.read_text())), sort_keys=False))
    assert planned(checkout) == {}


def test_a_measure_evaluates_and_nothing_else(checkout: Path) -> None:
    jobs = planned(checkout, "--config", "measures=[nDCG@10, MRR@10, R@100, R@1000, AP, Success@5]")
    evaluated = set(plan.evaluations(study_of(checkout)))
    assert set(jobs.values()) == {"evaluate_run"} | REPORTED
    assert {key for key, rule in jobs.items() if rule == "evaluate_run"} == evaluated
    assert set(jobs) == made_from(study_of(checkout), evaluated)


def test_a_caption_renders_and_nothing_else(checkout: Path) -> None:
    edit(checkout / "config/papers/demo.yaml", "label: BM25}", "label: Okapi}")
    assert planned(checkout, "tables") == {"tables/demo": "render_table"}
    edit(checkout / "config/papers/demo.yaml", "Effectiveness against FLOPS on pydocs.", "Better.")
    assert set(planned(checkout, "figures").values()) == {"plot_figure"}


def test_a_training_key_trains_that_experiment(checkout: Path) -> None:
    edit(
        checkout / "config/papers/demo.yaml",
        "  doc-distill:\n",
        "  doc-distill:\n    regulariser: {lambda_d: 7.0e-3}\n",
    )
    jobs = planned(checkout)
    trained = {"models/doc-distill/seed-0"}
    assert set(jobs) == made_from(study_of(checkout), trained)
    assert [key for key, rule in jobs.items() if rule in ("finetune", "pretrain")] == list(trained)
    upstream = {"fetch_collection", "prepare_backbone", "score_teacher", "mine_candidates", "mlflow_init", "count_idf"}
    assert not upstream & set(jobs.values())


def test_marks_reach_the_trainings_and_their_evidence_trains_nothing(checkout: Path) -> None:
    marks = json.loads((checkout / "results/models/doc-distill/seed-0/facts.json").read_text())
    assert marks == {"assumed": study_of(checkout).experiments["doc-distill"].assumed}
    assert (checkout / "results/pretrained/pre-idf/seed-0/facts.json").exists()
    edit(checkout / "config/papers/demo.yaml", "  doc-distill:\n", "  doc-distill:\n    assumed: {steps: a guess}\n")
    assert planned(checkout) == {}


def test_a_length_encodes_and_trains_nothing(checkout: Path) -> None:
    edit(checkout / "config/papers/demo.yaml", "  doc-distill:\n", "  doc-distill:\n    encode_length: 64\n")
    jobs = planned(checkout)
    assert set(jobs) == made_from(study_of(checkout), {"vectors/doc-distill/seed-0/pydocs/shard-0"})
    assert not {"finetune", "pretrain"} & set(jobs.values())


def test_a_new_store_trains_nothing(checkout: Path) -> None:
    mirrored = {"mlflow_init", "publish", "verify_tracking"}
    assert set(planned(checkout, "--forcerun", "mlflow_init").values()) == mirrored
    for folder in ("store", "published", "verified"):
        shutil.rmtree(checkout / "results" / folder)
    assert set(planned(checkout).values()) == mirrored
    assert set(planned(checkout, "--config", "tracking={live: false}").values()) == mirrored


ABLATION = """
experiments:
  unscheduled: {extends: ours, regulariser: {lambda_d: 2e-3, warmup_steps: 0}}
tables:
  ablation:
    caption: One thing changed.
    rows: [{system: ours}, {system: unscheduled, compare: [ours]}]
    columns: [{measure: nDCG@10, collection: pydocs}]
"""


def test_an_ablation_shares_everything_upstream(checkout: Path) -> None:
    overlay = checkout / "ablation.yaml"
    overlay.write_text(ABLATION)
    before = set(edges.closure(study_of(checkout), ["verified"]))
    after = study_of(checkout, overlay)
    jobs = planned(checkout, "--configfile", "ablation.yaml")
    run = {f"runs/unscheduled/seed-0/pydocs/{engine}" for engine in ("lucene", "exact")}
    own = run | {
        "models/unscheduled/seed-0",
        "vectors/unscheduled/seed-0/pydocs/shard-0",
        *(key.replace("runs/", "indexes/") for key in run),
        *(key.replace("runs/", "evaluations/") for key in run),
        "sparsity/unscheduled/seed-0/pydocs",
        "significance/ablation",
        "tables/ablation",
    }
    # A tidy frame with one more system feeds the demo's table and figures too.
    again = {
        "tidy",
        "tables/demo",
        "figures/effectiveness-flops",
        "figures/effectiveness-tokens",
        "collection_pages/pydocs",
        "pages",
        "expected",
        "published",
        "verified",
    }
    assert set(jobs) == own | again
    assert set(edges.closure(after, ["verified"])) - before == own
    snakemake(checkout, "--quiet", "all", "--configfile", "ablation.yaml")
    assert planned(checkout, "--configfile", "ablation.yaml") == {}
    # Without the overlay the frame is gathered again, and nothing is measured or trained.
    assert set(planned(checkout).values()) <= REPORTED


def test_an_inline_sweep_trains_its_members_only(checkout: Path) -> None:
    sweep = "{base: ours, grid: {regulariser.lambda_d: [1e-4, 0.002]}, collection: pydocs}"
    jobs = planned(checkout, "--config", f"sweep={sweep}")
    trained = {key for key, rule in jobs.items() if rule == "finetune"}
    assert trained == {"models/ours--lambda_d-0.0001/seed-0", "models/ours--lambda_d-0.002/seed-0"}
    shown = {"tables/sweep-ours", "figures/sweep-ours", "figures/sweep-ours-lambda_d", "sweeps/ours"}
    assert shown <= jobs.keys()
    assert not {"pretrain", "score_teacher", "mine_candidates", "measure_latency"} & set(jobs.values())


@pytest.mark.parametrize("overlay", sorted(path.name for path in (ROOT / "config" / "overlays").glob("*.yaml")))
def test_overlays_plan(fresh: Path, overlay: str) -> None:
    told = snakemake(fresh, "--dry-run", "--quiet", "rules", "--configfile", f"config/overlays/{overlay}")
    assert "render_table" in told


UNPINNED = """
backbones: {mine: {weights: {kind: hub, id: some/where}}}
experiments: {x: {extends: doc-distill, start: mine}}
tables: {t: {caption: "", rows: [{system: x}], columns: [{measure: AP, collection: pydocs}]}}
"""


def test_weights_that_nobody_pinned_stop_a_run_at_once(checkout: Path) -> None:
    (checkout / "mine.yaml").write_text(UNPINNED)
    assert planned(checkout, "--configfile", "mine.yaml")["backbones/mine"] == "prepare_backbone"
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "mine.yaml"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert "--config 'revisions={some/where: COMMIT}'" in told
    assert "Traceback" not in told
    assert not (checkout / "results/backbones/mine").exists()
    pinned = f"revisions={{some/where: {'0' * 40}}}"
    snakemake(checkout, "--quiet", "all", "--configfile", "mine.yaml", "--config", pinned)


def test_a_mistake_is_told_in_one_line(fresh: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "-n", "--config", "experimnts={}"]
    done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "config: experimnts: unknown key; did you mean 'experiments'?" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_lint_and_format() -> None:
    linted = subprocess.run(
        [sys.executable, "-m", "snakemake", "--lint"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr
    command = [str(Path(sys.executable).with_name("snakefmt")), "--check", "Snakefile", "workflow/rules"]
    formatted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert formatted.returncode == 0, formatted.stderr


def test_a_retriever_mines_for_another(fresh: Path, tmp_path: Path) -> None:
    """SelfDistil: the edge from a trained model to candidates, in Snakemake's hands; false negatives are marked."""
    overlay = tmp_path / "self.yaml"
    mined = {"extends": "pydocs", "miners": ["doc-distill", "minilm"], "false_negatives": {"teacher": "minilm"}}
    table = {"caption": "", "rows": [{"system": "x"}], "columns": [{"measure": "AP", "collection": "pydocs"}]}
    experiments = {"x": {"extends": "doc-distill", "training_set": "mined"}}
    overlay.write_text(
        yaml.safe_dump({"training_sets": {"mined": mined}, "experiments": experiments, "tables": {"self": table}})
    )
    jobs = planned(fresh, "--configfile", str(overlay))
    assert jobs["mining/mined/doc-distill"] == "search_training"
    assert jobs["mining/mined/minilm"] == "search_training_dense"
    assert jobs["indexes/doc-distill/seed-0/pydocs-train/exact"] == "build_index"
    assert jobs["false_negatives/mined"] == "find_false_negatives"
    assert jobs["models/x/seed-0"] == "finetune"
