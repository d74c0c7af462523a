"""Queries become sets of weighted tokens, without any model."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from sparsemill.data.tokenizer import read_vocabulary
from sparsemill.errors import UserError
from sparsemill.retrieval.query_encoder import QueryEncoder

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "what", "is", "a", "sparse", "index", "##es"]
WEIGHTS = [9.0, 0.0, 9.0, 9.0, 0.5, 0.0, 0.25, 7.5, 3.0, 2.0]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(TOKENS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in TOKENS[:4]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=12)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "query_weights.json").write_text(json.dumps(dict(zip(TOKENS, WEIGHTS, strict=True))))
    return tmp_path


def test_weights_by_hand(model: Path) -> None:
    encoded = QueryEncoder(model, query_length=64).encode(
        ["What is a sparse index", "a sparse SPARSE a indexes", "", "zzz"]
    )
    assert encoded.dtype == np.float32
    assert encoded.shape == (4, 10)
    assert encoded.toarray().tolist() == [
        [0, 0, 0, 0, 0.5, 0, 0.25, 7.5, 3, 0],
        [0, 0, 0, 0, 0, 0, 0.25, 7.5, 3, 2],
        [0] * 10,
        [0] * 10,
    ]
    assert encoded.nnz == 8
    assert encoded.has_canonical_format


def test_special_tokens_weigh_nothing_even_when_typed(model: Path) -> None:
    assert QueryEncoder(model, query_length=64).encode(["[CLS] [SEP] [PAD]"]).nnz == 0


def test_truncation_counts_tokens_before_they_are_merged(model: Path) -> None:
    encoded = QueryEncoder(model, query_length=3).encode(["a a what sparse index"])
    assert encoded.toarray().tolist() == [[0, 0, 0, 0, 0.5, 0, 0.25, 0, 0, 0]]


def test_another_idf_replaces_the_weights(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "idf.json"
    path.write_text(json.dumps(dict.fromkeys(TOKENS, 1.0)))
    encoded = QueryEncoder(model, query_length=64, idf=path).encode(["what is [SEP] this"])
    assert encoded.toarray().tolist() == [[0, 0, 0, 0, 1, 1, 0, 0, 0, 0]]


def test_a_table_of_another_vocabulary_is_refused(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "idf.json"
    path.write_text(json.dumps(dict.fromkeys(TOKENS[:-1], 1.0) | {"other": 1.0}))
    with pytest.raises(UserError, match="2 tokens differ"):
        QueryEncoder(model, query_length=64, idf=path)


def test_a_missing_file_is_a_users_mistake(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"idf\.json"):
        QueryEncoder(model, query_length=64, idf=tmp_path / "idf.json")
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        QueryEncoder(tmp_path / "nowhere", query_length=64)


def test_vocabulary_is_in_the_order_of_ids(model: Path) -> None:
    assert read_vocabulary(model) == TOKENS


def test_torch_is_not_loaded() -> None:
    code = "import sys, sparsemill.retrieval.query_encoder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
