"""The whole graph in Snakemake's hands: what would run."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from fake_checkout import OUTPUTS, ROOT, make_checkout, planned, snakemake, study_of

from sparsemill.study import edges, plan
from sparsemill.study.gpu import sees_gpu


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with fake scripts."""
    return make_checkout(tmp_path_factory.mktemp("fresh") / "checkout")


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


def test_a_study_without_verdicts_prints_those_of_no_other(fresh: Path) -> None:
    column = {"measure": "nDCG@10", "collection": "pydocs"}
    table = {"caption": "Mine", "rows": [{"system": "bm25"}], "columns": [column]}
    overlay = fresh / "mine.yaml"
    overlay.write_text(yaml.safe_dump({"presets": [], "tables": {"mine": table}}))
    assert "expected" not in plan.results(study_of(fresh, overlay))
    told = snakemake(fresh, "--dry-run", "--printshellcmds", "verify", "--configfile", str(overlay))
    assert "sparsemill.verify results --none-due" in told


@pytest.mark.parametrize(
    ("target", "scale", "message"),
    [
        ("paper_splade_pp", "papr", "config: scale: no scale 'papr'; did you mean 'paper'?"),
        ("tables_demo", "paper", "tables_demo is of scale demo, not paper; leave `scale` out, or name"),
    ],
)
def test_a_target_of_another_scale_is_told_in_one_line(fresh: Path, target: str, scale: str, message: str) -> None:
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1", target, "--config", f"scale={scale}"]
    done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {message}")
    assert "Traceback" not in done.stderr


def test_the_profile_for_several_gpus_starts_trainings_with_torchrun(fresh: Path) -> None:
    profile = ("--workflow-profile", "profiles/multi-gpu", "--quiet", "host")
    told = snakemake(fresh, "--dry-run", "--printshellcmds", *profile)
    started = Counter(re.findall(r"Shell command: (.*) \S*/(\w+)\.py --in start", told))
    torchrun = "python -m torch.distributed.run --standalone --nproc_per_node"
    # A step of the demo's fine-tuning has four queries.
    assert started == {(f"{torchrun} 8 --", "pretrain"): 2, (f"{torchrun} 4 --", "finetune"): 4}
    assert told.count("mem_mb=48000") == 6


def test_jobs_that_tokenise_for_a_gpu_ask_for_several_cores(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One core tokenises more slowly than a GPU encodes; without a GPU every job takes one, and several run at once."""

    def cores() -> dict[str, set[str]]:
        told = snakemake(fresh, "--dry-run", "--printshellcmds", "--cores", "16")
        found: dict[str, set[str]] = {}
        for script, count in re.findall(r"/(\w+)\.py --in .* --threads (\d+)", told):
            found.setdefault(script, set()).add(count)
        return found

    if not sees_gpu():
        assert cores()["encode_corpus"] == {"1"}
    fake = tmp_path / "nvidia-smi"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = cores()
    assert found["encode_corpus"] == found["embed_teacher"] == {"8"}
    assert found["evaluate_run"] == {"1"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert cores()["encode_corpus"] == {"1"}


@pytest.mark.parametrize("overlay", sorted(path.name for path in (ROOT / "config" / "overlays").glob("*.yaml")))
def test_overlays_plan(fresh: Path, overlay: str) -> None:
    overlays = ("--configfile", f"config/overlays/{overlay}")
    told = snakemake(fresh, "--dry-run", "--printshellcmds", "--quiet", "host", *overlays)
    assert "render_table" in told
    # As `bash` gets them: one argument, of which Linux takes 128 KiB.
    commands = re.findall(r"Shell command: (.*)", told)
    assert len(commands) > 5
    assert max(map(len, commands)) < 100_000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--config", "experimnts={}"), "config: experimnts: unknown key; did you mean 'experiments'?"),
        (("--configfile", "twice.yaml"), "twice.yaml:3: 'mine' is there already, in line 2; keep one of them"),
        (("--configfile", "one.yaml", "other.yaml"), "other.yaml: experiments.mine is another entry in "),
        (("--configfile", "wrong.yaml", "right.yaml"), "config: expected.measure: no measure 'MAX'"),
    ],
)
def test_a_mistake_is_told_in_one_line(fresh: Path, options: tuple[str, ...], message: str) -> None:
    (fresh / "one.yaml").write_text("experiments: {mine: {extends: ours, steps: 3}, alike: {extends: ours}}\n")
    (fresh / "other.yaml").write_text("experiments: {mine: {extends: doc-distill}, alike: {extends: ours}}\n")
    (fresh / "twice.yaml").write_text("experiments:\n  mine: {extends: ours, steps: 3}\n  mine: {extends: ours}\n")
    value = {"system": "ours", "collection": "pydocs", "measure": "MAX", "value": 1, "tolerance": 1, "source": "here"}
    (fresh / "wrong.yaml").write_text(yaml.safe_dump({"expected": [value]}))
    (fresh / "right.yaml").write_text(yaml.safe_dump({"expected": [value | {"measure": "AP"}]}))
    command = [sys.executable, "-m", "snakemake", "-n", *options]
    done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_make_says_what_it_would_do(tmp_path: Path) -> None:
    """In a fresh clone too, although `$(MAKE)` runs under `-n` as well."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    make = shutil.which("make")
    assert make is not None
    done = subprocess.run([make, "-n", "demo"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--report results/report.html" in done.stdout


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
