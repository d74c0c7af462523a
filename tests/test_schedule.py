"""The ramp of the regulariser, and the order of the data."""

import pytest

from sparsemill.losses.schedule import ramp
from sparsemill.training.schedule import Record, Schedule

POSITIVES = [[0], [1, 11], [2], [3], [4]]
NEGATIVES = [[20 + 10 * query + number for number in range(6)] for query in range(5)]


def schedule(*, seed: int = 3, records: int = 20, documents: int = 4) -> Schedule:
    return Schedule(POSITIVES, NEGATIVES, records=records, documents_per_query=documents, seed=seed)


def test_quadratic_ramp_by_hand() -> None:
    values = [ramp(step, warmup_steps=4) for step in range(6)]
    assert values == pytest.approx([1 / 16, 4 / 16, 9 / 16, 1, 1, 1])


def test_linear_ramp_by_hand() -> None:
    values = [ramp(step, warmup_steps=4, schedule="linear") for step in range(6)]
    assert values == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_no_warm_up_is_full_weight_from_the_start() -> None:
    assert ramp(0, warmup_steps=0) == ramp(0, warmup_steps=0, schedule="linear") == 1.0


def test_the_same_seed_gives_the_same_records_and_another_seed_others() -> None:
    assert list(schedule()) == list(schedule())
    assert list(schedule()) != list(schedule(seed=4))


def test_every_epoch_is_another_permutation() -> None:
    queries = [record.query for record in schedule()]
    epochs = [queries[start : start + 5] for start in range(0, 20, 5)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_record_is_the_same_alone_as_in_sequence() -> None:
    whole = list(schedule())
    assert [schedule()[position] for position in reversed(range(20))] == whole[::-1]
    backwards = schedule()
    assert [backwards[position] for position in (17, 2, 11)] == [whole[17], whole[2], whole[11]]


def test_documents_are_a_positive_and_distinct_candidates_of_the_query() -> None:
    for record in schedule(records=100):
        positive, *negatives = record.documents
        assert positive in POSITIVES[record.query]
        assert len(set(negatives)) == len(negatives) == 3
        assert set(negatives) <= set(NEGATIVES[record.query])


def test_epochs_draw_other_negatives_and_every_positive_comes_up() -> None:
    records = [record for record in schedule(records=100) if record.query == 1]
    assert len({record.documents for record in records}) > 5
    assert {record.documents[0] for record in records} == {1, 11}


def test_too_few_candidates_are_all_there_equally_often() -> None:
    few = Schedule([[0]], [[7, 8]], records=20, documents_per_query=6, seed=0)
    assert {tuple(sorted(record.documents[1:])) for record in few} == {(7, 7, 7, 8, 8), (7, 7, 8, 8, 8)}


def test_one_document_per_query_is_the_positive() -> None:
    assert schedule(documents=1)[0].documents in {(0,), (1,), (11,), (2,), (3,), (4,)}


def test_a_query_without_candidates_cannot_be_scheduled() -> None:
    with pytest.raises(ValueError, match="query 1 has no negatives"):
        Schedule([[0], [1]], [[5], []], records=4, documents_per_query=3, seed=0)
    alone = Schedule([[0], [1]], [[5], []], records=2, documents_per_query=1, seed=0)
    assert sorted(alone) == [Record(0, (0,)), Record(1, (1,))]


def test_positions_outside_are_refused() -> None:
    assert len(schedule()) == 20
    for position in (-1, 20):
        with pytest.raises(IndexError):
            schedule()[position]
