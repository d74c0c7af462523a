"""A tiny masked language model and an invented collection, small enough to train on within a second."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from score_tables import Pairs, write_scores
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

from sparsemill.data.candidates import Candidate, write_candidates
from sparsemill.data.collection import Document, Qrel, Query, write_collection
from sparsemill.files import write_json
from sparsemill.teachers.cache import load_embeddings, save_matrix
from sparsemill.training.files import SetFiles

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [
    first + second for first in ("ba", "do", "ki", "lu", "me", "no", "pa", "ru") for second in ("l", "m", "r", "x")
]
"""32 invented words, each one word piece."""
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
TOKENS = [*SPECIAL, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
WIDTH = 32
TOPICS = 24


def tokenizer() -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer with BERT's special tokens."""
    backend = Tokenizer(models.WordPiece({token: row for row, token in enumerate(TOKENS)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=64,
    )


def language_model(kind: str = "bert", *, seed: int = 0, vocabulary: int = len(TOKENS)) -> Any:
    """A random masked language model of two layers; wide initial weights, so that logits differ from each other."""
    torch.manual_seed(seed)
    if kind == "distilbert":
        config = DistilBertConfig(
            vocab_size=vocabulary, dim=WIDTH, hidden_dim=64, n_layers=2, n_heads=2, max_position_embeddings=64
        )
        config.initializer_range = 0.2
        return DistilBertForMaskedLM(config).eval()
    if kind == "modernbert":
        return ModernBertForMaskedLM(_modernbert(vocabulary)).eval()
    bert = (RobertaConfig if kind == "roberta" else BertConfig)(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.2,
        pad_token_id=0,
    )
    return (RobertaForMaskedLM if kind == "roberta" else BertForMaskedLM)(bert).eval()


def _modernbert(vocabulary: int) -> ModernBertConfig:
    return ModernBertConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        global_attn_every_n_layers=2,
        local_attention=8,
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        cls_token_id=2,
        sep_token_id=3,
    )


def save_language_model(folder: Path, kind: str = "bert", *, seed: int = 0, vocabulary: int = len(TOKENS)) -> Path:
    """Write the model and its tokenizer in the hub's format; returns the folder."""
    language_model(kind, seed=seed, vocabulary=vocabulary).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def idf_table() -> dict[str, float]:
    """An IDF for every token, all different, special tokens at 1."""
    return {token: 1.0 if token in SPECIAL else 0.5 + row / 32 for row, token in enumerate(TOKENS)}


def topic_words(topic: int) -> list[str]:
    """Three words of a topic; neighbouring topics share some."""
    return [WORDS[(topic * step + shift) % len(WORDS)] for step, shift in ((1, 0), (3, 7), (5, 11))]


def texts(count: int = TOPICS) -> list[str]:
    """Documents of different lengths, one per topic."""
    return [" ".join(topic_words(topic) * (1 + topic % 4)) for topic in range(count)]


def write_inputs(folder: Path, *, topics: int = TOPICS) -> dict[str, Any]:
    """Everything that `train` reads: start, collection, candidates, idf, targets, and two teachers' embeddings.

    Query i is about document i; both teachers agree on that and differ in the rest.
    """
    places = {name: folder / name for name in ("start", "collection", "candidates", "targets", "one", "two")}
    for place in places.values():
        place.mkdir(parents=True)
    save_language_model(places["start"])
    documents = [Document(f"d{row}", topic_words(row)[0], text) for row, text in enumerate(texts(topics))]
    queries = [Query(f"q{row}", " ".join(topic_words(row)[:2])) for row in range(topics)]
    qrels = {"train": [Qrel(f"q{row}", f"d{row}", 1) for row in range(topics)]}
    write_collection(places["collection"], documents, queries, qrels)
    mined = {f"q{row}": _candidates(row, topics) for row in range(topics)}
    write_candidates(places["candidates"], mined)
    for number, name in enumerate(("one", "two")):
        _write_embeddings(places[name], topics, seed=number)
    _write_targets(places, mined, topics)
    write_json(folder / "idf.json", idf_table())
    return input_places(folder)


def input_places(folder: Path) -> dict[str, Any]:
    """Where `write_inputs` has put everything."""
    places = {name: folder / name for name in ("start", "collection", "candidates", "targets", "one", "two")}
    return {
        "start": places["start"],
        "collection": places["collection"],
        "candidates": places["candidates"],
        "idf": folder / "idf.json",
        "targets": places["targets"],
        "embeddings": [[places["one"]], [places["two"]]],
    }


def training_inputs(inputs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `train`, from what `write_inputs` returns."""
    folders = {name: inputs[name] for name in ("collection", "candidates", "targets", "embeddings")}
    kept = {name: inputs[name] for name in ("start", "query_start", "idf") if name in inputs}
    return {**kept, "sets": [SetFiles(**folders)]}


def _candidates(row: int, topics: int) -> list[Candidate]:
    ranked = [row, *((row + step) % topics for step in (1, 2, 5, 9, 13))]
    return [Candidate(f"d{other}", rank, 10.0 - rank, other == row) for rank, other in enumerate(ranked, start=1)]


def _write_embeddings(folder: Path, topics: int, *, seed: int) -> None:
    generator = np.random.default_rng(seed)
    documents = generator.normal(size=(topics, 8))
    save_matrix(folder, "documents", documents)
    save_matrix(folder, "queries", documents + generator.normal(scale=0.1, size=documents.shape))


def _write_targets(places: dict[str, Path], mined: dict[str, list[Candidate]], topics: int) -> None:
    pairs = Pairs(
        [query for query, found in mined.items() for _ in found],
        [candidate.doc_id for found in mined.values() for candidate in found],
    )
    queries, documents = ([int(name[1:]) for name in names] for names in pairs)
    scores = load_embeddings([places["one"]]).pairs(queries, documents)
    write_scores(places["targets"] / "scores.parquet", pairs, scores)


def rows(matrix: Any) -> np.ndarray:
    """Dense float32 rows of whatever an encoder returns."""
    if hasattr(matrix, "to_dense"):
        return np.asarray(matrix.to_dense().cpu().float().numpy())
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=np.float32)


def padded(ids: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    """A batch of token ids with its mask."""
    length = max(map(len, ids))
    table = [[*row, *[0] * (length - len(row))] for row in ids]
    mask = [[1] * len(row) + [0] * (length - len(row)) for row in ids]
    return {"input_ids": torch.tensor(table), "attention_mask": torch.tensor(mask)}
