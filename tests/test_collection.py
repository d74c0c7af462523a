"""Collections as Parquet: what is written is read, and bad input is refused in one line."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sparsemill.data.checks import check_counts, check_relevant, check_split
from sparsemill.data.collection import (
    ROW_GROUP,
    Document,
    Qrel,
    Query,
    document_count,
    read_corpus,
    read_qrels,
    read_queries,
    write_collection,
)
from sparsemill.errors import UserError

SCRIPT = Path(__file__).parents[1] / "workflow" / "scripts" / "fetch_collection.py"

DOCUMENTS = [Document("d1", "Title", "text"), Document("d2", "", "no title"), Document("d3", "only title", "")]
QUERIES = [Query("q2", "second"), Query("q1", "first"), Query("q3", "unjudged")]
QRELS = {"test": [Qrel("q1", "d2", 2), Qrel("q1", "d1", 0)], "dev": [Qrel("q2", "d3", 1)]}


def test_contents_joins_title_and_text() -> None:
    assert [document.contents for document in DOCUMENTS] == ["Title text", "no title", "only title"]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    facts = write_collection(tmp_path, iter(DOCUMENTS), iter(QUERIES), QRELS)
    assert facts == {
        "documents": 3,
        "empty_documents": 0,
        "splits": ["dev", "test"],
        "queries": {"dev": 1, "test": 1},
        "judgements": {"dev": 1, "test": 2},
        "repeated_judgements": 0,
    }
    assert list(read_corpus(tmp_path)) == DOCUMENTS
    assert document_count(tmp_path) == 3
    assert read_queries(tmp_path) == QUERIES
    assert read_queries(tmp_path, split="dev") == [Query("q2", "second")]
    assert read_qrels(tmp_path, split="test") == QRELS["test"]


@pytest.mark.parametrize(
    "identifier", ["a b", " padded ", "a/b\\c", 'it\'s "quoted"', "Zürich-日本-🙂", "50%", "-", "None"]
)
def test_odd_ids_survive(tmp_path: Path, identifier: str) -> None:
    write_collection(
        tmp_path, [Document(identifier, "", "x")], [Query(identifier, "y")], {"test": [Qrel(identifier, identifier, 1)]}
    )
    assert next(read_corpus(tmp_path)).id == identifier
    assert read_queries(tmp_path, split="test") == [Query(identifier, "y")]
    assert read_qrels(tmp_path, split="test") == [Qrel(identifier, identifier, 1)]


def test_row_groups_are_bounded_and_order_is_kept(tmp_path: Path) -> None:
    count = 2 * ROW_GROUP + 5
    write_collection(tmp_path, (Document(f"d{n}", "", str(n)) for n in range(count)), [], {})
    footer = pq.read_metadata(tmp_path / "corpus.parquet")
    assert [footer.row_group(n).num_rows for n in range(footer.num_row_groups)] == [ROW_GROUP, ROW_GROUP, 5]
    assert [document.text for document in read_corpus(tmp_path)] == [str(n) for n in range(count)]
    assert read_queries(tmp_path) == []


def test_reading_starts_before_the_corpus_is_read(tmp_path: Path) -> None:
    write_collection(tmp_path, (Document(f"d{n}", "", "x") for n in range(2 * ROW_GROUP)), [], {})
    documents = read_corpus(tmp_path)
    assert next(documents).id == "d0"
    documents.close()  # type: ignore[attr-defined]  # a generator: the rest stays unread


def test_empty_documents_are_kept_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        facts = write_collection(tmp_path, [Document("d1", "", " "), Document("d2", "", "x")], [], {})
    assert facts["empty_documents"] == 1
    assert "1 of 2 documents" in caplog.text
    assert document_count(tmp_path) == 2


def test_repeated_judgement_is_kept_once(tmp_path: Path) -> None:
    facts = write_collection(tmp_path, DOCUMENTS, QUERIES, {"test": [Qrel("q1", "d1", 1)] * 3})
    assert (facts["judgements"], facts["repeated_judgements"]) == ({"test": 1}, 2)
    assert read_qrels(tmp_path, split="test") == [Qrel("q1", "d1", 1)]


BAD = [
    ([], [], {}, "no documents"),
    ([Document("", "", "x")], [], {}, "document number 1: document id is empty"),
    ([Document("a", "", ""), Document("a", "", "")], [], {}, "document number 2: document id 'a' is there twice"),
    ([Document("a\nb", "", "")], [], {}, "document number 1: document id 'a\\nb'"),
    ([Document("a\u2028b", "", "")], [], {}, "control character"),
    ([Document("a", "", "\ud800")], [], {}, "not valid Unicode"),
    (DOCUMENTS, [Query("q\t1", "x")], {}, "query number 1: query id 'q\\t1'"),
    (DOCUMENTS, [Query("q", "x"), Query("q", "y")], {}, "query id 'q' is there twice"),
    (DOCUMENTS, QUERIES, {"test": [Qrel("q1", "d9", 1)]}, "'test' name 1 unknown documents: 'd9'"),
    (
        DOCUMENTS,
        QUERIES,
        {"dev": [Qrel(f"x{n}", "d1", 1) for n in range(5)]},
        "'dev' name 5 unknown queries: 'x0', 'x1', 'x2', ...",
    ),
    (DOCUMENTS, QUERIES, {"test": [Qrel("q1", "d1", 1), Qrel("q1", "d1", 2)]}, "'d1' is judged 1 and 2"),
    (DOCUMENTS, QUERIES, {"test": [Qrel("q1", "d1", 5_000_000_000)]}, "'d1': judgement 5000000000 is not from -10"),
]


@pytest.mark.parametrize(("documents", "queries", "qrels", "message"), BAD, ids=[case[3] for case in BAD])
def test_bad_input_is_refused_in_one_line(
    tmp_path: Path, documents: list[Document], queries: list[Query], qrels: dict[str, list[Qrel]], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        write_collection(tmp_path, documents, queries, qrels)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_split_names_the_others(tmp_path: Path) -> None:
    write_collection(tmp_path, DOCUMENTS, QUERIES, QRELS)
    with pytest.raises(UserError, match=r"no split 'train'; its splits are: dev, test$"):
        read_queries(tmp_path, split="train")
    with pytest.raises(UserError, match=r"its splits are: \(none\)$"):
        check_split("here", "test", [])


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"corpus\.parquet: no such file"):
        next(read_corpus(tmp_path))


def test_counts_are_checked(tmp_path: Path) -> None:
    facts = write_collection(tmp_path, DOCUMENTS, QUERIES, QRELS)
    check_counts(facts, split="test", expected={"documents": 3, "queries": 1, "judgements": 2})
    with pytest.raises(UserError, match=r"has 2 judgements in split 'test', but its `counts` expect 7$"):
        check_counts(facts, split="test", expected={"judgements": 7})
    with pytest.raises(UserError, match=r"has 3 documents, but its `counts` expect 4$"):
        check_counts(facts, split="test", expected={"documents": 4})


def test_queries_without_a_relevant_document_are_told(caplog: pytest.LogCaptureFixture) -> None:
    judged = [Qrel("q1", "d1", 0), Qrel("q2", "d1", 0), Qrel("q2", "d2", 1), Qrel("q3", "d1", -2)]
    check_relevant([Qrel("q2", "d1", 0), Qrel("q2", "d2", 1)], split="test")
    check_relevant([], split="test")
    assert not caplog.records
    check_relevant(judged, split="test")
    check_relevant(judged, split="test", relevance=2)
    start = "qrels of split 'test': "
    assert caplog.messages == [
        f"{start}2 of 3 queries have no relevant document (judged 1 or more) and count 0: q1, q3",
        f"{start}3 of 3 queries have no relevant document (judged 2 or more) and count 0 but in nDCG: q1, q2, q3",
    ]
    with pytest.raises(UserError, match=r"^qrels of split 'test': no judgement is above 0, so that no query has a"):
        check_relevant(judged[:2], split="test")


def test_command_line_reads_a_folder_and_checks_its_counts(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "qrels").mkdir(parents=True)
    (source / "corpus.jsonl").write_text('{"_id": "d 1", "title": "t", "text": "x"}\n')
    (source / "queries.jsonl").write_text('{"_id": "q", "text": "y"}\n')
    (source / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td 1\t1\n")

    def fetch(documents: int) -> subprocess.CompletedProcess[str]:
        spec = {"kind": "beir_folder", "path": str(source), "split": "test", "counts": {"documents": documents}}
        command = [sys.executable, str(SCRIPT), "--spec", json.dumps(spec), "--out", str(tmp_path / "out")]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    failed = fetch(2)
    assert failed.returncode == 2
    assert (
        failed.stderr.splitlines()[1]
        == "fetch_collection: error: the collection has 1 documents, but its `counts` expect 2"
    )
    assert not (tmp_path / "out").exists()
    assert fetch(1).returncode == 0
    assert list(read_corpus(tmp_path / "out")) == [Document("d 1", "t", "x")]
    facts = json.loads((tmp_path / "out" / "manifest.json").read_text())["facts"]
    assert (facts["documents"], facts["queries"]) == (1, {"test": 1})
