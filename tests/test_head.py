"""The head gives what `SpladePooling` gives, and can be exchanged for it and back."""

from pathlib import Path

import pytest
import torch
from sentence_transformers.sparse_encoder import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling
from tiny import TOKENS, language_model, padded, save_language_model, texts
from torch import nn

from sparsemill.errors import UserError
from sparsemill.models import head
from sparsemill.models.attention import NAME
from sparsemill.models.encoder import build_encoder, query_weights
from sparsemill.models.head import SpladeHead, _find_parent, attach_head, detach_head, max_logits_of

KINDS = ["bert", "distilbert"]


def build(folder: Path, kind: str) -> SparseEncoder:
    save_language_model(folder, kind)
    return build_encoder(folder, query_weights(folder, None), query_length=8, document_length=24).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_equal_those_of_the_standard_modules(tmp_path: Path, kind: str) -> None:
    encoder = build(tmp_path, kind)
    expected = encoder.encode_document(texts(), convert_to_sparse_tensor=False)
    attach_head(encoder)
    found = encoder.encode_document(texts(), convert_to_sparse_tensor=False)
    assert expected.shape == (24, len(TOKENS))
    assert (expected > 0).any(1).all()
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_those_of_the_standard_modules(tmp_path: Path, kind: str) -> None:
    encoder = build(tmp_path, kind)

    def gradients() -> dict[str, torch.Tensor]:
        encoder.zero_grad()
        encoder[0].sub_modules["document"][1].train()  # else it works in place, where autograd cannot follow
        features = encoder.preprocess(texts(6), task="document")
        encoder(features)["sentence_embedding"].square().sum().backward()
        model = encoder[0].sub_modules["document"][0].auto_model
        found = {name: part.grad for name, part in model.named_parameters() if part.grad is not None}
        return {name: gradient.clone() for name, gradient in found.items()}

    expected = gradients()
    attach_head(encoder)
    found = gradients()
    detach_head(encoder)
    # The decoder's own parameters are the head's while it is attached; the tied embeddings get their gradient.
    assert len(found) >= len(expected) - 2
    assert any("word_embeddings" in name for name in found)
    for name, gradient in found.items():
        assert torch.allclose(gradient, expected[name], rtol=1e-3, atol=1e-3), name


@pytest.mark.parametrize("kind", KINDS)
def test_detach_restores_model_and_vectors(tmp_path: Path, kind: str) -> None:
    encoder = build(tmp_path, kind)
    expected = encoder.encode_document(texts(3), convert_to_sparse_tensor=False)
    names = list(encoder.state_dict())
    decoder = encoder[0].sub_modules["document"][0].auto_model.get_output_embeddings()
    attach_head(encoder)
    detach_head(encoder)
    route = encoder[0].sub_modules["document"]
    assert isinstance(route[1], SpladePooling)
    assert route[0].auto_model.get_output_embeddings() is decoder
    assert list(encoder.state_dict()) == names
    assert torch.equal(encoder.encode_document(texts(3), convert_to_sparse_tensor=False), expected)


def test_logits_are_never_computed_with_the_head(tmp_path: Path) -> None:
    encoder = build(tmp_path, "bert")
    attach_head(encoder)
    transformer = encoder[0].sub_modules["document"][0]
    features = transformer(encoder.preprocess(texts(2), task="document"))
    assert features["token_embeddings"].shape[-1] == 32


def test_padding_has_no_say() -> None:
    decoder = nn.Linear(4, 9)
    module = SpladeHead(decoder, parent=nn.Module(), name="decoder", pooling=SpladePooling("max"))
    hidden = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    mask = padded([[1, 2, 3], [1]])["attention_mask"]
    wild = hidden.clone()
    wild[1, 1:] = 1e6
    first, second = (
        module({"token_embeddings": h, "attention_mask": mask})["sentence_embedding"] for h in (hidden, wild)
    )
    assert torch.equal(first, second)
    expected = torch.log1p(torch.relu(decoder(hidden[1, :1]).amax(0)))
    assert torch.allclose(first[1], expected, atol=1e-6)
    assert module.get_embedding_dimension() == 9


def test_saving_with_the_head_is_refused(tmp_path: Path) -> None:
    encoder = build(tmp_path / "start", "bert")
    attach_head(encoder)
    with pytest.raises(RuntimeError, match="detach_head"):
        encoder.save_pretrained(str(tmp_path / "model"))


def test_the_kernel_gives_the_vectors_of_the_standard_modules(tmp_path: Path) -> None:
    """By Triton's interpreter where there is no GPU."""
    encoder = build(tmp_path, "bert")
    expected = encoder.encode_document(texts(4), convert_to_sparse_tensor=False)
    attach_head(encoder)
    encoder[0].sub_modules["document"][1].max_logits = max_logits_of("triton", device="cuda")
    if torch.cuda.is_available():
        encoder.cuda()
    found = encoder.encode_document(texts(4), convert_to_sparse_tensor=False)
    assert torch.allclose(found.cpu(), expected, atol=1e-4)


def test_the_kernel_is_refused_without_a_gpu_and_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="head: triton runs on a CUDA device, this stage runs on cpu; set head: chunk"):
        max_logits_of("triton", device="cpu")
    monkeypatch.setattr(head, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="head: triton is not installed; run `pip install"):
        max_logits_of("triton", device="cuda")


def test_the_kernel_is_refused_for_sums(tmp_path: Path) -> None:
    encoder = build(tmp_path, "bert")
    encoder[0].sub_modules["document"][1].pooling_strategy = "sum"
    with pytest.raises(UserError, match="head: triton computes a maximum, not representation: sum"):
        attach_head(encoder, kind="triton", device="cuda")


def test_a_model_without_that_decoder_is_a_users_mistake() -> None:
    with pytest.raises(UserError, match="not a masked language model"):
        _find_parent(language_model(), nn.Linear(2, 2))


@pytest.mark.parametrize(("device", "attention"), [("cpu", NAME), ("cuda", "sdpa")])
def test_attention_is_ours_on_a_cpu_while_attached(tmp_path: Path, device: str, attention: str) -> None:
    encoder = build(tmp_path, "bert")
    config = encoder[0].sub_modules["document"][0].auto_model.config
    attach_head(encoder, device=device)
    assert config._attn_implementation == attention
    detach_head(encoder)
    assert config._attn_implementation == "sdpa"
