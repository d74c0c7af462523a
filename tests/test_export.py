"""Exported vectors: every weight unchanged, tokens by name or by number."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from tokenizers import Tokenizer, models

from sparsemill.files import read_json, write_json
from sparsemill.retrieval.export import main
from sparsemill.retrieval.vectors import Shard, write_shard

WORDS = ["[UNK]", "v.2", '"é"']
VECTORS = sparse.csr_matrix(np.array([[0, 0.1, 3], [0, 0, 0], [0, 1e-7, 0]], dtype=np.float32))


@pytest.mark.parametrize(("option", "names"), [([], WORDS), (["--numbers"], ["0", "1", "2"])])
def test_every_weight_comes_back(tmp_path: Path, option: list[str], names: list[str]) -> None:
    for name in ("model", "a", "b"):
        (tmp_path / name).mkdir()
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]")).save(str(tmp_path / "model" / "tokenizer.json"))
    write_json(tmp_path / "model" / "query_weights.json", dict.fromkeys(WORDS, 1.5))
    write_shard(tmp_path / "a", Shard(["x y", "empty"], VECTORS[:2]))
    write_shard(tmp_path / "b", Shard(["ü"], VECTORS[2:]))
    shards = [str(tmp_path / name) for name in ("a", "b")]
    arguments = ["--model", str(tmp_path / "model"), "--vectors", *shards, "--out", str(tmp_path / "out")]
    assert main([*arguments, *option]) == 0
    found = [json.loads(line) for line in (tmp_path / "out" / "documents.jsonl").read_text().splitlines()]
    assert [document["id"] for document in found] == ["x y", "empty", "ü"]
    for document, row in zip(found, VECTORS.toarray(), strict=True):
        assert {name: np.float32(weight) for name, weight in document["vector"].items()} == {
            name: weight for name, weight in zip(names, row, strict=True) if weight
        }
    assert read_json(tmp_path / "out" / "vocabulary.json") == WORDS
    assert read_json(tmp_path / "out" / "query_weights.json") == dict.fromkeys(WORDS, 1.5)


def test_a_mistake_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", str(tmp_path), "--vectors", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "tokenizer.json: no such file" in capsys.readouterr().err
