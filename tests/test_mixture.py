"""Several training sets as one: numbering, draws, and targets."""

from typing import Any

import numpy as np
import pytest
from tiny import write_inputs

from sparsemill.training.data import CandidateTargets, SetData, load_data
from sparsemill.training.mixture import (
    Chained,
    MixtureSchedule,
    MixtureTargets,
    Shift,
    draw_sets,
    join_data,
    shifts,
    turns,
)
from sparsemill.training.schedule import Record, Schedule


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Sets of 24 and of 15 queries."""
    return [write_inputs(tmp_path_factory.mktemp("set"), topics=topics) for topics in (24, 15)]


@pytest.fixture(scope="module")
def sets(places: list[dict[str, Any]]) -> list[SetData]:
    return [load_data(place["collection"], place["candidates"]) for place in places]


def test_chained_sequences_by_hand() -> None:
    chained = Chained([[1, 2], [], [3]])
    assert len(chained) == 3
    assert [chained[index] for index in range(3)] == list(chained) == chained[:] == [1, 2, 3]
    for index in (-1, 3):
        with pytest.raises(IndexError):
            chained[index]


def test_a_later_set_is_numbered_after_the_earlier_ones(sets: list[SetData]) -> None:
    joined = join_data(sets)
    assert (len(joined.queries), len(joined.documents), len(joined.rows)) == (39, 39, 39)
    assert joined.rows.tolist() == [*range(24), *range(24, 39)]
    for row in range(15):
        assert joined.queries[24 + row] == sets[1].queries[row]
        assert joined.documents[24 + row] == sets[1].documents[row]
        assert joined.positives[24 + row] == [24 + row]
        assert joined.negatives[24 + row] == [24 + document for document in sets[1].negatives[row]]
    assert joined.negatives[3] == sets[0].negatives[3]


def test_shifts_by_hand(sets: list[SetData]) -> None:
    assert [(place.query, place.document) for place in shifts(sets)] == [(0, 0), (24, 24)]
    place = Shift(10, 100)
    assert place.joined(Record(1, (2, 3))) == Record(11, (102, 103))
    assert place.own(place.joined(Record(1, (2, 3)))) == Record(1, (2, 3))


def test_sets_are_drawn_by_weight_and_by_step_alone() -> None:
    drawn = draw_sets([1, 3, 0], steps=20_000, seed=5)
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    # standard error of a share: 0.003
    assert shares == pytest.approx([0.25, 0.75, 0], abs=0.012)
    assert shares[2] == 0
    assert np.array_equal(draw_sets([1, 3, 0], steps=100, seed=5), drawn[:100])
    assert not np.array_equal(draw_sets([1, 3, 0], steps=100, seed=6), drawn[:100])
    assert np.array_equal(draw_sets([2, 6, 0], steps=100, seed=5), drawn[:100])


def test_turns_by_hand() -> None:
    assert turns(np.array([1, 0, 1, 1, 0, 2])).tolist() == [0, 0, 1, 2, 1, 0]


def test_a_step_goes_on_where_its_set_has_stopped() -> None:
    first = Schedule([[0], [1], [2]], [[5], [6], [7]], records=100, documents_per_query=2, seed=1)
    second = Schedule([[0], [1]], [[8], [9]], records=100, documents_per_query=2, seed=1)
    drawn = np.array([1, 0, 1, 0])
    mixture = MixtureSchedule([first, second], [Shift(0, 0), Shift(3, 10)], drawn=drawn, queries_per_step=2)
    assert len(mixture) == 8
    later = [
        Record(record.query + 3, tuple(d + 10 for d in record.documents))
        for record in map(second.__getitem__, range(4))
    ]
    assert [mixture[position] for position in range(8)] == [
        *later[:2],
        *(first[0], first[1]),
        *later[2:],
        *(first[2], first[3]),
    ]
    assert mixture[2] == first[0]  # in any order
    with pytest.raises(IndexError):
        mixture[8]


def test_targets_are_those_of_the_set(sets: list[SetData], places: list[dict[str, Any]]) -> None:
    targets = [CandidateTargets(part, place["targets"]) for part, place in zip(sets, places, strict=True)]
    mixture = MixtureTargets(targets, shifts(sets))
    own = [Record(3, (3, 4)), Record(1, (1, 2))]
    assert mixture.rows(own).tolist() == targets[0].rows(own).tolist()
    joined = [shifts(sets)[1].joined(record) for record in own]
    assert mixture.rows(joined).tolist() == targets[1].rows(own).tolist()
    with pytest.raises(ValueError, match=r"sets \[0, 1\] in one step"):
        mixture.rows([own[0], joined[1]])
