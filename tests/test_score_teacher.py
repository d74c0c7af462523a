"""The stage score_teacher, whole, with each kind of teacher that scores candidates only."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from score_tables import read_scores
from test_pair_teachers import save_classifier
from tiny import write_inputs

from sparsemill import device
from sparsemill.data.collection import read_corpus, read_queries
from sparsemill.job import main
from sparsemill.study.models import CrossEncoderTeacher
from sparsemill.teachers.cross_encoder import CrossEncoder
from sparsemill.teachers.pair_model import TextScorer

SCRIPT = Path(__file__).resolve().parent.parent / "workflow" / "scripts" / "score_teacher.py"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_inputs(tmp_path_factory.mktemp("inputs"))


def score(inputs: dict[str, Any], out: Path, scorer: dict[str, Any], *more: str, shards: int = 1) -> int:
    """Every shard; the exit status of the last."""
    located = importlib.util.spec_from_file_location("score_teacher", SCRIPT)
    assert located is not None
    assert located.loader is not None
    module = importlib.util.module_from_spec(located)
    located.loader.exec_module(module)
    status = 0
    for shard in range(shards):
        spec = {"teacher": "x", "scorer": scorer, "device": "cpu", "shard": shard, "shards": shards, "stage_version": 1}
        arguments = ["--spec", json.dumps(spec), "--out", str(out / str(shard)), *more]
        for name in ("collection", "candidates"):
            arguments += ["--in", name, str(inputs[name])]
        status = main("score_teacher", module.run, argv=arguments)
    return status


def interrupted_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Blocks are of 20 pairs, and the third one is interrupted; gets the sizes of blocks as they are scored."""
    whole, blocks = TextScorer.score, list[int]()

    def counted(self: TextScorer, queries: Any, documents: Any) -> Any:
        blocks.append(len(queries))
        if len(blocks) == 3:
            raise KeyboardInterrupt
        return whole(self, queries, documents)

    monkeypatch.setattr(TextScorer, "BLOCK", 20)
    monkeypatch.setattr(TextScorer, "score", counted)
    return blocks


def test_a_trained_cross_encoder(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that was stopped goes on after its finished blocks."""
    save_classifier(tmp_path / "trained" / "model", 1)
    scorer = {"kind": "cross_encoder", "trained": "small", "max_length": 24}
    model = ("--in", "model", str(tmp_path / "trained"))
    blocks = interrupted_once(monkeypatch)
    assert score(inputs, tmp_path / "out", scorer, *model) == 130
    assert "interrupted; run the same command again to go on" in capsys.readouterr().err
    assert score(inputs, tmp_path / "out", scorer, *model) == 0
    assert "144/144" in capsys.readouterr().err.splitlines()[-1]
    assert blocks == [20, 20, 20, *[20] * 5, 4]  # 144 pairs; two blocks were finished
    monkeypatch.setattr(TextScorer, "BLOCK", 1000)
    assert score(inputs, tmp_path / "other", scorer, *model) == 0
    again, at_once = (read_scores([tmp_path / name / "0"])[1] for name in ("out", "other"))
    assert np.allclose(again, at_once, atol=1e-5)


def test_scores_are_those_of_one_model(inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that change while a run is stopped leave none of its blocks."""
    folder = tmp_path / "model"
    save_classifier(folder, 1)
    scorer = {"kind": "cross_encoder", "weights": {"kind": "folder", "path": str(folder)}, "max_length": 24}
    files = ("--in", "files", str(folder / "model.safetensors"))
    blocks = interrupted_once(monkeypatch)
    assert score(inputs, tmp_path / "out", scorer, *files) == 130
    weights = load_file(folder / "model.safetensors")
    save_file({name: weight * 2 for name, weight in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    assert score(inputs, tmp_path / "out", scorer, *files) == 0
    assert blocks[3:] == [*[20] * 7, 4]


def test_scores_are_those_of_one_precision(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is stopped on a machine that multiplies bfloat16 leaves no block to one that does not."""
    save_classifier(tmp_path / "model", 1)
    weights = {"kind": "folder", "path": str(tmp_path / "model")}
    scorer = {"kind": "cross_encoder", "weights": weights, "max_length": 24, "precision": "auto"}
    blocks = interrupted_once(monkeypatch)
    for fast, status in ((True, 130), (False, 0)):
        chosen = "bf16" if fast else "fp32"
        monkeypatch.setattr(device, "choose_precision", lambda *_, chosen=chosen, **__: chosen)
        assert score(inputs, tmp_path / "out", scorer) == status
    assert blocks[3:] == [*[20] * 7, 4]


def test_scores_are_those_of_the_texts(inputs: dict[str, Any], tmp_path: Path) -> None:
    save_classifier(tmp_path / "model", 1)
    scorer = {"kind": "cross_encoder", "weights": {"kind": "folder", "path": str(tmp_path / "model")}, "max_length": 24}
    assert score(inputs, tmp_path / "out", scorer, shards=2) == 0
    pairs, found = read_scores([tmp_path / "out" / str(shard) for shard in range(2)])
    queries = {query.id: query.text for query in read_queries(inputs["collection"])}
    documents = {document.id: document.contents for document in read_corpus(inputs["collection"])}
    teacher = CrossEncoder(CrossEncoderTeacher.model_validate(scorer), device="cpu")
    texts = [queries[one] for one in pairs.queries], [documents[one] for one in pairs.documents]
    assert len(found) == 24 * 6
    assert np.allclose(found, teacher.score(*texts), atol=1e-5)
    assert not (tmp_path / "out" / "0.state").exists()


def test_a_file_of_scores(inputs: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"query_id": f"q{q}", "doc_id": f"d{d}", "score": q - d / 8} for d in range(24) for q in range(24)]
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    scorer = {"kind": "scores", "path": str(tmp_path / "scores.jsonl"), "layout": "pairs"}
    assert score(inputs, tmp_path / "out", scorer) == 0
    pairs, found = read_scores([tmp_path / "out" / "0"])
    assert found.tolist() == [int(q[1:]) - int(d[1:]) / 8 for q, d in zip(*pairs, strict=True)]
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:100]))
    assert score(inputs, tmp_path / "out", scorer) == 2
    assert "holds no score for" in capsys.readouterr().err
