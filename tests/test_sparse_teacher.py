"""Siamese sparse teachers: released models in the hub's formats, and experiments of the study."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import SPECIAL, TOKENS, idf_table, language_model, rows, save_language_model, texts, tokenizer

from sparsemill.errors import UserError
from sparsemill.files import read_json, write_json
from sparsemill.models.encoder import build_encoder, query_weights, save_encoder
from sparsemill.study.models import SparseTeacher
from sparsemill.teachers.embed import embed
from sparsemill.teachers.sparse import SpladeEncoder

EXTRA = {"device": "cpu", "shard": 0, "shards": 1, "stage_version": 1}


def teacher(folder: Path, **options: Any) -> SparseTeacher:
    return SparseTeacher.model_validate(
        {"kind": "sparse", "weights": {"kind": "folder", "path": str(folder)}, **options}
    )


def encode(spec: SparseTeacher, documents: list[str]) -> np.ndarray:
    return rows(SpladeEncoder(spec, device="cpu").encode_documents(documents, label="test"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_language_model(tmp_path_factory.mktemp("splade"))


def logits(text: str, length: int = 64) -> torch.Tensor:
    with torch.no_grad():
        batch = tokenizer()([text], truncation=True, max_length=length, return_tensors="pt")
        found: torch.Tensor = language_model()(**batch).logits[0]
    return found


def pooled(text: str, representation: str, activation: str) -> np.ndarray:
    """By the definition: all logits, then activation, then the pool."""
    weights = torch.log1p(torch.relu(logits(text)))
    weights = torch.log1p(weights) if activation == "double_log" else weights
    return np.asarray(weights.amax(0) if representation == "max" else weights.sum(0))


@pytest.mark.parametrize("activation", ["log1p_relu", "double_log"])
@pytest.mark.parametrize("representation", ["max", "sum"])
def test_vectors_by_definition(folder: Path, representation: str, activation: str) -> None:
    spec = teacher(folder, representation=representation, activation=activation, tokens_per_batch=30)
    expected = np.stack([pooled(text, representation, activation) for text in texts(5)])
    found = SpladeEncoder(spec, device="cpu").encode_queries(texts(5), label="test")
    assert found.dtype == np.float32
    assert np.allclose(rows(found), expected, atol=1e-4)


def test_only_what_is_not_zero_leaves_the_device(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brought: list[int] = []
    numpy = torch.Tensor.numpy

    def counted(tensor: torch.Tensor, **options: Any) -> Any:
        brought.append(tensor.dim())
        return numpy(tensor, **options)

    encoder = SpladeEncoder(teacher(folder), device="cpu")
    monkeypatch.setattr(torch.Tensor, "numpy", counted)
    found = encoder.encode_documents(texts(5), label="test")
    monkeypatch.undo()
    assert set(brought) == {1}
    assert found.nnz


def test_special_tokens_are_kept_unless_told(folder: Path) -> None:
    special = [TOKENS.index(token) for token in SPECIAL]
    kept, zeroed = (encode(teacher(folder, special_tokens=key), texts(4)) for key in ("keep", "zero"))
    assert kept[:, special].any()
    assert not zeroed[:, special].any()
    kept[:, special] = 0
    assert np.array_equal(kept, zeroed)


def test_length_and_no_texts(folder: Path) -> None:
    (found,) = encode(teacher(folder, max_length=5), ["dom kix lum mer nor"])
    expected = torch.log1p(torch.relu(logits("dom kix lum mer nor", length=5))).amax(0)
    assert np.allclose(found, expected, atol=1e-4)
    assert encode(teacher(folder), []).shape == (0, len(TOKENS))


@pytest.fixture(scope="module", params=[("max", "relu"), ("sum", "relu"), ("max", "log1p_relu")], ids=str)
def released(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A sentence-transformers folder, and its own vectors."""
    from sentence_transformers.sparse_encoder import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import SpladePooling, Transformer

    pooling, function = request.param
    transformer = Transformer(str(folder), transformer_task="fill-mask")
    encoder = SparseEncoder(modules=[transformer, SpladePooling(pooling, activation_function=function)], device="cpu")
    place = tmp_path_factory.mktemp("released")
    encoder.save_pretrained(str(place), create_model_card=False)
    options = {"representation": pooling, "activation": "double_log" if function == "log1p_relu" else "log1p_relu"}
    return place, options, rows(encoder.encode(texts(5)))


def test_a_sentence_transformers_folder(released: Any) -> None:
    place, options, theirs = released
    assert np.allclose(encode(teacher(place, **options), texts(5)), theirs, atol=1e-4)


def test_a_folder_that_pools_otherwise_is_refused(released: Any) -> None:
    place, options, _ = released
    other = {**options, "representation": "sum" if options["representation"] == "max" else "max"}
    with pytest.raises(UserError, match=f"set representation: {options['representation']}"):
        SpladeEncoder(teacher(place, **other), device="cpu")


def test_folders_that_are_no_splade(folder: Path, tmp_path: Path) -> None:
    dense = save_language_model(tmp_path / "dense")
    write_json(dense / "modules.json", [{"type": "x.Transformer", "path": ""}, {"type": "x.Pooling", "path": "1"}])
    with pytest.raises(UserError, match="modules Transformer, Pooling are no SPLADE"):
        SpladeEncoder(teacher(dense), device="cpu")
    headless = tmp_path / "headless"
    language_model().bert.save_pretrained(headless)
    tokenizer().save_pretrained(headless)
    with pytest.raises(UserError, match="a SPLADE needs its MLM head"):
        SpladeEncoder(teacher(headless), device="cpu")


def test_an_experiment_encodes_queries_by_its_table(folder: Path, tmp_path: Path) -> None:
    """Documents as the model that it is, queries by its own weights."""
    write_json(tmp_path / "idf.json", idf_table())
    weights = query_weights(folder, tmp_path / "idf.json")
    encoder = build_encoder(folder, weights, query_length=8, document_length=32)
    model = tmp_path / "model"
    model.mkdir()
    save_encoder(encoder, model, weights)
    spec = (
        SparseTeacher(kind="sparse", experiment="ours", max_length=32).model_dump()
        | EXTRA
        | {"queries": {"query_length": 2}}
    )
    queries, documents, _ = embed(spec, ["bal dor kim"], texts(4), label="test", state=tmp_path, model=model)
    assert np.allclose(rows(documents[0][range(4)]), rows(encoder.encode_document(texts(4))), atol=1e-4)
    found = rows(queries[0][[0]])[0]
    assert {TOKENS[column]: found[column] for column in found.nonzero()[0]} == {
        token: pytest.approx(read_json(model / "query_weights.json")[token]) for token in ("bal", "dor")
    }
