"""A backbone with fewer tokens reads a collection's documents as the whole one does, with the same logits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import LETTERS, SPECIAL, TOKENS, WORDS, language_model, rows, texts, tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForMaskedLM, AutoTokenizer

from sparsemill.errors import UserError
from sparsemill.models.backbone import prepare_backbone
from sparsemill.models.encoder import build_encoder, query_weights
from sparsemill.models.vocabulary import cut_model, cut_tokenizer, kept_tokens
from sparsemill.study.models import Backbone

READ = ["bal dom xbal", "Dom [SEP] quiz"]
"""Holds two of the words; the others are spelled by letters."""
SPELLED = [token for token in TOKENS if len(token.removeprefix("##")) == 1]
KEPT = [*SPECIAL, "bal", "dom", *SPELLED]


def prepared(folder: Path, kind: str = "bert", **options: Any) -> tuple[Any, Any]:
    language_model(kind).save_pretrained(folder / "in")
    tokenizer().save_pretrained(folder / "in")
    described = {"weights": {"kind": "folder", "path": str(folder / "in")}, "vocabulary": ["any"], **options}
    facts = prepare_backbone(Backbone.model_validate(described), texts(3), folder / "out", vocabulary=iter(READ))
    assert facts["tokens"] == len(KEPT)
    return AutoModelForMaskedLM.from_pretrained(folder / "out").eval(), AutoTokenizer.from_pretrained(folder / "out")


def test_kept_are_tokens_of_the_texts_special_tokens_and_characters() -> None:
    kept = kept_tokens(tokenizer().backend_tokenizer, READ)
    assert [TOKENS[row] for row in kept] == KEPT


def test_characters_of_other_scripts_are_kept_where_a_text_has_them() -> None:
    vocabulary = {token: row for row, token in enumerate(["[UNK]", "a", "é", "火", "水", "##水"])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.add_special_tokens(["[UNK]"])
    assert kept_tokens(backend, ["火"]) == [0, 1, 3]


def test_documents_read_as_before(tmp_path: Path) -> None:
    _, cut = prepared(tmp_path)
    whole = tokenizer()
    for text in (*READ, "quiz " + " ".join(LETTERS)):
        before, after = whole(text)["input_ids"], cut(text)["input_ids"]
        assert cut.convert_ids_to_tokens(after) == whole.convert_ids_to_tokens(before)
    assert cut.get_vocab() == {token: row for row, token in enumerate(KEPT)}
    assert [cut.pad_token_id, cut.unk_token_id, cut.cls_token_id, cut.sep_token_id, cut.mask_token_id] == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_every_form_of_a_saved_tokenizer_is_numbered_anew(tmp_path: Path) -> None:
    tokens = ["[UNK]", "a", "[CLS]", "b", "[SEP]", "[PAD]"]
    backend = Tokenizer(models.WordPiece({token: row for row, token in enumerate(tokens)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(["[UNK]", "[CLS]", "[SEP]", "[PAD]"])
    backend.post_processor = processors.BertProcessing(("[SEP]", 4), ("[CLS]", 2))
    backend.enable_padding(pad_id=5, pad_token="[PAD]")
    backend.save(str(tmp_path / "tokenizer.json"))
    cut_tokenizer(tmp_path, [0, 2, 3, 4, 5])
    found = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert [encoding.ids for encoding in found.encode_batch(["b b", "b"])] == [[1, 2, 2, 3], [1, 2, 3, 4]]
    assert found.get_vocab() == {"[UNK]": 0, "[CLS]": 1, "b": 2, "[SEP]": 3, "[PAD]": 4}


def test_a_word_that_was_cut_away_is_spelled(tmp_path: Path) -> None:
    _, cut = prepared(tmp_path)
    assert "kil" in WORDS
    assert cut.tokenize("kil") == ["k", "##i", "##l"]


@pytest.mark.parametrize("kind", ["bert", "distilbert", "modernbert"])
def test_logits_of_what_is_left_are_those_of_the_whole_model(tmp_path: Path, kind: str) -> None:
    model, cut = prepared(tmp_path, kind)
    whole, batch = language_model(kind), cut(READ, padding=True, return_tensors="pt")
    before = tokenizer()(READ, padding=True, return_tensors="pt")
    columns = [TOKENS.index(token) for token in KEPT]
    mask = before["attention_mask"].bool()
    with torch.no_grad():
        expected = whole(before["input_ids"], before["attention_mask"]).logits[mask][:, columns]
        found = model(batch["input_ids"], batch["attention_mask"]).logits[mask]
    assert torch.allclose(found, expected, atol=1e-5)
    assert model.config.vocab_size == len(KEPT)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tied == (whole.get_output_embeddings().weight is whole.get_input_embeddings().weight)


def test_ids_in_the_config_are_numbered_anew() -> None:
    model = language_model("modernbert")
    model.config.mask_token_id = 4
    cut_model(model, [0, 2, 3, 7])
    found = model.config
    assert (found.pad_token_id, found.cls_token_id, found.sep_token_id, found.mask_token_id) == (0, 1, 2, None)
    assert model.get_input_embeddings().padding_idx == 0


def test_vectors_have_the_tokens_that_are_left(tmp_path: Path) -> None:
    prepared(tmp_path, start_active=5, start_collection="any")
    folder = tmp_path / "out"
    encoder = build_encoder(folder, query_weights(folder, None), query_length=8, document_length=64).eval()
    vectors = rows(encoder.encode_document(texts(3)))
    assert vectors.shape == (3, len(KEPT))
    assert (vectors > 0).sum(1).mean() == pytest.approx(5, abs=0.5)
    assert not vectors[:, : len(SPECIAL)].any()


def test_an_uncut_model_keeps_its_tokens(tmp_path: Path) -> None:
    prepared(tmp_path)
    described = Backbone.model_validate({"weights": {"kind": "folder", "path": str(tmp_path / "in")}})
    assert prepare_backbone(described, [], tmp_path / "all", vocabulary=READ)["tokens"] == len(TOKENS)


def test_another_kind_of_tokenizer_is_a_users_mistake() -> None:
    with pytest.raises(UserError, match="only WordPiece can be cut, this tokenizer is BPE"):
        kept_tokens(Tokenizer(models.BPE({"a": 0}, [])), READ)
