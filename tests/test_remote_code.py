"""A language model that comes with its own code: run only where the config says so, from the backbone to the query."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from configs import load
from sentence_transformers.sparse_encoder import SparseEncoder
from test_pair_teachers import save_classifier, save_t5
from tiny import rows, save_language_model, texts
from transformers import dynamic_module_utils
from transformers.dynamic_module_utils import get_cached_module_file

from sparsemill.errors import UserError
from sparsemill.files import read_json, write_json
from sparsemill.models.backbone import load_language_model, prepare_backbone
from sparsemill.models.encode import encode_texts, load_encoder
from sparsemill.models.encoder import build_encoder, query_weights, save_encoder
from sparsemill.models.siamese import build_siamese
from sparsemill.models.weights import code_options
from sparsemill.retrieval.queries import open_queries
from sparsemill.study import specs
from sparsemill.study.models import (
    Backbone,
    CrossEncoderTeacher,
    CrossEncoderTraining,
    DenseTeacher,
    MonoT5Teacher,
    SparseTeacher,
)
from sparsemill.teachers.cross_encoder import CrossEncoder
from sparsemill.teachers.dense import DenseEncoder
from sparsemill.teachers.embed import open_encoder
from sparsemill.teachers.monot5 import MonoT5
from sparsemill.teachers.sparse import SpladeEncoder
from sparsemill.training.cross_encoder import _start

CODE = """
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    T5Config,
    T5ForConditionalGeneration,
)


class OwnConfig(BertConfig):
    model_type = "own_bert"


class OwnT5Config(T5Config):
    model_type = "own_t5"


