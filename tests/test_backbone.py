"""A masked language model to start from: layers cut, identity transform, sparse start."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers.sparse_encoder import SparseEncoder
from tiny import SPECIAL, TOKENS, WIDTH, language_model, rows, save_language_model, texts, tokenizer
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    FNetConfig,
    FNetForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
)

from sparsemill.errors import UserError
from sparsemill.files import read_json, write_json
from sparsemill.models.backbone import prepare_backbone
from sparsemill.models.encoder import build_encoder, query_weights, save_encoder
from sparsemill.models.head import attach_head
from sparsemill.models.transform import set_identity_transform
from sparsemill.study.models import Backbone

KINDS = ["bert", "distilbert", "modernbert", "roberta"]


def backbone(folder: Path, **options: Any) -> Backbone:
    return Backbone.model_validate({"weights": {"kind": "folder", "path": str(folder)}, **options})


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_checkpoint_is_copied_as_it_is(tmp_path: Path) -> None:
    facts = prepare_backbone(backbone(save_language_model(tmp_path / "in")), [], tmp_path / "out")
    before, after = (AutoModelForMaskedLM.from_pretrained(tmp_path / name) for name in ("in", "out"))
    assert facts == {"parameters": before.num_parameters(), "layers": 2, "tokens": len(TOKENS)}
    for name, value in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], value), name
    assert AutoTokenizer.from_pretrained(tmp_path / "out").get_vocab() == tokenizer().get_vocab()


def test_layers_are_cut_from_the_top(tmp_path: Path) -> None:
    source = save_language_model(tmp_path / "in")
    assert prepare_backbone(backbone(source, layers=1), [], tmp_path / "out")["layers"] == 1
    before, after = (AutoModelForMaskedLM.from_pretrained(tmp_path / name).state_dict() for name in ("in", "out"))
    assert after.keys() == {name for name in before if ".layer.1." not in name}
    assert all(torch.equal(after[name], before[name]) for name in after)


def test_more_layers_than_there_are_is_a_users_mistake(tmp_path: Path) -> None:
    source = save_language_model(tmp_path / "in")
    with pytest.raises(UserError, match="has 2 layers, `layers: 3` asked for"):
        prepare_backbone(backbone(source, layers=3), [], tmp_path / "out")


def test_identity_transform_scores_tokens_by_their_embeddings(tmp_path: Path) -> None:
    source = save_language_model(tmp_path / "in")
    prepare_backbone(backbone(source, transform="identity"), [], tmp_path / "out")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "out").eval()
    batch = tokenizer()(texts(2), padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model.bert(**batch).last_hidden_state
        activated = torch.nn.functional.layer_norm(torch.nn.functional.gelu(hidden), (32,), eps=1e-12)
        expected = activated @ model.get_input_embeddings().weight.T
        assert torch.allclose(model(**batch).logits, expected, atol=1e-4)


def test_a_checkpoint_without_a_head_needs_the_identity_transform(tmp_path: Path) -> None:
    language_model().bert.save_pretrained(tmp_path / "in")
    tokenizer().save_pretrained(tmp_path / "in")
    with pytest.raises(UserError, match=r"holds no cls\.predictions.*set `transform: identity`") as error:
        prepare_backbone(backbone(tmp_path / "in"), [], tmp_path / "out")
    one_line(error)
    first, second = (tmp_path / name for name in ("first", "second"))
    for folder in (first, second):
        prepare_backbone(backbone(tmp_path / "in", transform="identity"), [], folder)
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


def test_identity_transform_does_not_excuse_other_missing_weights(tmp_path: Path) -> None:
    source = save_language_model(tmp_path / "in")
    config = read_json(source / "config.json")
    write_json(source / "config.json", config | {"num_hidden_layers": 3})
    with pytest.raises(UserError, match=r"holds no bert\.encoder\.layer\.2"):
        prepare_backbone(backbone(source, transform="identity"), [], tmp_path / "out")


def test_identity_transform_needs_a_head_that_is_known(tmp_path: Path) -> None:
    config = FNetConfig(vocab_size=len(TOKENS), hidden_size=8, num_hidden_layers=1, intermediate_size=8)
    FNetForMaskedLM(config).save_pretrained(tmp_path / "in")
    tokenizer().save_pretrained(tmp_path / "in")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "in")
    del model.cls.predictions.transform
    with pytest.raises(UserError, match=r"knows the MLM heads of BERT.*not that of FNetForMaskedLM"):
        set_identity_transform(model, tmp_path)


def test_identity_transform_needs_tied_embeddings(tmp_path: Path) -> None:
    source = save_language_model(tmp_path / "in")
    config = read_json(source / "config.json")
    write_json(source / "config.json", config | {"tie_word_embeddings": False})
    with pytest.raises(UserError, match="needs a decoder that is tied to the embeddings"):
        prepare_backbone(backbone(source, transform="identity"), [], tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_identity_transform_of_every_architecture(tmp_path: Path, kind: str) -> None:
    """From the bare encoder: logits are normalised activated hidden states times embeddings."""
    whole = language_model(kind)
    bare = getattr(whole, whole.base_model_prefix)
    bare.save_pretrained(tmp_path / "in")
    tokenizer().save_pretrained(tmp_path / "in")
    prepare_backbone(backbone(tmp_path / "in", transform="identity"), [], tmp_path / "out")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "out").eval()
    batch = tokenizer()(texts(3), padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = getattr(model, model.base_model_prefix)(**batch).last_hidden_state
        eps = {"modernbert": 1e-5}.get(kind, 1e-12)
        activated = torch.nn.functional.layer_norm(torch.nn.functional.gelu(hidden), (WIDTH,), eps=eps)
        expected = activated @ whole.get_input_embeddings().weight.T
        assert torch.allclose(model(**batch).logits, expected, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_and_dropout_of_every_architecture(tmp_path: Path, kind: str) -> None:
    source = save_language_model(tmp_path / "in", kind)
    facts = prepare_backbone(backbone(source, layers=1, dropout=0.0), [], tmp_path / "out")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "out")
    assert facts["layers"] == model.config.num_hidden_layers == 1
    rates = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates <= {0.0}
    batch = tokenizer()(texts(3), padding=True, return_tensors="pt")
    with torch.no_grad():
        first, second = (model.train(mode)(**batch).logits for mode in (True, False))
    assert torch.allclose(first, second, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_becomes_a_retriever(tmp_path: Path, kind: str) -> None:
    """Our head, the naive formula and the saved folder give one vector."""
    source = save_language_model(tmp_path / "in", kind)
    prepare_backbone(backbone(source), [], tmp_path / "start")
    weights = query_weights(tmp_path / "start", None)
    encoder = build_encoder(tmp_path / "start", weights, query_length=8, document_length=24).eval()
    batch = tokenizer()(texts(), padding=True, truncation=True, max_length=24, return_tensors="pt")
    with torch.no_grad():
        logits = AutoModelForMaskedLM.from_pretrained(source).eval()(**batch).logits
        naive = (torch.log1p(torch.relu(logits)) * batch["attention_mask"].unsqueeze(-1)).amax(1)
    naive[:, : len(SPECIAL)] = 0
    save_encoder(encoder, tmp_path / "out", weights)
    attach_head(encoder)
    assert np.allclose(rows(encoder.encode_document(texts())), naive.numpy(), atol=1e-4)
    opened = SparseEncoder(str(tmp_path / "out" / "model"), device="cpu")
    assert np.allclose(rows(opened.encode_document(texts())), naive.numpy(), atol=1e-4)
    assert naive.any()


def test_a_decoder_without_bias_gets_one(tmp_path: Path) -> None:
    source = save_language_model(tmp_path / "full", "modernbert")
    config = AutoConfig.from_pretrained(source, decoder_bias=False)
    bare = AutoModelForMaskedLM.from_config(config)
    bare.save_pretrained(tmp_path / "in")
    tokenizer().save_pretrained(tmp_path / "in")
    with pytest.raises(UserError, match="no output layer with a bias"):
        build_encoder(tmp_path / "in", query_weights(tmp_path / "in", None), query_length=8, document_length=24)
    prepare_backbone(backbone(tmp_path / "in"), [], tmp_path / "out")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "out").eval()
    assert not model.get_output_embeddings().bias.any()
    batch = tokenizer()(texts(3), padding=True, return_tensors="pt")
    with torch.no_grad():
        assert torch.allclose(model(**batch).logits, bare.eval()(**batch).logits, atol=1e-5)
    build_encoder(tmp_path / "out", query_weights(tmp_path / "out", None), query_length=8, document_length=24)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_sparse_start_has_the_wanted_number_of_active_tokens(tmp_path: Path, kind: str) -> None:
    source = save_language_model(tmp_path / "in", kind)
    described = backbone(source, start_active=7, start_collection="any")
    facts = prepare_backbone(described, texts(), tmp_path / "out")
    encoder = build_encoder(
        tmp_path / "out", query_weights(tmp_path / "out", None), query_length=8, document_length=64
    ).eval()
    active = (rows(encoder.encode_document(texts())) > 0).sum(1).mean()
    # The entry on the threshold itself has the logit 0.
    assert active == pytest.approx(7, abs=0.1)
    decoder = AutoModelForMaskedLM.from_pretrained(tmp_path / "out").get_output_embeddings()
    assert torch.equal(decoder.bias, torch.full((len(TOKENS),), facts["start_bias"]))


@pytest.mark.parametrize("active", [len(TOKENS) - len(SPECIAL), 500])
def test_more_active_tokens_than_a_vocabulary_can_have_are_a_users_mistake(tmp_path: Path, active: int) -> None:
    source = save_language_model(tmp_path / "in")
    described = backbone(source, start_active=active, start_collection="any")
    with pytest.raises(UserError, match=rf"start_active: {active} is more than the 83 tokens of this vocabulary"):
        prepare_backbone(described, texts(), tmp_path / "out")


def test_padding_of_the_vocabulary_is_cut(tmp_path: Path) -> None:
    source = save_language_model(tmp_path / "in", vocabulary=len(TOKENS) + 11)
    prepare_backbone(backbone(source), [], tmp_path / "out")
    before, after = (AutoModelForMaskedLM.from_pretrained(tmp_path / name).eval() for name in ("in", "out"))
    batch = tokenizer()(texts(2), padding=True, return_tensors="pt")
    with torch.no_grad():
        assert torch.allclose(after(**batch).logits, before(**batch).logits[..., : len(TOKENS)], atol=1e-5)
    assert after.config.vocab_size == len(TOKENS)


def test_a_tokenizer_of_another_model_is_a_users_mistake(tmp_path: Path) -> None:
    source = save_language_model(tmp_path / "in", vocabulary=len(TOKENS) - 9)
    with pytest.raises(UserError, match="the tokenizer has 89 tokens, the model 80"):
        prepare_backbone(backbone(source), [], tmp_path / "out")


def test_another_architecture_is_a_users_mistake(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=len(TOKENS), n_embd=8, n_layer=1, n_head=1, n_positions=16)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "in")
    tokenizer().save_pretrained(tmp_path / "in")
    with pytest.raises(UserError, match="cannot be loaded as a masked language model") as error:
        prepare_backbone(backbone(tmp_path / "in"), [], tmp_path / "out")
    one_line(error)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all"])
def test_broken_weights_are_a_users_mistake(tmp_path: Path, content: bytes) -> None:
    source = save_language_model(tmp_path / "in")
    (source / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="cannot be loaded as a masked language model") as error:
        prepare_backbone(backbone(source), [], tmp_path / "out")
    one_line(error)


def test_a_broken_config_is_a_users_mistake(tmp_path: Path) -> None:
    source = save_language_model(tmp_path / "in")
    (source / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be loaded as a masked language model") as error:
        prepare_backbone(backbone(source), [], tmp_path / "out")
    one_line(error)
