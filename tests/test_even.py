"""Training on groups of like length gives the vectors and gradients of the padded batch."""

from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers.sparse_encoder.modules import Transformer
from tiny import save_language_model, texts

from sparsemill.files import read_json, write_json
from sparsemill.models import even
from sparsemill.models.even import EvenTransformer, use_even_transformer


def open_transformer(folder: Path, kind: str, *, dropout: bool = False) -> Transformer:
    save_language_model(folder, kind)
    if not dropout:
        config = read_json(folder / "config.json")
        write_json(folder / "config.json", {key: 0.0 if "drop" in key else value for key, value in config.items()})
    return Transformer(str(folder), transformer_task="fill-mask", max_seq_length=24).train()


@pytest.fixture(params=[False, True], ids=["even", "few shapes"])
def seen(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> list[tuple[int, int]]:
    """Shapes [texts, tokens] that the standard transformer gets; groups of at most 40 tokens, of both kinds."""
    shapes: list[tuple[int, int]] = []
    plain = Transformer.forward

    def forward(self: Any, features: dict[str, Any], **options: Any) -> Any:
        shapes.append(tuple(features["attention_mask"].shape))
        return plain(self, features, **options)

    monkeypatch.setattr(Transformer, "forward", forward)
    monkeypatch.setitem(even.TOKENS, "cpu", 40)
    monkeypatch.setattr(even, "FEW_SHAPES_TOKENS", 40)
    monkeypatch.setattr(even, "ONEDNN", request.param)
    return shapes


def run(transformer: Transformer) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Embeddings of real tokens, and the gradients of a sum over them."""
    transformer.zero_grad()
    features = transformer.preprocess(texts(9))
    found = transformer(features)["token_embeddings"]
    assert found.shape[:2] == features["attention_mask"].shape
    real = found[features["attention_mask"].bool()]
    if real.requires_grad:
        real.square().sum().backward()
    grown = {name: part.grad for name, part in transformer.named_parameters() if part.grad is not None}
    return real.detach(), grown


@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.parametrize("kind", ["bert", "distilbert", "modernbert", "roberta"])
def test_equals_the_padded_batch(
    tmp_path: Path, seen: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, kind: str, embedded: bool
) -> None:
    transformer = open_transformer(tmp_path, kind)
    expected, gradients = run(transformer)
    seen.clear()
    if not embedded:  # as for a model that reads ids alone
        monkeypatch.setattr(even, "_input", lambda model, features: ("input_ids", features["input_ids"]))
    use_even_transformer(transformer)
    found, grown = run(transformer)
    assert len(seen) > 2
    assert sum(rows for rows, _ in seen) == 9
    assert all(rows * tokens <= 40 for rows, tokens in seen)
    assert torch.allclose(found, expected, atol=1e-5)
    assert grown.keys() == gradients.keys()
    for name, gradient in grown.items():
        assert torch.allclose(gradient, gradients[name], rtol=1e-3, atol=2e-3), name


def test_dropout_is_drawn_from_the_seed(tmp_path: Path, seen: list[tuple[int, int]]) -> None:
    transformer = open_transformer(tmp_path, "bert", dropout=True)
    use_even_transformer(transformer)
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(run(transformer)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2], atol=1e-3)


def test_nothing_is_cut_outside_training(tmp_path: Path, seen: list[tuple[int, int]]) -> None:
    transformer = open_transformer(tmp_path, "bert").eval()
    use_even_transformer(transformer)
    with torch.no_grad():
        run(transformer)
    assert len(seen) == 1


def test_it_can_be_changed_back(tmp_path: Path) -> None:
    transformer = open_transformer(tmp_path, "bert")
    names = list(transformer.state_dict())
    use_even_transformer(transformer)
    assert type(transformer) is EvenTransformer
    assert list(transformer.state_dict()) == names
    use_even_transformer(transformer, even=False)
    assert type(transformer) is Transformer
