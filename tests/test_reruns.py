"""The whole graph in Snakemake's hands: what runs again after a change."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from configs import turned
from fake_checkout import REPORTED, edit, made_from, make_checkout, planned, snakemake, study_of

from sparsemill.study import edges, plan


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with fake scripts after the whole demo ran."""
    checkout = make_checkout(tmp_path_factory.mktemp("built") / "checkout")
    (checkout / "told.txt").write_text(snakemake(checkout, "--verbose"))
    return checkout


@pytest.fixture
def checkout(built: Path, tmp_path: Path) -> Path:
    """A copy of the finished checkout elsewhere, to change things in."""
    return Path(shutil.copytree(built, tmp_path / "moved"))


def test_snakemake_looks_for_jobs_no_oftener_than_they_end(built: Path) -> None:
    """Its limit on starts would look again every second for each job so far, with half a core after 200."""
    told = (built / "told.txt").read_text()
    assert 50 < told.count("Resources before job selection") <= told.count("Finished jobid")


def test_a_moved_checkout_has_nothing_to_do(checkout: Path) -> None:
    assert planned(checkout) == {}


def test_the_number_of_processes_trains_nothing_again(checkout: Path) -> None:
    assert planned(checkout, "--set-resources", "finetune:processes=2") == {}


def test_a_device_that_is_not_here_costs_no_result(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that fails has lost its output before, and what is made from it would be trained again."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--config", "device=cuda"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "error: config: device: cuda was asked for, but there is no GPU here" in done.stderr
    assert "Traceback" not in done.stderr
    assert planned(checkout) == {}


def test_reordered_keys_and_floats_run_nothing(checkout: Path) -> None:
    for path in checkout.glob("config/*/*.yaml"):
        path.write_text(yaml.safe_dump(turned(yaml.safe_load(path.read_text())), sort_keys=False))
    assert planned(checkout) == {}


def test_a_measure_evaluates_and_nothing_else(checkout: Path) -> None:
    jobs = planned(checkout, "--config", "measures=[nDCG@10, MRR@10, R@100, AP, Success@5]")
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
    assert marks["assumed"] == study_of(checkout).experiments["doc-distill"].assumed
    assert (checkout / "results/pretrained/pre-idf/seed-0/facts.json").exists()
    edit(checkout / "config/papers/demo.yaml", "  doc-distill:\n", "  doc-distill:\n    assumed: {steps: a guess}\n")
    assert planned(checkout) == {}


def test_other_checkpoints_train_nothing(checkout: Path) -> None:
    steps = study_of(checkout).experiments["doc-distill"].checkpoint_steps
    kept = json.loads((checkout / "results/models/doc-distill/seed-0/facts.json").read_text())
    assert kept["checkpoint_steps"] == steps
    changed = f"  doc-distill:\n    checkpoint_steps: {steps + 1}\n"
    edit(checkout / "config/papers/demo.yaml", "  doc-distill:\n", changed)
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


def test_the_store_is_no_input_of_trainings(checkout: Path) -> None:
    """A checkpoint belongs to its inputs, and would be lost where a store comes or goes."""
    trainings = ["pretrain", "finetune", "train_cross_encoder"]
    told = snakemake(checkout, "--dry-run", "--printshellcmds", "--forcerun", *trainings)
    commands = [line for line in told.splitlines() if any(f"/{stage}.py" in line for stage in trainings)]
    assert commands
    assert not [line for line in commands if "store" in line.lower()]


def test_tables_from_the_store_read_it_each_time(checkout: Path) -> None:
    """What was published since is in no file of the results."""
    from_store = ("--config", "tables_source=mlflow", "--", "tables")
    read = {"tidy": "collect_results", "significance/demo": "test_significance", "tables/demo": "render_table"}
    snakemake(checkout, "--quiet", "all", *from_store)
    assert planned(checkout, *from_store) == read
    snakemake(checkout, "--quiet", "all", "--", "tables")
    assert planned(checkout, "tables") == {}


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


def test_other_weights_in_a_folder_are_loaded_again(checkout: Path) -> None:
    weights = checkout / "here" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_text("before")
    config = "backbones={mine: {weights: {kind: folder, path: here}}}"
    mine = ("--config", config, "--", "results/backbones/mine/manifest.json")
    snakemake(checkout, "--quiet", "all", *mine)
    assert planned(checkout, *mine) == {}
    weights.write_text("after")
    assert planned(checkout, *mine) == {"backbones/mine": "prepare_backbone"}


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
