"""What a step gets: token ids, targets, and who is a negative."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tokenizer

from sparsemill.data.candidates import Candidate, write_candidates
from sparsemill.data.collection import Document, Query, read_queries, write_collection
from sparsemill.models.encoder import build_encoder, query_weights
from sparsemill.training.collator import Collator, excluded_negatives
from sparsemill.training.data import CandidateTargets, load_data
from sparsemill.training.schedule import Record

POSITIVES = [[10, 11], [20], [30]]
NONE: list[list[int]] = [[], [], []]
RECORDS = [Record(0, (11, 5, 20)), Record(1, (20, 6, 11)), Record(2, (30, 20, 30))]


def test_excluded_negatives_of_own_documents_by_hand() -> None:
    own, excluded = excluded_negatives(RECORDS, POSITIVES, NONE, in_batch="none")
    assert own.tolist() == [0, 0, 0]
    # the third query drew its positive a second time
    assert excluded.tolist() == [[False, False, False], [False, False, False], [False, False, True]]


def test_excluded_negatives_of_the_whole_step_by_hand() -> None:
    own, excluded = excluded_negatives(RECORDS, POSITIVES, NONE, in_batch="documents")
    assert own.tolist() == [0, 3, 6]
    # columns: 11 5 20 | 20 6 11 | 30 20 30
    assert excluded.astype(int).tolist() == [
        [0, 0, 0, 0, 0, 1, 0, 0, 0],
        [0, 0, 1, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 1],
    ]


def test_excluded_negatives_of_own_documents_and_other_positives_by_hand() -> None:
    own, excluded = excluded_negatives(RECORDS, POSITIVES, NONE, in_batch="positives")
    assert own.tolist() == [0, 0, 0]
    # columns: the query's three, then 11 20 30, of which one is its own positive again
    assert excluded.astype(int).tolist() == [[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 0], [0, 0, 1, 0, 0, 1]]


def test_excluded_negatives_of_own_documents_and_other_negatives_by_hand() -> None:
    own, excluded = excluded_negatives(RECORDS, POSITIVES, NONE, in_batch="negatives")
    assert own.tolist() == [0, 0, 0]
    # columns: the query's three, then 6 11 20 30 | 5 20 20 30 | 5 20 6 11, of which some are a positive of its own
    assert excluded.astype(int).tolist() == [[0, 0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 1, 0], [0, 0, 1, 0, 0, 0, 0]]


def test_another_positive_of_the_same_query_is_no_negative() -> None:
    records = [Record(0, (10, 5)), Record(0, (11, 6))]
    _, excluded = excluded_negatives(records, POSITIVES, NONE, in_batch="positives")
    assert excluded.astype(int).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]


def test_what_was_left_out_does_not_come_back_with_another_query() -> None:
    left_out = [[20, 6], [], [11]]
    _, excluded = excluded_negatives(RECORDS, POSITIVES, left_out, in_batch="documents")
    # columns: 11 5 20 | 20 6 11 | 30 20 30
    assert excluded.astype(int).tolist() == [
        [0, 0, 1, 1, 1, 1, 0, 1, 0],
        [0, 0, 1, 0, 0, 0, 0, 1, 0],
        [1, 0, 0, 0, 0, 1, 0, 0, 1],
    ]


def test_a_positive_is_never_excluded_from_its_own_row() -> None:
    for in_batch in ("none", "documents", "positives", "negatives"):
        own, excluded = excluded_negatives(RECORDS, POSITIVES, NONE, in_batch=in_batch)
        assert not excluded[np.arange(3), own].any()


class Rows:
    """Targets that say which row and column they are."""

    def rows(self, records: Sequence[Record]) -> Any:
        return np.arange(len(records) * 2, dtype=np.float32).reshape(len(records), 2)


def test_batch_has_texts_query_by_query(inputs: dict[str, Any]) -> None:
    start = inputs["start"]
    encoder = build_encoder(start, query_weights(start, None), query_length=8, document_length=12)
    data = load_data(inputs["collection"], inputs["candidates"])
    collator = Collator(data, Rows(), encoder.preprocess, in_batch="none")
    batch = collator([Record(7, (7, 8)), Record(1, (1, 6)), Record(2, (2, 3))])
    pieces = tokenizer()
    queries = [pieces.decode(row, skip_special_tokens=True) for row in batch["query_input_ids"]]
    assert queries == [data.queries[row] for row in (7, 1, 2)]
    documents = [pieces.decode(row, skip_special_tokens=True).split() for row in batch["documents_input_ids"]]
    # [CLS] and [SEP] count
    assert documents == [data.documents[row].split()[:10] for row in (7, 8, 1, 6, 2, 3)]
    assert batch["query_input_ids"].shape[0] == batch["query_attention_mask"].shape[0] == 3
    assert batch["documents_input_ids"].shape == batch["documents_attention_mask"].shape == (6, 12)
    assert (batch["query_task"], batch["documents_task"]) == ("query", "document")


def test_labels_are_tensors_of_the_rows(inputs: dict[str, Any]) -> None:
    start = inputs["start"]
    encoder = build_encoder(start, query_weights(start, None), query_length=8, document_length=12)
    data = load_data(inputs["collection"], inputs["candidates"])
    records = [Record(7, (7, 8)), Record(8, (8, 9))]
    labels = Collator(data, Rows(), encoder.preprocess, in_batch="documents")(records)["label"]
    assert labels["targets"].tolist() == [[0, 1], [2, 3]]
    assert labels["positives"].tolist() == [0, 2]
    assert labels["positives"].dtype == torch.int64
    assert labels["excluded"].tolist() == [[False] * 4, [False, True, False, False]]
    assert "targets" not in Collator(data, None, encoder.preprocess, in_batch="documents")(records)["label"]


def test_data_is_read_by_index(inputs: dict[str, Any]) -> None:
    data = load_data(inputs["collection"], inputs["candidates"])
    assert data.queries[5] == read_queries(inputs["collection"])[5].text
    assert data.rows.tolist() == list(range(24))
    assert list(data.positives) == [[row] for row in range(24)]
    assert data.negatives[20] == [21, 22, 1, 5, 9]
    assert data.documents[0].startswith("bal bal ")
    assert CandidateTargets(data, inputs["targets"]).rows([Record(20, (20, 22))]).shape == (1, 2)


def test_queries_without_negatives_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    documents = [Document(f"d{row}", "", "bal") for row in range(4)]
    write_collection(tmp_path, documents, [Query(f"q{row}", "bal") for row in range(4)], {"train": []})
    positive, negative = Candidate("d0", 1, 1.0, True), Candidate("d3", 2, 0.5, False)
    write_candidates(tmp_path, {"q2": [positive, negative], "q0": [positive], "q3": [positive, negative]})
    data = load_data(tmp_path, tmp_path)
    assert data.rows.tolist() == [2, 3]
    assert list(data.negatives) == [[3], [3]]
    assert "1 of 3 queries have no negatives and are left out" in caplog.text
    caplog.clear()
    assert load_data(tmp_path, tmp_path, negatives=False).rows.tolist() == [2, 0, 3]
    assert not caplog.text
