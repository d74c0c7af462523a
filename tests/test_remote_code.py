"""A language model that comes with its own code: run only where the config says so, from the backbone to the query."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from configs import load
from sentence_transformers.sparse_encoder import SparseEncoder
from tiny import rows, save_language_model, texts

from sparsemill.errors import UserError
from sparsemill.files import read_json, write_json
from sparsemill.models.backbone import prepare_backbone
from sparsemill.models.encode import encode_texts, load_encoder
from sparsemill.models.encoder import save_encoder
from sparsemill.models.siamese import build_siamese
from sparsemill.models.weights import code_options
from sparsemill.retrieval.queries import open_queries
from sparsemill.study import specs
from sparsemill.study.models import Backbone

CODE = """
from transformers import BertConfig, BertForMaskedLM


class OwnConfig(BertConfig):
    model_type = "own_bert"


class OwnForMaskedLM(BertForMaskedLM):
    config_class = OwnConfig
"""
WEIGHTS: dict[str, Any] = {"kind": "hub", "id": "someone/own", "revision": "0" * 40}
TRUSTED = WEIGHTS | {"trust_remote_code": True}
LENGTHS: dict[str, Any] = {"query_length": 8, "document_length": 24}


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository as downloaded."""
    folder = save_language_model(tmp_path / "source")
    (folder / "modeling_own.py").write_text(CODE)
    config = read_json(folder / "config.json")
    classes = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForMaskedLM": "modeling_own.OwnForMaskedLM"}
    write_json(folder / "config.json", config | {"model_type": "own_bert", "auto_map": classes})
    monkeypatch.setattr("sparsemill.models.backbone.model_folder", lambda weights: folder)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    return folder


def backbone(weights: dict[str, Any]) -> Backbone:
    return Backbone.model_validate({"weights": weights})


def test_code_runs_where_it_is_allowed(source: Path, tmp_path: Path) -> None:
    prepare_backbone(backbone(TRUSTED), [], tmp_path / "start")
    encoder = build_siamese(tmp_path / "start", None, lexical=False, trust_remote_code=True, **LENGTHS)
    model = encoder[0].sub_modules["document"][0].auto_model
    assert type(model).__name__ == "OwnForMaskedLM"
    save_encoder(encoder, tmp_path / "out", None)
    opened = SparseEncoder(str(tmp_path / "out" / "model"), device="cpu", trust_remote_code=True)
    expected = rows(opened.encode_document(texts()))
    loaded = load_encoder(tmp_path / "out", length=24, device="cpu", trust_remote_code=True)
    found = encode_texts(loaded, texts(), task="document", length=24, tokens=64, precision="fp32")
    assert np.allclose(rows(found), expected, atol=1e-5)
    settings = {"device": "cpu", "precision": "fp32", "tokens": 64, "prune": {}, "trust_remote_code": True}
    queries = open_queries(tmp_path / "out", {"query_length": 8, "encoder": settings})
    assert np.allclose(rows(queries.encode(["bal dom"])), rows(opened.encode_query(["bal dom"])), atol=1e-5)


def test_code_is_refused_where_nothing_allows_it(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be loaded as a masked language model"):
        prepare_backbone(backbone(WEIGHTS), [], tmp_path / "refused")
    prepare_backbone(backbone(TRUSTED), [], tmp_path / "start")
    with pytest.raises(UserError, match="contains custom code"):
        build_siamese(tmp_path / "start", None, lexical=False, **LENGTHS)
    save_encoder(
        build_siamese(tmp_path / "start", None, lexical=False, trust_remote_code=True, **LENGTHS),
        tmp_path / "out",
        None,
    )
    with pytest.raises(UserError, match="contains custom code"):
        load_encoder(tmp_path / "out", length=24, device="cpu")


def test_code_of_another_repository_needs_a_commit_too(source: Path) -> None:
    config = read_json(source / "config.json")
    elsewhere = {name: f"someone/code--{place}" for name, place in config["auto_map"].items()}
    write_json(source / "config.json", config | {"auto_map": elsewhere})
    with pytest.raises(UserError, match="its code is in someone/code; set `code_revision`"):
        code_options(backbone(TRUSTED).weights, source)
    pinned = backbone(TRUSTED | {"code_revision": "1" * 40}).weights
    assert code_options(pinned, source) == {"trust_remote_code": True, "code_revision": "1" * 40}
    assert code_options(backbone(WEIGHTS).weights, source) == {"trust_remote_code": False}


def test_stages_are_told_of_it_and_no_others() -> None:
    splade = {"extends": "ours", "start": "own", "query_side": "splade", "idf": None}
    study = load(backbones={"own": {"weights": TRUSTED}}, experiments={"x": splade})
    trained, encoded = specs.finetune(study, "x", "0"), specs.encode_corpus(study, "x", "0")
    searched = specs.search(study, "x", "seed-0", "pydocs", "exact")["encoder"]
    assert trained["trust_remote_code"] is encoded["trust_remote_code"] is searched["trust_remote_code"] is True
    for spec in (specs.finetune(study, "ours", "0"), specs.encode_corpus(study, "ours", "0")):
        assert "trust_remote_code" not in spec
    later = load(
        backbones={"own": {"weights": TRUSTED}},
        pretrainings={"p": {"extends": "pre-idf", "backbone": "own"}},
        experiments={"x": {"extends": "ours", "start": "p"}},
    )
    assert specs.pretrain(later, "p", "0")["trust_remote_code"] is True
    assert specs.finetune(later, "x", "0")["trust_remote_code"] is True
