"""Files of pairs as collections."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sparsemill.data.collection import Source, read_corpus, read_qrels, read_queries, write_collection
from sparsemill.data.pairs import Columns, read_pairs, smallest_ids, text_id
from sparsemill.errors import UserError


def read(path: Path, kind: str = "jsonl", *columns: str | None, **options: Any) -> Source:
    return read_pairs(path, kind=kind, columns=Columns(*columns), split="train", **options)


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def content(source: Source) -> tuple[list[str], list[tuple[str, str]], set[tuple[str, str]]]:
    """Texts of queries, of documents (with titles), and judged pairs of texts."""
    documents = list(source.documents)
    queries = {query.id: query.text for query in source.queries}
    text = {document.id: document.text for document in documents}
    assert list(source.qrels) == ["train"]
    judged = {(queries[qrel.query_id], text[qrel.doc_id]) for qrel in source.qrels["train"]}
    return list(queries.values()), [(document.title, document.text) for document in documents], judged


def test_known_layouts_of_json_lines(tmp_path: Path) -> None:
    rows = [["q1", "a"], {"query": "q2", "pos": ["a", "b"], "other": 1}, {"set": ["q1", "c", "d"]}, ["q2", "q1"]]
    queries, documents, judged = content(read(lines(tmp_path / "x", *rows)))
    assert queries == ["q1", "q2"]
    assert documents == [("", text) for text in ("a", "b", "c", "d", "q1")]
    assert judged == {("q1", "a"), ("q2", "a"), ("q2", "b"), ("q1", "c"), ("q1", "d"), ("q2", "q1")}


def test_a_text_has_one_id_whatever_it_is(tmp_path: Path) -> None:
    source = read(lines(tmp_path / "x", ["q1", "a"], ["q2", "q1"]))
    assert [document.id for document in source.documents] == [text_id("a"), text_id("q1")]
    assert next(source.queries).id == text_id("q1")
    assert text_id("a") == "ca978112ca1bbdcafac2"  # the first digits of sha256("a")


def test_named_keys_and_titles(tmp_path: Path) -> None:
    row = {"id": 1, "ask": "q", "body": "a", "head": "A"}
    assert content(read(lines(tmp_path / "x", row), "jsonl", "ask", "body", "head")) == (
        ["q"],
        [("A", "a")],
        {("q", "a")},
    )


def test_a_title_may_be_missing(tmp_path: Path) -> None:
    rows = [
        {"q": "one", "d": "x", "t": None},
        {"q": "two", "d": ["y", "z"], "t": None},
        {"q": "six", "d": "v", "t": "V"},
    ]
    expected = [("", "x"), ("", "y"), ("", "z"), ("V", "v")]
    assert content(read(lines(tmp_path / "x.jsonl", *rows), "jsonl", "q", "d", "t"))[1] == expected
    flat = [row | {"d": row["d"] if isinstance(row["d"], list) else [row["d"]]} for row in rows]
    pq.write_table(pa.Table.from_pylist(flat), tmp_path / "x.parquet")
    assert content(read(tmp_path / "x.parquet", "parquet", "q", "d", "t"))[1] == expected
    with pytest.raises(UserError, match=r"x\.jsonl:1: no key 'd'; its keys are: q$"):
        read(lines(tmp_path / "x.jsonl", {"q": "one", "d": None}), "jsonl", "q", "d")


def test_tab_separated(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("q\ta\n\nr\tb\r\n")
    assert content(read(tmp_path / "plain", "tsv"))[2] == {("q", "a"), ("r", "b")}
    (tmp_path / "named").write_text("answer\tid\tquestion\na\t1\tq\n")
    assert content(read(tmp_path / "named", "tsv", "question", "answer"))[2] == {("q", "a")}


def test_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"q": ["x", "y"], "d": ["a", "b"], "t": ["A", "B"]}), tmp_path / "p")
    assert content(read(tmp_path / "p", "parquet"))[2] == {("x", "a"), ("y", "b")}
    assert content(read(tmp_path / "p", "parquet", "q", "d", "t"))[1] == [("A", "a"), ("B", "b")]


def test_gzip_and_the_number_of_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b'["q", "a"]\n["r", "b"]\n'))
    assert content(read(path, lines=2))[2] == {("q", "a"), ("r", "b")}
    with pytest.raises(UserError, match="has 2 rows, but `lines` expects 3"):
        read(path, lines=3)
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(UserError, match=r"x\.jsonl\.gz:\d+: broken gzip file"):
        read(path)


@pytest.mark.parametrize("place", [300, 3000, -3])
def test_a_broken_byte_of_a_gzip_file_is_told(tmp_path: Path, place: int) -> None:
    path = tmp_path / "x.jsonl.gz"
    texts = (f'["{number}", "{text_id(str(number))}"]\n' for number in range(1000))
    data = bytearray(gzip.compress("".join(texts).encode()))
    data[place] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"x\.jsonl\.gz:\d+: (broken gzip file|not JSON|not UTF-8)"):
        read_pairs(path, kind="jsonl", columns=Columns(), split="train")


def test_rows_that_pair_nothing_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = read(lines(tmp_path / "x", ["q", " "], ["same", "same"], ["", "a"], ["q", "a"], {"set": ["alone"]}))
    assert content(source) == (["q"], [("", "a")], {("q", "a")})
    assert "4 of 5 rows pair no two different texts" in caplog.text


def test_queries_are_chosen_by_hash_and_documents_stay(tmp_path: Path) -> None:
    rows = [[f"q{number}", f"d{number}"] for number in range(50)]
    queries, documents, judged = content(read(lines(tmp_path / "x", *rows), max_queries=7))
    assert sorted(map(text_id, queries)) == sorted(text_id(query) for query, _ in rows)[:7]
    assert len(documents) == 50
    assert judged == {(query, query.replace("q", "d")) for query in queries}
    assert content(read(lines(tmp_path / "y", *rows[::-1]), max_queries=7))[2] == judged


def test_smallest_ids_by_hand() -> None:
    assert smallest_ids(["e", "b", "d", "a", "c", "b", "a"], 2) == {"a", "b"}
    assert smallest_ids(map(str, range(9, -1, -1)), 3) == {"0", "1", "2"}
    assert smallest_ids(["a"], 5) == {"a"}


@pytest.mark.parametrize(
    ("text", "kind", "columns", "message"),
    [
        ('["q", "a"]\n{broken\n', "jsonl", (), ":2: not JSON: "),
        ('["q", "a", "n"]\n', "jsonl", (), r":1: must be \[query, document\] or an object, not '\[\"q\""),
        ('"q"\n', "jsonl", (), ":1: must be "),
        ('["q", 1]\n', "jsonl", (), ":1: a pair must be a text or a list of texts"),
        ('["q", "a"]\n', "jsonl", ("q",), ":1: must be an object with the keys that are named"),
        ('{"query": "q", "positive": "a"}\n', "jsonl", (), ":1: no key 'pos'; its keys are: positive, query"),
        ('{"query": ["q", "r"], "pos": "a"}\n', "jsonl", (), ":1: there must be one query"),
        ('{"query": "q", "pos": []}\n', "jsonl", (), ":1: 'pos' must be a text or a list of texts"),
        ('{"set": []}\n', "jsonl", (), ":1: 'set' must be"),
        ("q\ta\nr\n", "tsv", (), ":2: has 1 columns, not 2"),
        ("q\ta\nr\n", "tsv", ("q", "a"), ":2: has 1 columns, not 2"),
        ("q\ta\nr\tb\n", "tsv", ("x", "a"), ":2: no key 'x'; its keys are: a, q"),
        ("PAR0", "parquet", (), "not a Parquet file"),
    ],
)
def test_mistakes_are_told_with_file_and_line(
    tmp_path: Path, text: str, kind: str, columns: tuple[str, ...], message: str
) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(UserError, match=message):
        read(tmp_path / "x", kind, *columns)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing: no such file of pairs$"):
        read(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"^nothing: no such file of pairs; relative paths start at `data`"):
        read(Path("nothing"))
    (tmp_path / "x").write_bytes(b'["q", "a"]\n["\xff", "b"]\n')
    with pytest.raises(UserError, match=r"x:\d: not UTF-8"):
        read(tmp_path / "x")


@pytest.mark.parametrize("name", ["evidence-inference", "medquad", "paperlists-ccby"])
def test_real_pairs_become_a_collection(shared: Path, tmp_path: Path, name: str) -> None:
    path = shared / "data" / "pairs" / f"pairs-{name}" / "pairs.jsonl"
    facts = write_collection(tmp_path, *read(path, "jsonl", "query", "positive")[:4])
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    wanted = [row for row in rows if row["positive"].strip() and row["positive"] != row["query"]]
    assert facts["documents"] == len({row["positive"] for row in wanted})
    assert facts["queries"]["train"] == len({row["query"] for row in wanted})
    assert facts["judgements"]["train"] == len({(row["query"], row["positive"]) for row in wanted})
    text = {document.id: document.text for document in read_corpus(tmp_path)}
    asked = {query.id: query.text for query in read_queries(tmp_path)}
    found = {(asked[qrel.query_id], text[qrel.doc_id]) for qrel in read_qrels(tmp_path, split="train")}
    assert found == {(row["query"], row["positive"]) for row in wanted}
