"""False negatives, and tables that must agree row by row."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from score_tables import Pairs, write_scores

from sparsemill.data import alignment
from sparsemill.data.alignment import query_offsets, same_pairs
from sparsemill.data.candidates import Candidate, write_candidates
from sparsemill.data.false_negatives import false_negatives

SCRIPT = Path(__file__).parents[1] / "workflow" / "scripts" / "find_false_negatives.py"
SCORES = np.array([3, 5, 1, 4.5, 4, 2, 2, 1], dtype=np.float32)
POSITIVE = np.array([1, 0, 1, 0, 0, 1, 0, 0], dtype=bool)
OFFSETS = np.array([0, 5, 8])


@pytest.mark.parametrize(
    ("margin", "dropped"), [(0, [1, 3, 4]), (-1.5, [1]), (-2, []), (0.5, [1, 3, 4, 6]), (10, [1, 3, 4, 6, 7])]
)
def test_false_negatives_by_hand(margin: float, dropped: list[int]) -> None:
    """Best positives: 3 and 2; a score that equals the limit stays."""
    found = false_negatives(SCORES, POSITIVE, OFFSETS, margin=margin)
    assert np.flatnonzero(found).tolist() == dropped


def test_false_negatives_against_a_loop() -> None:
    generator = np.random.default_rng(0)
    scores = generator.normal(size=60).astype(np.float32)
    positive = generator.random(60) < 0.2
    offsets = np.array([0, 7, 8, 30, 60])
    positive[offsets[:-1]] = True
    expected = []
    for start, end in pairwise(offsets.tolist()):
        best = max(score for score, judged in zip(scores[start:end], positive[start:end], strict=True) if judged)
        expected += [
            not judged and score > best - 0.25
            for score, judged in zip(scores[start:end], positive[start:end], strict=True)
        ]
    assert false_negatives(scores, positive, offsets, margin=0.25).tolist() == expected


MINED = {
    "q1": [Candidate(name, rank, 0.0, name == "a") for rank, name in enumerate("abcde", start=1)],
    "q0": [Candidate(name, rank, 0.0, name == "c") for rank, name in enumerate("abc", start=1)],
}
ROWS = [(query, candidate.doc_id) for query, found in MINED.items() for candidate in found]


def scored(folder: Path, rows: list[tuple[str, str]], scores: list[float]) -> Path:
    folder.mkdir()
    pairs = Pairs([query for query, _ in rows], [document for _, document in rows])
    write_scores(folder / "scores.parquet", pairs, np.array(scores, dtype=np.float32))
    return folder / "scores.parquet"


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_rows_are_compared_over_blocks_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(alignment, "BLOCK", block)
    write_candidates(tmp_path, MINED)
    file = tmp_path / "candidates.parquet"
    assert query_offsets(file).tolist() == [0, 5, 8]
    parts = [scored(tmp_path / "0", ROWS[:3], [0] * 3), scored(tmp_path / "1", ROWS[3:], [0] * 5)]
    assert same_pairs([file], parts)
    assert same_pairs(parts, [file])
    assert not same_pairs([file], parts[::-1])
    assert not same_pairs([file], parts[:1])
    assert not same_pairs([file], [parts[0], scored(tmp_path / "2", [*ROWS[3:7], ("q0", "d")], [0] * 5)])


def _run(folder: Path, shards: list[Path]) -> subprocess.CompletedProcess[str]:
    spec = {"teacher": "t", "margin": 0.5, "stage_version": 1}
    given = ["--in", "candidates", str(folder), "--in", "scores", *(str(shard.parent) for shard in shards)]
    command = [sys.executable, str(SCRIPT), "--spec", json.dumps(spec), *given, "--out", str(folder / "out")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_command_line(tmp_path: Path) -> None:
    write_candidates(tmp_path, MINED)
    # best positives: 3 and 1
    shards = [scored(tmp_path / "0", ROWS[:5], [3, 5, 1, 2.5, 2.6]), scored(tmp_path / "1", ROWS[5:], [2, 0, 1])]
    result = _run(tmp_path, shards)
    assert result.returncode == 0, result.stderr
    dropped = np.load(tmp_path / "out" / "dropped.npy")
    assert dropped.dtype == bool
    assert np.flatnonzero(dropped).tolist() == [1, 4, 5]
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["facts"] == {"candidates": 8, "dropped": 3}
    result = _run(tmp_path, shards[::-1])
    assert result.returncode == 2
    assert "scores other pairs than" in result.stderr
