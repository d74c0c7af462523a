"""Scores of candidate lists become targets, in files and in the rows of a step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from score_tables import Pairs, read_scores, write_scores

from sparsemill.ensemble.aggregate import aggregate
from sparsemill.ensemble.normalise import METHODS, normalise
from sparsemill.ensemble.targets import normalise_lists, query_spans, write_normalised, write_targets
from sparsemill.errors import UserError
from sparsemill.study.models import Ensemble
from sparsemill.teachers import score
from sparsemill.teachers.cache import EmbeddingCache, load_embeddings
from sparsemill.training.data import CandidateTargets, InBatchTargets, load_data
from sparsemill.training.schedule import Record

PAIRS = Pairs(["a", "a", "a", "b", "c", "c"], ["1", "2", "3", "1", "2", "3"])
SCORES = np.array([1, 3, 2, 7, 5, 5], dtype=np.float32)


def folder(path: Path, pairs: Pairs, scores: Any) -> Path:
    path.mkdir()
    write_scores(path / "scores.parquet", pairs, np.asarray(scores, dtype=np.float32))
    return path


def test_spans_of_equal_queries() -> None:
    assert list(query_spans(PAIRS.queries)) == [slice(0, 3), slice(3, 4), slice(4, 6)]
    assert list(query_spans([])) == []


def test_each_list_is_normalised_by_itself() -> None:
    assert normalise_lists(PAIRS.queries, SCORES, method="minmax").tolist() == [0, 1, 0.5, 0, 0, 0]


def test_normalised_file_joins_the_shards(tmp_path: Path) -> None:
    first = folder(tmp_path / "0", Pairs(["a", "a", "a"], ["1", "2", "3"]), SCORES[:3])
    second = folder(tmp_path / "1", Pairs(["b", "c", "c"], ["1", "2", "3"]), SCORES[3:])
    (tmp_path / "out").mkdir()
    assert write_normalised([first, second], tmp_path / "out", method="minmax") == 6
    pairs, scores = read_scores([tmp_path / "out"])
    assert pairs == PAIRS
    assert scores.tolist() == [0, 1, 0.5, 0, 0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_named(tmp_path: Path, bad: float) -> None:
    source = folder(tmp_path / "0", PAIRS, [1, 2, bad, 4, 5, 6])
    with pytest.raises(UserError, match="score of a and 3 is not finite"):
        write_normalised([source], tmp_path, method="minmax")


def test_targets_by_hand(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", PAIRS, [0, 1, 0.5, 0, 0, 1])
    two = folder(tmp_path / "two", PAIRS, [1, 1, 0, 0, 1, 0])
    out = tmp_path / "out"
    out.mkdir()
    assert write_targets([one, two], out, weights=None, scale=30) == 6
    assert read_scores([out])[1].tolist() == pytest.approx([15, 30, 7.5, 0, 15, 15])
    write_targets([one, two], out, weights=[1.0, 0.0], scale=2)
    assert read_scores([out])[1].tolist() == pytest.approx([0, 2, 1, 0, 0, 2])


def test_targets_in_the_range_of_a_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From shards of raw scores, query by query, however the files are cut."""
    one = folder(tmp_path / "one", PAIRS, [0, 1, 0.5, 0, 0, 1])
    raw = [folder(tmp_path / "0", Pairs(*(part[:4] for part in PAIRS)), SCORES[:4])]
    raw.append(folder(tmp_path / "1", Pairs(*(part[4:] for part in PAIRS)), [2, 8]))
    (tmp_path / "out").mkdir()
    for group in (1, 2, 100):
        monkeypatch.setattr(score, "ROW_GROUP", group)
        assert write_targets([one], tmp_path / "out", weights=None, scale=1, reference=raw) == 6
        assert read_scores([tmp_path / "out"])[1].tolist() == pytest.approx([1, 3, 2, 7, 2, 8])
    other = folder(tmp_path / "2", Pairs(["c", "c"], ["3", "2"]), [1, 2])
    with pytest.raises(UserError, match=r"0: scores other pairs than .*one"):
        write_targets([one], tmp_path / "out", weights=None, scale=1, reference=[raw[0], other])


