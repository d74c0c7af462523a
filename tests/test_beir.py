"""BEIR-style folders and ir_datasets give the same collection; broken files are named with their line."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sparsemill.data.beir import read_beir
from sparsemill.data.collection import Document, Qrel, Query, write_collection
from sparsemill.errors import UserError

SCRIPT = Path(__file__).parents[1] / "workflow" / "scripts" / "fetch_collection.py"
FILES = {
    "corpus.jsonl": '{"_id": "d1", "title": "T", "text": "x", "metadata": {}}\n\n{"_id": "d2", "text": "y"}\n',
    "queries.jsonl": '{"_id": "q1", "text": "a"}\n{"_id": "q9", "text": "unjudged"}\n{"_id": "q2", "text": "b"}\n',
    "qrels/test.tsv": "query-id\tcorpus-id\tscore\r\nq1\td1\t2\r\n",
    "qrels/train.tsv": "query-id\tcorpus-id\tscore\nq2\td2\t0\n",
}


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "beir" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return tmp_path / "beir"


def test_every_split_and_only_judged_queries(beir: Path) -> None:
    """What macOS leaves beside a file is no split."""
    (beir / "qrels" / "._test.tsv").write_bytes(b"\0\5\x16\7")
    source = read_beir(beir, split="test")
    assert list(source.documents) == [Document("d1", "T", "x"), Document("d2", "", "y")]
    assert list(source.queries) == [Query("q1", "a"), Query("q2", "b")]
    assert source.qrels == {"test": [Qrel("q1", "d1", 2)], "train": [Qrel("q2", "d2", 0)]}


def _read(folder: Path) -> tuple[list[Document], list[Query]]:
    source = read_beir(folder, split="test")
    return list(source.documents), list(source.queries)


BROKEN = [
    ("corpus.jsonl", '{"_id": "d1", "text": "x"}\n{"_id": "d2",\n', "corpus.jsonl:2: not JSON"),
    ("corpus.jsonl", f'{{"_id": "d1", "n": {"1" * 5000}}}\n', "corpus.jsonl:1: JSON that cannot be read"),
    ("queries.jsonl", "[" * 100_000, "queries.jsonl:1: JSON that cannot be read"),
    ("corpus.jsonl", '["d1"]\n', "corpus.jsonl:1: must be a JSON object"),
    ("corpus.jsonl", '{"_id": "d1", "title": "T"}\n', "corpus.jsonl:1: field 'text' is missing"),
    ("corpus.jsonl", '{"text": "T"}\n', "corpus.jsonl:1: field '_id' is missing"),
    ("corpus.jsonl", '{"_id": 7, "text": "T"}\n', "corpus.jsonl:1: '_id' must be text: 7"),
    ("queries.jsonl", '\n{"_id": "q1"}\n', "queries.jsonl:2: field 'text' is missing"),
    ("qrels/test.tsv", "q1\td1\t2\n", "test.tsv:1: the header must be query-id corpus-id score"),
    ("qrels/test.tsv", "", "test.tsv:1: the header must be"),
    ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1 d1 1\n", "test.tsv:2: must be a query id"),
    ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\tyes\n", "test.tsv:2: must be a query id"),
    ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1_0\n", "test.tsv:2: must be a query id"),
    ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t2147483647\n", "test.tsv:2: judgement 2147483647 is not"),
]


@pytest.mark.parametrize(("name", "text", "message"), BROKEN, ids=[case[2] for case in BROKEN])
def test_broken_file_is_named_with_its_line(beir: Path, name: str, text: str, message: str) -> None:
    (beir / name).write_text(text)
    with pytest.raises(UserError) as caught:
        _read(beir)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


HEADER = "query-id\tcorpus-id\tscore\n"
CONTRADICTING = [
    ("corpus.jsonl", FILES["corpus.jsonl"] + FILES["corpus.jsonl"], "corpus.jsonl:4: document id 'd1' is there twice"),
    ("corpus.jsonl", "\n", "corpus.jsonl: no documents"),
    ("queries.jsonl", FILES["queries.jsonl"] * 2, "queries.jsonl:4: query id 'q1' is there twice"),
    (
        "qrels/test.tsv",
        f"{HEADER}q1\td1\t1\n\nq1\td8\t1\nq1\td7\t1\n",
        "test.tsv:4: qrels of split 'test' name 2 unknown documents: 'd7', 'd8'",
    ),
    ("qrels/test.tsv", f"{HEADER}q1\td1\t1\nq8\td1\t1\n", "test.tsv:3: qrels of split 'test' name 1 unknown queries"),
    ("qrels/test.tsv", f"{HEADER}q1\td1\t1\nq1\td1\t2\n", "test.tsv:3: qrels of split 'test' contradict themselves"),
]


@pytest.mark.parametrize(("name", "text", "message"), CONTRADICTING, ids=[case[2] for case in CONTRADICTING])
def test_what_does_not_fit_together_is_named_with_its_line(
    beir: Path, tmp_path: Path, name: str, text: str, message: str
) -> None:
    (beir / name).write_text(text)
    source = read_beir(beir, split="test")
    with pytest.raises(UserError) as caught:
        write_collection(tmp_path, *source[:4], places=source.places)
    assert str(caught.value).startswith(f"{beir / name}")
    assert message in str(caught.value)


@pytest.mark.parametrize("line", [1, 4])
def test_line_that_is_not_utf8_is_named(beir: Path, line: int) -> None:
    good = b'{"_id": "d1", "text": "\xc3\xa4"}\n'
    (beir / "corpus.jsonl").write_bytes(good * (line - 1) + good.replace(b"\xc3\xa4", b"\xff") + good)
    with pytest.raises(UserError, match=rf"corpus\.jsonl:{line}: not UTF-8; convert the file$"):
        list(read_beir(beir, split="test").documents)


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_missing_file_is_named(beir: Path, name: str) -> None:
    (beir / name).unlink()
    with pytest.raises(UserError, match=f"{name}: missing"):
        read_beir(beir, split="test")


def test_missing_folder_and_split_are_named(beir: Path) -> None:
    parts = r"a BEIR folder has corpus\.jsonl, queries\.jsonl and qrels/SPLIT\.tsv"
    with pytest.raises(UserError, match=f"nowhere: missing; {parts}$"):
        read_beir(beir / "nowhere", split="test")
    with pytest.raises(UserError, match=f"^nowhere: missing; {parts}; relative paths start at `data`"):
        read_beir(Path("nowhere"), split="test")
    with pytest.raises(UserError, match="no split 'dev'; its splits are: test, train"):
        read_beir(beir, split="dev")


def _fetch(home: Path, out: Path, **spec: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own: ir_datasets reads its home folder when it is imported."""
    command = [sys.executable, str(SCRIPT), "--spec", json.dumps({"split": "test", "counts": {}} | spec)]
    # A proxy that refuses stands for a machine without a network.
    refused = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = os.environ | refused | {"IR_DATASETS_HOME": str(home), "IR_DATASETS_DL_TRIES": "1"}
    return subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, check=False, env=environment)


