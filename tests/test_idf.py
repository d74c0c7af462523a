"""IDF by hand, against the published table, and through the command line."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from sparsemill.data.collection import Document, write_collection
from sparsemill.data.idf import (
    DocumentFrequencies,
    count_document_frequencies,
    idf,
    read_idfs,
    token_idfs,
    write_idfs,
)
from sparsemill.data.tokenizer import read_tokenizer
from sparsemill.errors import UserError

SCRIPT = Path(__file__).parents[1] / "workflow" / "scripts" / "count_idf.py"
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "graph", "node", "##s", "edge"]
TEXTS = ["graph graph nodes", "node edge", "graph"]


@pytest.fixture
def tokenizer() -> Tokenizer:
    """WordPiece that would truncate to two tokens, pad, and add special tokens, were it used as it is."""
    vocabulary = {token: number for number, token in enumerate(TOKENS)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.enable_truncation(max_length=2)
    made.enable_padding(length=8)
    return made


@pytest.fixture
def backbone(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    folder = tmp_path / "backbone"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_values_by_hand() -> None:
    # N = 3: ln(1 + 1.5 / 2.5) = ln 1.6, ln(1 + 2.5 / 1.5) = ln(8/3), ln(1 + 0.5 / 3.5) = ln(8/7)
    np.testing.assert_allclose(idf([2, 1, 3], 3), [math.log(1.6), math.log(8 / 3), math.log(8 / 7)], rtol=1e-15)
    assert idf(0, 3) == 1.0


def test_three_documents_by_hand(backbone: Path) -> None:
    tokenizer = read_tokenizer(backbone)
    frequencies = count_document_frequencies(iter(TEXTS), tokenizer)
    # graph is in documents 1 and 3, node in 1 and 2, ##s in 1 (the fourth token: not truncated), edge in 2
    assert frequencies.counts.tolist() == [0, 0, 0, 0, 2, 2, 1, 1]
    assert frequencies.documents == 3
    idfs = token_idfs(frequencies, tokenizer)
    assert list(idfs) == TOKENS
    assert idfs["graph"] == pytest.approx(math.log(1.6))
    assert idfs["edge"] == pytest.approx(math.log(8 / 3))
    assert [idfs[token] for token in TOKENS[:4]] == [1.0] * 4


def test_documents_without_a_token_do_not_count(backbone: Path) -> None:
    frequencies = count_document_frequencies(["", "  ", "edge"], read_tokenizer(backbone))
    assert frequencies.documents == 1


def test_batches_do_not_matter(backbone: Path) -> None:
    counted = count_document_frequencies(TEXTS * 300, read_tokenizer(backbone))
    assert counted.counts.tolist() == [0, 0, 0, 0, 600, 600, 300, 300]
    assert counted.documents == 900


def test_published_table_comes_from_whole_document_frequencies(shared: Path) -> None:
    documents = 8_841_823  # MS MARCO passages
    published = json.loads((shared / "data" / "reference" / "opensearch-idf" / "idf.json").read_text())
    values = np.array([value for value in published.values() if value != 1.0])
    # idf = ln((N + 1) / (df + 0.5)), solved for df
    frequencies = (documents + 1) / np.exp(values) - 0.5
    whole = np.rint(frequencies)
    # The table holds float32 values, whose rounding grows with df when it is undone.
    rare = whole < 10_000
    assert rare.sum() > 20_000
    assert np.abs(frequencies - whole)[rare].max() < 0.01
    assert 1 <= whole.min() <= whole.max() <= documents
    np.testing.assert_allclose(idf(whole, documents), values, rtol=0, atol=1e-6)


def test_file_keeps_the_order_of_the_vocabulary(tmp_path: Path, tokenizer: Tokenizer) -> None:
    idfs = token_idfs(DocumentFrequencies(np.arange(8), 9), tokenizer)
    write_idfs(tmp_path / "idf.json", idfs)
    read = json.loads((tmp_path / "idf.json").read_text())
    assert list(read) == TOKENS
    assert read == idfs


def test_missing_tokenizer_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tokenizer\.json: no such file"):
        read_tokenizer(tmp_path)


def _count(
    collection: Path | None, backbone: Path, out: Path, spec: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    inputs = ["--in", "collection", str(collection)] if collection else []
    inputs += ["--in", "backbone", str(backbone)]
    command = [sys.executable, str(SCRIPT), "--spec", json.dumps(spec or {}), *inputs, "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_command_line(tmp_path: Path, backbone: Path) -> None:
    collection = tmp_path / "collection"
    collection.mkdir()
    # The title is part of a document.
    write_collection(collection, [Document("a", "graph", "nodes"), Document("b", "", "graph")], [], {})
    result = _count(collection, backbone, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "out" / "idf.json").read_text())["graph"] == pytest.approx(math.log(1.2))
    facts = json.loads((tmp_path / "out" / "manifest.json").read_text())["facts"]
    assert facts == {"documents": 2, "tokens": 8, "tokens_seen": 3}


def test_the_published_table_is_taken_as_it_is(shared: Path, tmp_path: Path) -> None:
    reference = shared / "data" / "reference"
    backbone = tmp_path / "backbone"
    backbone.mkdir()
    words = (reference / "bert-base-uncased-vocab" / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]")).save(
        str(backbone / "tokenizer.json")
    )
    table = reference / "opensearch-idf" / "idf.json"
    result = _count(None, backbone, tmp_path / "out", {"kind": "file", "path": str(table)})
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "out" / "idf.json").read_text())
    assert written == json.loads(table.read_text())
    assert list(written) == words
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["facts"] == {"tokens": 30522}


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ([1.0] * 8, "expected a JSON object"),
        (dict.fromkeys(TOKENS[1:], 1.0), r"1 tokens differ from the backbone's vocabulary, for example '\[PAD\]'"),
        (dict.fromkeys([*TOKENS, "new"], 1.0), "1 tokens differ .* 'new'"),
        (dict.fromkeys(TOKENS, 1.0) | {"edge": 0}, "the weight of 'edge' is 0; expected a number above 0"),
        (dict.fromkeys(TOKENS, 1.0) | {"edge": "2"}, "the weight of 'edge' is '2'"),
        (dict.fromkeys(TOKENS, 1.0) | {"edge": math.nan}, "the weight of 'edge' is nan"),
        (dict.fromkeys(TOKENS, 1.0) | {"edge": True}, "the weight of 'edge' is True"),
    ],
)
def test_tables_that_do_not_fit_are_told(tmp_path: Path, tokenizer: Tokenizer, table: object, told: str) -> None:
    (tmp_path / "idf.json").write_text(json.dumps(table))
    with pytest.raises(UserError, match=told):
        read_idfs(tmp_path / "idf.json", tokenizer)


def test_collection_without_tokens_is_refused(tmp_path: Path, backbone: Path) -> None:
    collection = tmp_path / "collection"
    collection.mkdir()
    write_collection(collection, [Document("a", "", "")], [], {})
    result = _count(collection, backbone, tmp_path / "out")
    assert result.returncode == 2
    assert "no document has a token" in result.stderr
