"""Training with each query side: learns, is saved as sentence-transformers reads it, and gives our vectors again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from sentence_transformers.sparse_encoder import SparseEncoder
from tiny import SPECIAL, TOKENS, rows, save_language_model, texts
from trained import RECIPE, StoppedError, contents, run, stop_at, timeless

from sparsemill.errors import UserError
from sparsemill.files import read_json
from sparsemill.models.encoder import query_weights
from sparsemill.models.head import attach_head
from sparsemill.models.siamese import build_siamese
from sparsemill.retrieval.query_encoder import QueryEncoder
from sparsemill.study.models import Training

QUERIES = [
    "bal dom kix",
    "bal bal BAL nor",
    "[CLS] lum [SEP] [MASK] [PAD] zz",
    "bal dom kix lum mer nor pax rul",
    "pal?",
]
pytestmark = pytest.mark.usefixtures("one_thread")

SIAMESE = [(side, encoder) for side in ("lexical", "splade") for encoder in ("shared", "separate")]
LEARNS = {"steps": 60, "log_steps": 20, "checkpoint_steps": 100, "learning_rate": 3e-3}


def reopened(folder: Path) -> SparseEncoder:
    return SparseEncoder(str(folder / "out" / "model"), device="cpu", local_files_only=True)


def weights_of(folder: Path, part: str) -> dict[str, np.ndarray]:
    return load_file(folder / "out" / "model" / part / "model.safetensors")


@pytest.mark.parametrize(("side", "encoder"), SIAMESE)
def test_siamese_models_learn_and_open_again(inputs: dict[str, Any], tmp_path: Path, side: str, encoder: str) -> None:
    _, found = run(inputs, tmp_path, query_side=side, query_encoder=encoder, **LEARNS)
    assert found[-1]["kl"] < 0.85 * found[0]["kl"]
    opened = reopened(tmp_path)
    queries, documents = rows(opened.encode_query(QUERIES)), rows(opened.encode_document(texts()))
    attach_head(opened)
    assert np.allclose(rows(opened.encode_query(QUERIES)), queries, atol=1e-5)
    assert np.allclose(rows(opened.encode_document(texts())), documents, atol=1e-5)
    assert queries.any()
    assert not queries[:, : len(SPECIAL)].any()
    assert not documents[:, : len(SPECIAL)].any()
    assert not (tmp_path / "out" / "query_weights.json").exists()
    own = {TOKENS[column] for column in queries[0].nonzero()[0]}
    assert (own <= {"bal", "dom", "kix", "ki", "##x"}) == (side == "lexical")


def test_separate_encoders_part_and_shared_ones_are_one(inputs: dict[str, Any], tmp_path: Path) -> None:
    for encoder in ("shared", "separate"):
        run(inputs, tmp_path / encoder, steps=2, query_side="splade", query_encoder=encoder)
    queries, documents = (weights_of(tmp_path / "separate", f"{side}_0_Transformer") for side in ("query", "document"))
    assert any(not np.array_equal(queries[name], documents[name]) for name in queries)
    assert not (tmp_path / "shared" / "out" / "model" / "query_0_Transformer").exists()
    route = reopened(tmp_path / "shared")[0].sub_modules
    assert route["query"][0] is route["document"][0]


def test_gradients_come_from_both_sides(tmp_path: Path) -> None:
    """The gradient of a shared encoder is the sum of what queries and documents give each alone."""
    start = save_language_model(tmp_path / "start")
    encoder = build_siamese(start, None, lexical=False, query_length=8, document_length=24).eval()
    attach_head(encoder)
    vectors = encoder[0].sub_modules["document"][0].auto_model.get_input_embeddings().weight

    def gradient(*detached: str) -> torch.Tensor:
        encoder.zero_grad()
        sides = {"query": ["bal dom"], "document": ["dom kix"]}
        found = [encoder(encoder.preprocess(part, task=task))["sentence_embedding"] for task, part in sides.items()]
        first, second = (v.detach() if task in detached else v for v, task in zip(found, sides, strict=True))
        (first * second).sum().backward()
        assert vectors.grad is not None
        return vectors.grad.clone()

    both = gradient()
    assert gradient("query").any()
    assert torch.allclose(both, gradient("query") + gradient("document"), atol=1e-5)


def test_a_query_backbone_of_its_own(inputs: dict[str, Any], tmp_path: Path) -> None:
    other = save_language_model(tmp_path / "other", "distilbert", seed=5)
    options = {"steps": 2, "query_side": "splade", "query_encoder": "separate", "query_backbone": "other"}
    run(inputs | {"query_start": other}, tmp_path, **options)
    assert any(name.startswith("distilbert") for name in weights_of(tmp_path, "query_0_Transformer"))
    assert any(name.startswith("bert") for name in weights_of(tmp_path, "document_0_Transformer"))


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    start, other = (save_language_model(tmp_path / name) for name in ("start", "other"))
    path = other / "tokenizer.json"
    path.write_text(path.read_text().replace('"bal"', '"ball"'))
    with pytest.raises(UserError, match="another vocabulary"):
        build_siamese(start, other, lexical=False, query_length=8, document_length=24)


@pytest.mark.parametrize("separate", [False, True])
def test_queries_longer_than_the_model_reads_are_refused(tmp_path: Path, separate: bool) -> None:
    start = save_language_model(tmp_path / "start")
    with pytest.raises(UserError, match=r"query_length: 65 tokens, but the model reads at most 64; lower it"):
        build_siamese(start, start if separate else None, lexical=False, query_length=65, document_length=24)


def test_queries_are_cut_at_their_own_length(inputs: dict[str, Any], tmp_path: Path) -> None:
    run(inputs, tmp_path, steps=2, query_side="splade", query_length=5)
    opened = reopened(tmp_path)
    long, cut = opened.encode_query(["bal dom mer nor pal", "bal dom mer"])
    assert torch.allclose(long.to_dense(), cut.to_dense(), atol=1e-5)
    long, cut = opened.encode_document(["bal dom mer nor pal", "bal dom mer"])
    assert not torch.allclose(long.to_dense(), cut.to_dense(), atol=1e-3)


def test_a_lexical_query_is_the_full_one_at_its_own_tokens(tmp_path: Path) -> None:
    start = save_language_model(tmp_path)
    options = {"query_length": 8, "document_length": 24}
    full, own = (build_siamese(start, None, lexical=lexical, **options).eval() for lexical in (False, True))
    expected, found = rows(full.encode_query(QUERIES)), rows(own.encode_query(QUERIES))
    tokenized = full.tokenizer(QUERIES, truncation=True, max_length=8)["input_ids"]
    mask = np.zeros_like(expected)
    for row, ids in enumerate(tokenized):
        mask[row, ids] = 1
    assert np.allclose(found, expected * mask, atol=1e-6)
    assert np.array_equal(rows(full.encode_document(texts())), rows(own.encode_document(texts())))


@pytest.mark.parametrize("start", ["idf", "ones"])
def test_a_learned_table_starts_moves_and_is_saved(inputs: dict[str, Any], tmp_path: Path, start: str) -> None:
    options = {"idf": "invented" if start == "idf" else None, "query_side": "learned", "query_learning_rate": 0.05}
    given = inputs if start == "idf" else inputs | {"idf": None}
    _, found = run(given, tmp_path, **LEARNS | options)
    assert found[-1]["kl"] < found[0]["kl"]
    table = read_json(tmp_path / "out" / "query_weights.json")
    initial = query_weights(inputs["start"], inputs["idf"] if start == "idf" else None)
    assert table.keys() == set(TOKENS)
    assert all(table[token] == 0 for token in SPECIAL)
    assert min(table.values()) >= 0
    assert any(table[token] != initial[token] for token in TOKENS)
    # Letters are in no training query, so their weights never move: neither by gradient nor by decay.
    assert all(table[f"##{letter}"] == np.float32(initial[f"##{letter}"]) for letter in "qwz")
    expected = rows(QueryEncoder(tmp_path / "out", query_length=8).encode(QUERIES))
    assert np.array_equal(rows(reopened(tmp_path).encode_query(QUERIES)), expected)


def test_a_learned_table_never_goes_below_zero(inputs: dict[str, Any], tmp_path: Path) -> None:
    """A first step of Adam moves every weight of a query by the learning rate, here past zero."""
    run(inputs, tmp_path, steps=4, warmup_steps=0, query_side="learned", query_learning_rate=5.0)
    table = read_json(tmp_path / "out" / "query_weights.json")
    assert min(table.values()) == 0
    assert any(table[token] == 0 for token in TOKENS[len(SPECIAL) :])


def test_learned_and_siamese_runs_resume_to_the_same_bytes(inputs: dict[str, Any], tmp_path: Path) -> None:
    for options in ({"query_side": "learned"}, {"query_side": "lexical", "query_encoder": "separate"}):
        whole, parts = tmp_path / options["query_side"], tmp_path / f"{options['query_side']}-parts"
        _, expected = run(inputs, whole, **options)
        with pytest.raises(StoppedError):
            run(inputs, parts, stream=stop_at(4), **options)
        facts, found = run(inputs, parts, **options)
        assert facts["resumed_at_step"] == 3
        assert contents(parts / "out") == contents(whole / "out")
        assert timeless(found) == timeless(expected)


@pytest.mark.parametrize("representation", ["max", "sum"])
@pytest.mark.parametrize("activation", ["log1p_relu", "double_log"])
def test_representations_train_and_open_again(
    inputs: dict[str, Any], tmp_path: Path, representation: str, activation: str
) -> None:
    run(inputs, tmp_path, steps=2, representation=representation, activation=activation)
    opened = reopened(tmp_path)
    pooling = opened[0].sub_modules["document"][1]
    theirs = {"log1p_relu": "relu", "double_log": "log1p_relu"}[activation]
    assert (pooling.pooling_strategy, pooling.activation_function) == (representation, theirs)
    expected = rows(opened.encode_document(texts()))
    attach_head(opened)
    assert np.allclose(rows(opened.encode_document(texts())), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query_side": "idf", "idf": None}, "query_side: idf needs an IDF table"),
        (
            {"query_side": "binary", "idf": None, "regulariser": {"weighting": "inverse_idf"}},
            "inverse_idf needs an IDF",
        ),
        ({"query_learning_rate": 1.0}, "query_learning_rate is that of"),
        ({"query_encoder": "separate"}, "query_encoder: separate needs"),
        ({"query_side": "splade", "query_backbone": "b"}, "query_backbone needs"),
        ({"query_side": "splade", "retrieval_idf": "other"}, "retrieval_idf replaces"),
    ],
)
def test_query_sides_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Training.model_validate(RECIPE | options)


def test_defaults_leave_the_recipe_as_it_was() -> None:
    later = {"query_learning_rate", "query_encoder", "query_backbone", "representation", "activation"}
    assert not later & Training.model_validate(RECIPE).model_dump().keys()