def _zip(folder: Path, target: Path, name: str) -> None:
    target.parent.mkdir(parents=True)
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".jsonl", ".tsv"}:
                archive.write(path, f"{name}/{path.relative_to(folder).as_posix()}")


def _content(folder: Path) -> str:
    outputs = json.loads((folder / "manifest.json").read_text())["outputs"]
    return json.dumps(outputs)


def test_ir_datasets_gives_what_the_folder_gives(shared: Path, tmp_path: Path) -> None:
    scifact = shared / "data" / "collections" / "scifact"
    _zip(scifact, tmp_path / "home" / "beir" / "scifact" / "source.zip", "scifact")
    counts = {"documents": 5183, "queries": 300, "judgements": 339}
    packed = _fetch(tmp_path / "home", tmp_path / "irds", kind="ir_datasets", id="beir/scifact", counts=counts)
    assert packed.returncode == 0, packed.stderr
    plain = _fetch(tmp_path / "home", tmp_path / "folder", kind="beir_folder", path=str(scifact), counts=counts)
    assert plain.returncode == 0, plain.stderr
    assert _content(tmp_path / "irds") == _content(tmp_path / "folder")


def test_set_without_subsets_has_the_split_test(beir: Path, tmp_path: Path) -> None:
    (beir / "corpus.jsonl").write_text('{"_id": "d1", "title": "T", "text": "x"}\n')
    _zip(beir, tmp_path / "home" / "beir" / "arguana" / "source.zip", "arguana")
    result = _fetch(tmp_path / "home", tmp_path / "out", kind="ir_datasets", id="beir/arguana")
    assert result.returncode == 0, result.stderr
    facts = json.loads((tmp_path / "out" / "manifest.json").read_text())["facts"]
    assert facts["queries"] == {"test": 1}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"id": "beir/nothing"}, "ir_datasets has no data set 'beir/nothing'"),
        ({"id": "beir/scifact", "split": "dev"}, "no split 'dev'; its splits are: test, train"),
        ({"id": "beir/scifact"}, "cannot read or download its files"),
    ],
    ids=["unknown id", "unknown split", "no download"],
)
def test_ir_datasets_mistakes_are_told_in_one_line(tmp_path: Path, spec: dict[str, str], message: str) -> None:
    result = _fetch(tmp_path / "home", tmp_path / "out", kind="ir_datasets", **spec)
    assert result.returncode == 2, result.stderr
    assert message in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
