"""Encoding a corpus: order, batching, empty texts."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers.sparse_encoder import SparseEncoder
from tiny import TOKENS, rows, save_language_model, texts
from transformers import AutoTokenizer

from sparsemill.errors import UserError
from sparsemill.models import encode as encode_module
from sparsemill.models import ready_batches as ready_batches_module
from sparsemill.models.encode import encode_texts, load_encoder
from sparsemill.models.encoder import build_encoder, query_weights, save_encoder
from sparsemill.models.head import attach_head, use_bf16_weights, use_screened_logits
from sparsemill.models.max_logits import max_logits
from sparsemill.models.ready_batches import SLICE, _padded, _token_ids, ready_batches
from sparsemill.models.screened_logits import ScreenedLogits

TEXTS = [*texts(), "zz yy", "bal", " ".join(texts(6))]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    start = save_language_model(folder / "start")
    weights = query_weights(start, None)
    save_encoder(build_encoder(start, weights, query_length=8, document_length=24), folder, weights)
    return folder


def encode(
    model: Path, documents: list[str], *, tokens: int = 64, precision: str = "fp32", length: int = 24
) -> np.ndarray:
    encoder = load_encoder(model, length=length, device="cpu")
    vectors = encode_texts(encoder, documents, task="document", length=length, tokens=tokens, precision=precision)
    assert vectors.dtype == np.float32
    assert vectors.has_sorted_indices
    assert (vectors.data > 0).all()
    return rows(vectors)


@pytest.mark.parametrize("by_bf16", [False, True])
@pytest.mark.parametrize("tokens", [1, 40, 10_000])
def test_equals_sentence_transformers_whatever_the_batches(
    model: Path, monkeypatch: pytest.MonkeyPatch, tokens: int, by_bf16: bool
) -> None:
    """Also where the processor multiplies bfloat16, so that the head looks there for what is positive."""
    monkeypatch.setattr(encode_module, "multiplies_bf16", lambda device: by_bf16)
    expected = rows(SparseEncoder(str(model / "model"), device="cpu").encode_document(TEXTS, batch_size=5))
    assert np.allclose(encode(model, TEXTS, tokens=tokens), expected, atol=1e-5)


def test_rows_keep_the_order_of_the_texts(model: Path) -> None:
    assert np.allclose(encode(model, TEXTS[::-1]), encode(model, TEXTS)[::-1], atol=1e-5)


def test_an_empty_text_gives_an_empty_row(model: Path) -> None:
    """sentence-transformers encodes [CLS] [SEP] there, so that an empty document is found by any query."""
    vectors = encode(model, ["bal", "", "  \n", "dom"])
    assert vectors.any(axis=1).tolist() == [True, False, False, True]
    theirs = rows(SparseEncoder(str(model / "model"), device="cpu").encode_document([""]))
    assert theirs.any()


def test_nothing_gives_no_rows(model: Path) -> None:
    assert encode(model, []).shape == (0, len(TOKENS))
    assert encode(model, ["", " "]).shape == (2, len(TOKENS))


def test_documents_are_cut_at_the_length_asked_for(model: Path) -> None:
    short = SparseEncoder(str(model / "model"), device="cpu")
    short[0].sub_modules["document"][0].max_seq_length = 6
    assert np.allclose(encode(model, TEXTS, length=6), rows(short.encode_document(TEXTS)), atol=1e-5)


def test_a_length_above_the_positions_is_refused(model: Path) -> None:
    with pytest.raises(UserError, match=r"encode_length: 10000 tokens, but the model reads at most 64"):
        load_encoder(model, length=10_000, device="cpu")


def test_bf16_is_close_to_fp32(model: Path) -> None:
    """Also to what sentence-transformers makes of bfloat16 weights, which rounds the decoder's bias too."""
    exact, rough = encode(model, TEXTS), encode(model, TEXTS, precision="bf16")
    assert not np.array_equal(exact, rough)
    assert np.abs(exact - rough).max() < 0.1
    encoder = SparseEncoder(str(model / "model"), device="cpu")
    encoder[0].sub_modules["document"].bfloat16()
    assert np.abs(rows(encoder.encode_document(TEXTS).float()) - rough).max() < 0.1


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("length", [4, 24])
def test_tokens_are_the_tokenizers(model: Path, side: str, length: int) -> None:
    """Also after a call that left other settings in it."""
    tokenizer = AutoTokenizer.from_pretrained(model / "start", truncation_side=side)
    documents = [*TEXTS, "", "[MASK] bal"]
    expected = tokenizer(documents, truncation=True, max_length=length)["input_ids"]
    tokenizer(TEXTS, padding="max_length", truncation=True, max_length=30)
    assert _token_ids(documents, tokenizer, length=length) == expected


@pytest.mark.parametrize("longest", [3, 5])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_the_tokenizers(model: Path, side: str, longest: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model / "start", padding_side=side)
    ids = [[4, 5, 6], [7], [8, 9]]
    expected = tokenizer.pad({"input_ids": ids}, return_tensors="pt", padding="max_length", max_length=longest)
    found = _padded(ids, tokenizer, longest=longest)
    assert found.keys() == {"input_ids", "attention_mask"}
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


