"""What both sides of a comparison share: a model with random weights, texts of MS MARCO-like lengths, and options."""

import argparse
import json
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM, PreTrainedTokenizerFast

from sparsemill.models.backbone import sparse_start_bias
from sparsemill.models.encoder import build_encoder, query_weights, save_encoder

VOCABULARY = 30_522
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
QUERY_LENGTH = 16
SIZES = {"6x384": (6, 384, 12), "2x128": (2, 128, 2), "distilbert": (6, 768, 12)}
"""Layers, width, heads."""


@dataclass(frozen=True)
class Setting:
    """One comparison, as a worker gets it."""

    model: str
    folder: Path
    length: int
    fixed: bool
    device: str
    precision: str
    threads: int
    active: int
    head: str
    more: dict[str, Any] = field(default_factory=dict)


def parser(doc: str) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    found = argparse.ArgumentParser(description=doc.splitlines()[0])
    found.add_argument("--models", nargs="+", choices=SIZES, default=["6x384", "2x128"], help="layers x width")
    found.add_argument("--length", type=int, default=128, help="tokens kept of a document")
    found.add_argument("--fixed", action="store_true", help="every document has --length tokens")
    found.add_argument("--active", type=int, default=200, help="mean active tokens of a document at the start")
    found.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    found.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    found.add_argument("--threads", type=int, default=1)
    found.add_argument("--head", choices=["chunked", "triton"], default="chunked", help="our SPLADE head")
    found.add_argument("--repetitions", type=int, default=7)
    found.add_argument("--name", help="write results/NAME.json and results/NAME.md")
    return found


def lengths(count: int, *, limit: int, fixed: bool, seed: int = 0) -> list[int]:
    """Tokens of documents, [CLS] and [SEP] included: lognormal with mean 73 as in MS MARCO, cut at `limit`."""
    if fixed:
        return [limit] * count
    drawn = np.random.default_rng(seed).lognormal(mean=np.log(73) - 0.4**2 / 2, sigma=0.4, size=count)
    return [int(min(max(length, 8), limit)) for length in drawn]


def texts(tokens: list[int], *, seed: int = 1) -> list[str]:
    """One text per length; words are tokens, drawn by Zipf's law."""
    ranks = np.arange(1, VOCABULARY - len(SPECIAL) + 1)
    upto = (1 / ranks).cumsum()
    drawn = np.searchsorted(upto / upto[-1], np.random.default_rng(seed).random(sum(tokens) - 2 * len(tokens)), "right")
    words = iter([f"w{ranks[place]}" for place in drawn.tolist()])
    return [" ".join(islice(words, count - 2)) for count in tokens]


def _tokenizer() -> PreTrainedTokenizerFast:
    words = [*SPECIAL, *(f"w{rank}" for rank in range(1, VOCABULARY - len(SPECIAL) + 1))]
    backend = Tokenizer(models.WordPiece({word: row for row, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=512, **names)


def _language_model(model: str) -> Any:
    torch.manual_seed(0)
    layers, width, heads = SIZES[model]
    if model == "distilbert":
        return DistilBertForMaskedLM(DistilBertConfig(vocab_size=VOCABULARY))
    return BertForMaskedLM(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            initializer_range=0.05,  # so that documents differ
        )
    )


def write_retriever(folder: Path, model: str, *, active: int, length: int) -> None:
    """An inference-free retriever, random but for the bias with which documents have about `active` active tokens."""
    start = folder / "start"
    language_model, tokenizer = _language_model(model).eval(), _tokenizer()
    sample = texts(lengths(16, limit=length, fixed=False))
    bias = sparse_start_bias(language_model, tokenizer, sample, active=active, length=length)
    with torch.no_grad():
        language_model.get_output_embeddings().bias.fill_(bias)
    language_model.save_pretrained(start)
    tokenizer.save_pretrained(start)
    weights = query_weights(start, None)
    save_encoder(build_encoder(start, weights, query_length=QUERY_LENGTH, document_length=length), folder, weights)
    (folder / "facts.json").write_text(json.dumps({"parameters": language_model.num_parameters()}))
