"""Attention with dropout that keeps less for its backward pass: the values of torch's operator, to the bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers.sparse_encoder.modules import Transformer
from tiny import save_language_model, texts
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sparsemill.models import attention as module
from sparsemill.models.attention import NAME, attention, use_lean_attention

DROPOUT = 0.25


def inputs(kind: torch.dtype, *, length: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values [3, 2, length, 8], laid out as models make them."""
    draw = torch.Generator().manual_seed(0)
    made = [torch.randn(3, length, 2, 8, generator=draw).to(kind).transpose(1, 2).requires_grad_() for _ in range(3)]
    return made[0], made[1], made[2]


def masks(length: int = 20) -> Tensor:
    """[3, 1, length, length]: one text is whole, one has 12 tokens, and one none, as no model's has."""
    seen = torch.arange(length) < torch.tensor([length, 12, 0])[:, None]
    return seen[:, None, None, :].expand(3, 1, length, length)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_operator_of_torch(kind: torch.dtype, masked: bool) -> None:
    query, key, value = inputs(kind)
    mask = masks() if masked else None
    torch.manual_seed(1)
    expected = scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=DROPOUT, scale=0.3)
    after = torch.rand(1)
    torch.manual_seed(1)
    found = attention(query, key, value, mask, scale=0.3, dropout=DROPOUT)
    assert torch.equal(found, expected)
    assert found.dtype == kind
    assert torch.equal(torch.rand(1), after)
    gradient = torch.randn(found.shape).to(kind)
    for one, other in zip(
        torch.autograd.grad(found, (query, key, value), gradient),
        torch.autograd.grad(expected, (query, key, value), gradient),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_by_hand() -> None:
    """Scores 0 and ln 3 give 1/4 and 3/4; dropout of one half keeps some, doubled."""
    query, key = torch.tensor([[[[1.0]]]]), torch.tensor([[[[0.0], [3.0]]]]).log1p() * torch.log(torch.tensor(3.0))
    key = key / torch.log(torch.tensor(4.0))
    value = torch.tensor([[[[1.0], [100.0]]]])
    found = {round(attention(query, key, value, None, scale=1.0, dropout=0.5).item(), 4) for _ in range(60)}
    assert found == {0.0, 0.5, 150.0, 150.5}


def kept(compute: Any) -> int:
    """Bytes of storage that a graph keeps for its backward pass."""
    storages = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = compute()
    assert result.requires_grad
    return sum(storage.nbytes() for storage in storages.values())


def test_keeps_a_byte_of_each_pair() -> None:
    query, key, value = inputs(torch.bfloat16, length=100)
    pairs, own = 3 * 2 * 100 * 100, 3 * query.nbytes
    lean = kept(lambda: attention(query, key, value, None, scale=0.3, dropout=DROPOUT))
    assert lean == pairs + own
    assert kept(lambda: scaled_dot_product_attention(query, key, value, dropout_p=DROPOUT)) >= 12 * pairs


def step(transformer: Transformer, *, bf16: bool) -> list[Tensor]:
    """Embeddings and gradients of a step with dropout."""
    torch.manual_seed(3)
    transformer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        found = transformer(transformer.preprocess(texts(6)))["token_embeddings"]
    found.square().sum().backward()
    return [found.detach(), *(part.grad for part in transformer.parameters() if part.grad is not None)]


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("kind", ["bert", "distilbert", "modernbert", "roberta"])
def test_models_train_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, bf16: bool) -> None:
    """Also by gradient checkpointing, which computes a layer again; ours is really used, in training alone."""
    calls = []

    def counted(*arguments: Any, **options: Any) -> Tensor:
        calls.append(1)
        return attention(*arguments, **options)

    monkeypatch.setattr(module, "attention", counted)
    save_language_model(tmp_path, kind)
    transformer = Transformer(str(tmp_path), transformer_task="fill-mask", max_seq_length=24).train()
    config = transformer.auto_model.config
    for name in ("attention_dropout", "attention_probs_dropout_prob"):
        if hasattr(config, name):
            setattr(config, name, DROPOUT)
    for part in transformer.modules():
        if hasattr(part, "attention_dropout"):
            part.attention_dropout = DROPOUT
    expected = step(transformer, bf16=bf16)
    assert not calls
    use_lean_attention(transformer.auto_model)
    found = step(transformer, bf16=bf16)
    assert calls
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    calls.clear()
    transformer.eval()
    transformer(transformer.preprocess(texts(3)))
    assert not calls
    transformer.train().auto_model.gradient_checkpointing_enable()
    found = step(transformer, bf16=bf16)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_put_in_and_taken_out(tmp_path: Path) -> None:
    """A saved model knows nothing of it, and a model that attends otherwise is left alone."""
    save_language_model(tmp_path)
    model = Transformer(str(tmp_path), transformer_task="fill-mask").auto_model
    use_lean_attention(model)
    assert model.config._attn_implementation == NAME
    model.save_pretrained(tmp_path / "saved")
    assert NAME not in (tmp_path / "saved" / "config.json").read_text()
    use_lean_attention(model, lean=False)
    assert model.config._attn_implementation == "sdpa"
    model.set_attn_implementation("eager")
    use_lean_attention(model)
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize("special", ["a mask by head", "added masks", "double precision", "no dropout"])
def test_what_is_special_is_left_to_torch(monkeypatch: pytest.MonkeyPatch, special: str) -> None:
    monkeypatch.setattr(module, "attention", lambda *arguments, **options: pytest.fail("ours"))
    query, key, value = inputs(torch.float64 if special == "double precision" else torch.float32)
    mask = {"a mask by head": masks().expand(3, 2, 20, 20), "added masks": masks().float()}.get(special, masks())
    dropout = 0.0 if special == "no dropout" else DROPOUT
    torch.manual_seed(1)
    found, _ = module._forward(torch.nn.Module(), query, key, value, mask, dropout=dropout)
    torch.manual_seed(1)
    expected = scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    assert torch.equal(found, expected.transpose(1, 2))


@pytest.mark.parametrize("broadcast", [False, True])
def test_one_mask_for_all_texts_and_tokens(broadcast: bool) -> None:
    query, key, value = inputs(torch.float32)
    mask = masks()[1:2, :, :1] if broadcast else masks()[1:2]
    torch.manual_seed(1)
    found = attention(query, key, value, mask, scale=0.3, dropout=DROPOUT)
    torch.manual_seed(1)
    assert torch.equal(
        found, scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=DROPOUT, scale=0.3)
    )


@pytest.mark.parametrize("causal", [False, True])
def test_a_decoder_stays_causal(causal: bool) -> None:
    """transformers leaves the mask out and lets torch see what comes before; that is not ours."""
    layer = torch.nn.Module()
    layer.is_causal = causal
    query, key, value = inputs(torch.float32)
    torch.manual_seed(1)
    found, _ = module._forward(layer, query, key, value, None, dropout=DROPOUT)
    torch.manual_seed(1)
    expected = scaled_dot_product_attention(query, key, value, dropout_p=DROPOUT, is_causal=causal)
    assert torch.equal(found, expected.transpose(1, 2))