@pytest.mark.parametrize(
    ("precision", "onednn", "few"), [("bf16", True, True), ("bf16", False, False), ("fp32", True, False)]
)
def test_batches_of_half_precision_have_few_shapes(
    model: Path, monkeypatch: pytest.MonkeyPatch, precision: str, onednn: bool, few: bool
) -> None:
    """oneDNN keeps a kernel for each; 24 tokens at most, so lengths of 16 and 24, two or one of them in 40 tokens."""
    monkeypatch.setattr(ready_batches_module, "ONEDNN", onednn)
    tokenizer = AutoTokenizer.from_pretrained(model / "start")
    documents = [" ".join(["bal"] * count) for count in (2, 21, 9, 12, 30, 14, 1)]
    options: dict[str, Any] = {"length": 24, "tokens": 40, "device": "cpu", "precision": precision}
    found = list(ready_batches(documents, tokenizer, **options))
    assert sorted(row for batch in found for row in batch.rows) == list(range(len(documents)))
    shapes = [tuple(batch.features["input_ids"].shape) for batch in found]
    assert (set(shapes) <= {(1, 24), (2, 16), (1, 16)}) == few
    (alone,) = ready_batches(documents[:1], tokenizer, **options)
    assert alone.features["input_ids"].shape == (1, alone.lengths[0])
    assert all(batch.features["attention_mask"].sum(1).tolist() == batch.lengths for batch in found)


def test_slices_change_nothing(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = encode(model, TEXTS)
    monkeypatch.setitem(SLICE, "cpu", 3)
    assert np.allclose(encode(model, TEXTS), expected, atol=1e-5)


def test_memory_is_given_back_every_so_many_batches(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(encode_module, "give_back_freed_memory", lambda: given.append(1))
    encode(model, TEXTS, tokens=1)
    assert len(given) == len(TEXTS) // encode_module.GIVE_BACK
    monkeypatch.setattr(encode_module, "GIVE_BACK", 3)
    given.clear()
    encode(model, TEXTS, tokens=1)
    assert len(given) == len(TEXTS) // 3 > 0


def test_bf16_weights_leave_the_bias_of_the_decoder(model: Path) -> None:
    """Biases reach -1e4 and are added to float32 maxima; query weights are no transformer's."""
    encoder = load_encoder(model, length=24, device="cpu")
    transformer, head = encoder[0].sub_modules["document"]
    bias = head.decoder.bias.clone()
    use_bf16_weights(encoder)
    assert {value.dtype for value in transformer.parameters()} == {torch.bfloat16}
    assert head.decoder.weight.dtype == torch.bfloat16
    assert torch.equal(head.decoder.bias, bias)
    assert {value.dtype for value in encoder[0].sub_modules["query"].parameters()} == {torch.float32}


def test_bf16_weights_leave_buffers(tmp_path: Path) -> None:
    """In bfloat16 the rotary frequencies would be half a radian off at the end of a long text."""
    source = save_language_model(tmp_path / "in", "modernbert")
    encoder = build_encoder(source, query_weights(source, None), query_length=8, document_length=24)
    attach_head(encoder, kind="chunked", device="cpu")
    use_bf16_weights(encoder)
    transformer, _ = encoder[0].sub_modules["document"]
    frequencies = {name: value for name, value in transformer.named_buffers() if name.endswith("inv_freq")}
    assert frequencies
    assert {value.dtype for value in frequencies.values()} == {torch.float32}
    assert {value.dtype for value in transformer.parameters()} == {torch.bfloat16}


def test_screening_is_for_float32_and_set_up_once(model: Path) -> None:
    encoder = load_encoder(model, length=24, device="cpu")
    head = encoder[0].sub_modules["document"][1]
    use_screened_logits(encoder)
    first = head.max_logits
    assert isinstance(first, ScreenedLogits)
    use_screened_logits(encoder)
    assert head.max_logits is first
    other = load_encoder(model, length=24, device="cpu")
    use_bf16_weights(other)
    use_screened_logits(other)
    assert other[0].sub_modules["document"][1].max_logits is max_logits


class Stream:
    """Stands for a stream of CUDA; torch numbers them by turns."""

    made = 0

    def __init__(self, *, priority: int = 0) -> None:
        self.number, self.priority = Stream.made, priority
        Stream.made += 1

    def wait_stream(self, other: object) -> None:
        pass


def test_every_call_has_the_same_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream keeps what it frees to itself, so that a block of texts after another would take ever more of a GPU."""
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    monkeypatch.setattr(encode_module, "_gpu_streams", cache(encode_module._gpu_streams.__wrapped__))
    for _ in range(3):
        lanes, taking = encode_module._streams("cuda")
        assert [stream.number for stream in (*lanes, taking)] == [0, 1, 2]
    assert taking.priority < 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("head", ["chunked", "triton"])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.1)])
@pytest.mark.parametrize("size", [2, 1024])
def test_a_gpu_encodes_as_a_cpu(
    model: Path, monkeypatch: pytest.MonkeyPatch, head: str, precision: str, tolerance: float, size: int
) -> None:
    """Also in several slices and batches, of which the last is taken when no other follows."""
    monkeypatch.setitem(SLICE, "cuda", size)
    encoder = load_encoder(model, length=24, device="cuda", head=head)
    vectors = encode_texts(encoder, TEXTS, task="document", length=24, tokens=64, precision=precision)
    assert np.abs(rows(vectors) - encode(model, TEXTS)).max() < tolerance