class Rotary(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("position_ids", torch.arange(64), persistent=False)
        self.register_buffer("inv_freq", 0.5 ** torch.arange(4).float(), persistent=False)
        cosines = torch.outer(torch.arange(64).float(), self.inv_freq).cos()
        self.register_buffer("cos_cached", cosines.to(torch.get_default_dtype()), persistent=False)


class Turned:
    def __init__(self, config, **options):
        super().__init__(config, **options)
        self.rotary = Rotary()


class OwnModel(Turned, BertModel):
    config_class = OwnConfig


class OwnModelForSequenceClassification(Turned, BertForSequenceClassification):
    config_class = OwnConfig


class OwnModelForSeq2SeqLM(Turned, T5ForConditionalGeneration):
    config_class = OwnT5Config


class OwnModelForMaskedLM(Turned, BertForMaskedLM):
    config_class = OwnConfig
"""
AUTO = ["AutoModel", "AutoModelForMaskedLM", "AutoModelForSequenceClassification", "AutoModelForSeq2SeqLM"]
WEIGHTS: dict[str, Any] = {"kind": "hub", "id": "someone/own", "revision": "0" * 40}
TRUSTED = WEIGHTS | {"trust_remote_code": True}
PINNED = TRUSTED | {"code_revision": "1" * 40}
LENGTHS: dict[str, Any] = {"query_length": 8, "document_length": 24}
PAIRS: dict[str, Any] = {"training_set": "x", "steps": 1, "queries_per_step": 1, "documents_per_query": 2}
LOADERS: dict[str, tuple[Callable[[Path], Any], Callable[[dict[str, Any]], Any]]] = {
    "teachers.dense": (
        save_language_model,
        lambda weights: DenseEncoder(DenseTeacher(kind="dense", weights=weights), device="cpu").model,
    ),
    "teachers.sparse": (
        save_language_model,
        lambda weights: SpladeEncoder(SparseTeacher(kind="sparse", weights=weights), device="cpu").model,
    ),
    "teachers.cross_encoder": (
        lambda folder: save_classifier(folder, 1),
        lambda weights: CrossEncoder(CrossEncoderTeacher(kind="cross_encoder", weights=weights), device="cpu").model,
    ),
    "teachers.monot5": (
        save_t5,
        lambda weights: MonoT5(MonoT5Teacher(kind="monot5", weights=weights), device="cpu").model,
    ),
    "training.cross_encoder": (
        save_language_model,
        lambda weights: _start(CrossEncoderTraining.model_validate(PAIRS | {"weights": weights}))[0],
    ),
}
"""Module -> how a checkpoint for it is saved, and how it loads one."""


def add_code(folder: Path, *, repository: str = "") -> None:
    """Put code of its own beside a saved model, or say that `repository` has it."""
    place = f"{repository}--modeling_own" if repository else "modeling_own"
    config = read_json(folder / "config.json")
    kind = "T5Config" if config["model_type"] == "t5" else "Config"
    classes = {name: f"{place}.{name.replace('Auto', 'Own')}" for name in AUTO} | {"AutoConfig": f"{place}.Own{kind}"}
    model_type = {"bert": "own_bert", "t5": "own_t5"}[config["model_type"]]
    write_json(folder / "config.json", config | {"model_type": model_type, "auto_map": classes})
    (folder / "modeling_own.py").write_text(CODE)


def check_buffers(model: torch.nn.Module, dtype: torch.dtype = torch.float32) -> None:
    """What the model's code computes as it is made, and no checkpoint holds."""
    (found,) = [module for module in model.modules() if type(module).__name__ == "Rotary"]
    expected = torch.outer(torch.arange(64).float(), 0.5 ** torch.arange(4).float()).cos()
    assert found.position_ids.tolist() == list(range(64))
    assert found.inv_freq.tolist() == [1.0, 0.5, 0.25, 0.125]
    assert torch.equal(found.cos_cached, expected.to(dtype))


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository as downloaded."""
    folder = save_language_model(tmp_path / "source")
    add_code(folder)
    monkeypatch.setattr("sparsemill.models.backbone.model_folder", lambda weights: folder)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    return folder


def backbone(weights: dict[str, Any]) -> Backbone:
    return Backbone.model_validate({"weights": weights})


def test_code_runs_where_it_is_allowed(source: Path, tmp_path: Path) -> None:
    prepare_backbone(backbone(TRUSTED), [], tmp_path / "start")
    encoder = build_siamese(tmp_path / "start", None, lexical=False, trust_remote_code=True, **LENGTHS)
    model = encoder[0].sub_modules["document"][0].auto_model
    assert type(model).__name__ == "OwnModelForMaskedLM"
    check_buffers(model)
    save_encoder(encoder, tmp_path / "out", None)
    opened = SparseEncoder(str(tmp_path / "out" / "model"), device="cpu", trust_remote_code=True)
    expected = rows(opened.encode_document(texts()))
    loaded = load_encoder(tmp_path / "out", length=24, device="cpu", trust_remote_code=True)
    check_buffers(loaded)
    found = encode_texts(loaded, texts(), task="document", length=24, tokens=64, precision="fp32")
    assert np.allclose(rows(found), expected, atol=1e-5)
    settings = {"device": "cpu", "precision": "fp32", "tokens": 64, "prune": {}, "trust_remote_code": True}
    queries = open_queries(tmp_path / "out", {"query_length": 8, "encoder": settings})
    assert np.allclose(rows(queries.encode(["bal dom"])), rows(opened.encode_query(["bal dom"])), atol=1e-5)


def test_a_backbone_has_the_buffers_that_its_code_computes(source: Path) -> None:
    model, _ = load_language_model(backbone(TRUSTED), source)
    check_buffers(model)


@pytest.mark.parametrize("module", LOADERS)
def test_other_models_have_them_too(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, loaded = LOADERS[module]
    save(tmp_path / "source")
    add_code(tmp_path / "source")
    monkeypatch.setattr(f"sparsemill.{module}.model_folder", lambda weights: tmp_path / "source")
    check_buffers(loaded(TRUSTED))


def test_bf16_weights_leave_frequencies_as_the_code_has_them(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparsemill.teachers.dense.model_folder", lambda weights: source)
    spec = DenseTeacher(kind="dense", weights=TRUSTED, precision="bf16")
    check_buffers(DenseEncoder(spec, device="cpu").model, torch.bfloat16)


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


def test_code_of_another_repository_needs_a_commit_too(tmp_path: Path) -> None:
    source = save_language_model(tmp_path / "source")
    add_code(source, repository="someone/code")
    with pytest.raises(UserError, match="its code is in someone/code; set `code_revision`"):
        code_options(backbone(TRUSTED).weights, source)
    pinned = backbone(PINNED).weights
    assert code_options(pinned, source) == {"trust_remote_code": True, "code_revision": "1" * 40}
    assert code_options(backbone(WEIGHTS).weights, source) == {"trust_remote_code": False}
    assert code_options(None, source) == {"trust_remote_code": False}


@pytest.mark.parametrize("auto_map", [["a/b--x.Y", None], {"AutoTokenizer": [None, "a/b--x.Y"]}])
def test_so_does_code_of_a_tokenizer(source: Path, auto_map: Any) -> None:
    settings = read_json(source / "tokenizer_config.json")
    write_json(source / "tokenizer_config.json", settings | {"auto_map": auto_map})
    with pytest.raises(UserError, match="its code is in a/b; set `code_revision`"):
        code_options(backbone(TRUSTED).weights, source)


def test_an_experiment_with_code_is_a_teacher_too(source: Path, tmp_path: Path) -> None:
    prepare_backbone(backbone(TRUSTED), [], tmp_path / "start")
    weights = query_weights(tmp_path / "start", None)
    retriever = build_encoder(tmp_path / "start", weights, trust_remote_code=True, **LENGTHS)
    save_encoder(retriever, tmp_path / "out", weights)
    spec = {"device": "cpu", "queries": {"query_length": 8}}
    teacher = SparseTeacher(kind="sparse", experiment="x", max_length=24)
    with pytest.raises(UserError, match="contains custom code"):
        open_encoder(spec, teacher, tmp_path / "out")
    opened = open_encoder(spec | {"trust_remote_code": True}, teacher, tmp_path / "out")
    expected = rows(retriever.encode_document(texts()))
    assert np.allclose(rows(opened.encode_documents(texts(), label="test")), expected, atol=1e-5)


@pytest.mark.parametrize("module", LOADERS)
def test_every_model_takes_its_code_at_that_commit(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, loaded = LOADERS[module]
    save(tmp_path / "source")
    add_code(tmp_path / "source", repository="someone/code")
    monkeypatch.setattr(f"sparsemill.{module}.model_folder", lambda weights: tmp_path / "source")
    with pytest.raises(UserError, match="its code is in someone/code; set `code_revision`"):
        loaded(TRUSTED)
    asked = []

    def fetched(repository: str, name: str, **options: Any) -> Any:
        asked.append((repository, options["revision"]))
        return get_cached_module_file(tmp_path / "source", name)

    monkeypatch.setattr(dynamic_module_utils, "get_cached_module_file", fetched)
    check_buffers(loaded(PINNED))
    assert set(asked) == {("someone/code", "1" * 40)}


def test_stages_are_told_of_it_and_no_others() -> None:
    splade = {"extends": "ours", "start": "own", "query_side": "splade", "idf": None}
    teachers = {f"{name}-teacher": {"kind": "sparse", "experiment": name} for name in ("x", "ours")}
    study = load(backbones={"own": {"weights": TRUSTED}}, experiments={"x": splade}, teachers=teachers)
    trained, encoded = specs.finetune(study, "x", "0"), specs.encode_corpus(study, "x", "0")
    searched = specs.search(study, "x", "seed-0", "pydocs", "exact")["encoder"]
    assert trained["trust_remote_code"] is encoded["trust_remote_code"] is searched["trust_remote_code"] is True
    assert specs.embed_teacher(study, "x-teacher", "0")["trust_remote_code"] is True
    for spec in (
        specs.finetune(study, "ours", "0"),
        specs.encode_corpus(study, "ours", "0"),
        specs.embed_teacher(study, "ours-teacher", "0"),
    ):
        assert "trust_remote_code" not in spec
    later = load(
        backbones={"own": {"weights": TRUSTED}},
        pretrainings={"p": {"extends": "pre-idf", "backbone": "own"}},
        experiments={"x": {"extends": "ours", "start": "p"}},
    )
    assert specs.pretrain(later, "p", "0")["trust_remote_code"] is True
    assert specs.finetune(later, "x", "0")["trust_remote_code"] is True