@pytest.mark.parametrize(
    "other",
    [
        Pairs(["a", "a", "a", "b", "c", "c"], ["1", "2", "3", "1", "3", "2"]),
        Pairs(["a", "a", "a", "b", "c"], ["1", "2", "3", "1", "2"]),
        Pairs(["a", "a", "a", "b", "d", "d"], ["1", "2", "3", "1", "2", "3"]),
    ],
)
def test_teachers_that_scored_other_pairs_are_refused(tmp_path: Path, other: Pairs) -> None:
    one = folder(tmp_path / "one", PAIRS, SCORES)
    two = folder(tmp_path / "two", other, SCORES[: len(other.queries)])
    with pytest.raises(UserError, match=r"two: scores other pairs than .*one"):
        write_targets([one, two], tmp_path, weights=None, scale=1)


def test_candidate_targets_are_the_files(inputs: dict[str, Any]) -> None:
    data = load_data(inputs["collection"], inputs["candidates"])
    pairs, scores = read_scores([inputs["targets"]])
    known = dict(zip(zip(pairs.queries, pairs.documents, strict=True), scores, strict=True))
    rows = CandidateTargets(data, inputs["targets"]).rows([Record(3, (3, 5, 8)), Record(0, (0, 9, 1))])
    assert rows.dtype == np.float32
    assert rows.tolist() == [[known["q3", f"d{d}"] for d in (3, 5, 8)], [known["q0", f"d{d}"] for d in (0, 9, 1)]]


@pytest.mark.parametrize("method", sorted(METHODS))
def test_rows_of_a_step_equal_lists_of_the_same_documents(inputs: dict[str, Any], method: str) -> None:
    """The rule on files and the rows of training are one function of (query, documents)."""
    data = load_data(inputs["collection"], inputs["candidates"])
    caches = [load_embeddings(folders) for folders in inputs["embeddings"]]
    ensemble = Ensemble.model_validate(
        {"teachers": ["one", "two"], "normalisation": method, "weights": [0.7, 0.3], "scale": 20}
    )
    records = [Record(4, (4, 6, 9)), Record(11, (11, 12, 0)), Record(2, (2, 3, 4))]
    found = InBatchTargets(data, caches, ensemble).rows(records)
    assert found.shape == (3, 9)
    columns = [document for record in records for document in record.documents]
    queries = [record.query for record in records for _ in columns]
    lists = [normalise_lists(queries, cache.pairs(queries, columns * 3), method=method) for cache in caches]
    expected = aggregate(lists, weights=[0.7, 0.3], scale=20)
    assert np.allclose(found.ravel(), expected, atol=1e-4)


def test_rows_of_a_step_by_hand(inputs: dict[str, Any]) -> None:
    data = load_data(inputs["collection"], inputs["candidates"])
    (cache,) = (load_embeddings(folders) for folders in inputs["embeddings"][:1])
    ensemble = Ensemble(teachers=["one"], scale=10)
    found = InBatchTargets(data, [cache], ensemble).rows([Record(1, (1, 2)), Record(5, (5, 7))])
    queries, documents = np.asarray(cache.queries), np.asarray(cache.documents)
    expected = 10 * normalise(queries[[1, 5]] @ documents[[1, 2, 5, 7]].T, "minmax")
    assert np.allclose(found, expected, atol=1e-5)
    assert found.min(1).tolist() == [0, 0]
    assert found.max(1).tolist() == [10, 10]


def test_a_score_that_is_not_finite_is_told(inputs: dict[str, Any]) -> None:
    data = load_data(inputs["collection"], inputs["candidates"])
    (cache,) = (load_embeddings(folders) for folders in inputs["embeddings"][:1])
    spoilt = np.array(cache.documents)
    spoilt[7] = np.nan
    targets = InBatchTargets(data, [EmbeddingCache(cache.queries, spoilt)], Ensemble(teachers=["one"], scale=10))
    assert np.isfinite(targets.rows([Record(1, (1, 2))])).all()
    with pytest.raises(UserError, match="teacher one: its embeddings give a score that is not finite"):
        targets.rows([Record(1, (1, 2)), Record(5, (5, 7))])
