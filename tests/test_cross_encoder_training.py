"""A cross-encoder is trained, repeats exactly, goes on where it was stopped, and becomes a teacher."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from test_pair_teachers import save_classifier
from tiny import texts, write_inputs
from trained import timeless

from sparsemill.data.candidates import Candidate, write_candidates
from sparsemill.data.collection import Document, Qrel, Query, write_collection
from sparsemill.errors import UserError
from sparsemill.losses.pairs import pair_loss
from sparsemill.models import attention as attention_module
from sparsemill.study.models import CrossEncoderTeacher, CrossEncoderTraining
from sparsemill.teachers.cross_encoder import CrossEncoder
from sparsemill.tracking.points import record_points
from sparsemill.training import cross_encoder as cross_encoder_module
from sparsemill.training import pair_trainer
from sparsemill.training.cross_encoder import train_cross_encoder
from sparsemill.training.pair_trainer import LossRecorder, pair_arguments


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("inputs")
    found = write_inputs(root)
    save_classifier(root / "model", 1)
    return found["collection"], found["candidates"], root / "model"


def recipe(folder: Path, **changes: Any) -> CrossEncoderTraining:
    settings = {
        "weights": {"kind": "folder", "path": str(folder)},
        "layers": 1,
        "training_set": "invented",
        "steps": 6,
        "queries_per_step": 4,
        "documents_per_query": 3,
        "max_length": 24,
        "learning_rate": 1e-3,
        "checkpoint_steps": 2,
        "log_steps": 4,
    }
    return CrossEncoderTraining.model_validate(settings | changes)


def run(
    inputs: Any, folder: Path, *, state: Path | None = None, false_negatives: Path | None = None, **changes: Any
) -> dict[str, Any]:
    collection, candidates, model = inputs
    out, state = folder / "out", state or folder / "state"
    out.mkdir(parents=True)
    state.mkdir(exist_ok=True)
    return train_cross_encoder(
        recipe(model, **changes),
        collection=collection,
        candidates=candidates,
        out=out,
        state=state,
        device="cpu",
        label="test",
        stream=lambda _: None,
        false_negatives=false_negatives,
    )


def weights(folder: Path) -> bytes:
    return (folder / "out" / "model" / "model.safetensors").read_bytes()


def records(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("loss", ["binary", "listwise"])
def test_losses_by_hand(loss: str) -> None:
    scores = torch.tensor([[2.0, -1.0], [0.0, 1.0]])
    rows = scores.tolist()
    if loss == "binary":
        each = [np.log1p(np.exp(-row[0])) for row in rows] + [np.log1p(np.exp(row[1])) for row in rows]
    else:
        each = [np.log1p(np.exp(row[1] - row[0])) for row in rows]
    assert pair_loss(scores, loss=loss).item() == pytest.approx(np.mean(each), abs=1e-6)


def test_it_learns_and_scores(inputs: Any, tmp_path: Path) -> None:
    """Here positives are told by a word of their own, which one layer learns in a few steps."""
    documents = [Document(f"d{row}", "", ("bal " if row < 12 else "") + text) for row, text in enumerate(texts())]
    queries = [Query(f"q{row}", "kim") for row in range(12)]
    mined = {
        f"q{row}": [Candidate(f"d{other}", 1, 1.0, other == row) for other in (row, 14, 16, 20)] for row in range(12)
    }
    for name in ("collection", "candidates"):
        (tmp_path / name).mkdir()
    write_collection(
        tmp_path / "collection", documents, queries, {"train": [Qrel(f"q{r}", f"d{r}", 1) for r in range(12)]}
    )
    write_candidates(tmp_path / "candidates", mined)
    easy = tmp_path / "collection", tmp_path / "candidates", inputs[2]
    facts = run(easy, tmp_path, steps=40, loss="listwise", learning_rate=3e-3, checkpoint_steps=100, log_steps=10)
    losses = [record["loss"] for record in records(tmp_path)]
    points = [point for record in records(tmp_path) for point in record_points(record)]
    assert [point.step for point in points if point.name == "loss"] == [10, 20, 30, 40]
    assert losses[-1] < 0.5 * losses[0]
    assert facts["last_loss"] == losses[-1]
    spec = CrossEncoderTeacher(kind="cross_encoder", trained="small", max_length=24)
    teacher = CrossEncoder(spec, trained=tmp_path / "out", device="cpu")
    assert teacher.model.config.num_hidden_layers == 1
    scores = teacher.score(["kim"] * 6, [documents[row].contents for row in (0, 5, 11, 14, 16, 20)])
    assert scores[:3].min() > scores[3:].max()


def test_same_seed_same_bytes(inputs: Any, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(inputs, tmp_path / name, seed=seed)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert timeless(records(tmp_path / "a")) == timeless(records(tmp_path / "b"))
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def test_false_negatives_are_left_out(inputs: Any, tmp_path: Path) -> None:
    positive = pq.read_table(inputs[1] / "candidates.parquet")["positive"].to_numpy()
    for name, dropped in (("none", np.zeros_like(positive)), ("some", ~positive & (np.arange(len(positive)) % 3 > 0))):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "dropped.npy", dropped)
        run(inputs, tmp_path / name, false_negatives=tmp_path / name)
    run(inputs, tmp_path / "unmarked")
    assert weights(tmp_path / "none") == weights(tmp_path / "unmarked") != weights(tmp_path / "some")


def test_attention_changes_nothing_and_is_not_saved(
    inputs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, computed = [], attention_module.attention

    def counted(*arguments: Any, **options: Any) -> torch.Tensor:
        calls.append(1)
        return computed(*arguments, **options)

    monkeypatch.setattr(attention_module, "attention", counted)
    run(inputs, tmp_path / "ours")
    assert calls
    assert attention_module.NAME not in (tmp_path / "ours" / "out" / "model" / "config.json").read_text()
    calls.clear()
    monkeypatch.setattr(cross_encoder_module, "use_lean_attention", lambda model, lean: None)
    run(inputs, tmp_path / "theirs")
    assert not calls
    assert weights(tmp_path / "ours") == weights(tmp_path / "theirs")


def test_a_stopped_run_goes_on(inputs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(inputs, tmp_path / "whole")
    step_end = LossRecorder.on_step_end

    def killed(self: LossRecorder, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step_end(self, args, state, control, **kwargs)
        if state.global_step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LossRecorder, "on_step_end", killed)
        with pytest.raises(KeyboardInterrupt):
            run(inputs, tmp_path / "first", state=tmp_path / "state")
    facts = run(inputs, tmp_path / "second", state=tmp_path / "state")
    assert facts["resumed_at_step"] == 4
    assert weights(tmp_path / "second") == weights(tmp_path / "whole")
    assert timeless(records(tmp_path / "second")) == timeless(records(tmp_path / "whole"))


def test_a_run_that_was_killed_after_its_last_step_goes_on(inputs: Any, tmp_path: Path) -> None:
    """Nothing is left to train; the facts are those of the first time."""
    first = run(inputs, tmp_path / "first", state=tmp_path / "state")
    again = run(inputs, tmp_path / "again", state=tmp_path / "state")
    assert again == first | {"resumed_at_step": 6}
    assert weights(tmp_path / "again") == weights(tmp_path / "first")


def test_a_gradient_that_is_not_finite_spoils_no_parameter(
    inputs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is that of the last step, whose loss is finite."""
    steps = iter(range(1, 7))

    def broken(scores: torch.Tensor, *, loss: str) -> torch.Tensor:
        found = pair_loss(scores, loss=loss)
        return found + torch.sqrt(0 * scores.sum()) if next(steps) == 6 else found

    monkeypatch.setattr(pair_trainer, "pair_loss", broken)
    with pytest.raises(UserError, match=r"^step 6: the gradient is not finite \(gradient_norm is nan\)"):
        run(inputs, tmp_path)
    assert not (tmp_path / "out" / "model").exists()


def test_of_several_gpus_a_process_uses_one(inputs: Any, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run(inputs, tmp_path / "one")
    request.getfixturevalue("two_gpus")
    run(inputs, tmp_path / "two")
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    assert pair_arguments(recipe(inputs[2]), state=tmp_path, device="cpu").n_gpu == 2


def test_mistakes(inputs: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"24 queries are fewer than queries_per_step \(25\)"):
        run(inputs, tmp_path / "a", queries_per_step=25)
    with pytest.raises(UserError, match="has 2 layers, `layers: 3` asked for"):
        run(inputs, tmp_path / "b", layers=3)
    with pytest.raises(UserError, match=r"step \d: the (loss|gradient) is not finite .*lower learning_rate"):
        run(inputs, tmp_path / "c", learning_rate=1e38, warmup_steps=0, steps=3)
