"""Cross-encoders and monoT5 on small models in the hub's format."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TOKENS, save_language_model, texts, tokenizer
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from sparsemill.errors import UserError
from sparsemill.files import read_json, write_json
from sparsemill.progress import Progress
from sparsemill.study.models import CrossEncoderTeacher, MonoT5Teacher
from sparsemill.teachers.cross_encoder import CrossEncoder
from sparsemill.teachers.monot5 import MonoT5
from sparsemill.teachers.pair_model import TextScorer

INPUTS = ["input_ids", "token_type_ids", "attention_mask"]
QUERIES = ["bal dom", "kix", "lum bar mer dol"] * 3
DOCUMENTS = texts(9)


def save_classifier(folder: Path, labels: int) -> BertForSequenceClassification:
    torch.manual_seed(labels)
    config = BertConfig(
        vocab_size=len(TOKENS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.2,
        num_labels=labels,
    )
    model = BertForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    pair = tokenizer()
    pair.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    pair.save_pretrained(folder)
    settings = read_json(folder / "tokenizer_config.json")
    write_json(folder / "tokenizer_config.json", settings | {"model_input_names": INPUTS})
    return model


def cross_encoder(folder: Path, **options: Any) -> CrossEncoder:
    spec = {"kind": "cross_encoder", "weights": {"kind": "folder", "path": str(folder)}, "max_length": 64, **options}
    return CrossEncoder(CrossEncoderTeacher.model_validate(spec), device="cpu")


@pytest.mark.parametrize("tokens", [1, 60, 100_000])
def test_one_label_is_the_logit_of_sentence_transformers(tmp_path: Path, tokens: int) -> None:
    from sentence_transformers import CrossEncoder as Theirs

    save_classifier(tmp_path, 1)
    theirs = Theirs(str(tmp_path), device="cpu", activation_fn=torch.nn.Identity(), max_length=12)
    expected = theirs.predict(list(zip(QUERIES, DOCUMENTS, strict=True)))
    found = cross_encoder(tmp_path, max_length=12, tokens_per_batch=tokens).score(QUERIES, DOCUMENTS)
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-5)
    assert found.std() > 0.01


def test_two_labels_are_log_odds(tmp_path: Path) -> None:
    model = save_classifier(tmp_path, 2)
    scorer = cross_encoder(tmp_path)
    batch = scorer.tokenizer(QUERIES[:1], DOCUMENTS[:1], return_tensors="pt")
    with torch.no_grad():
        (probabilities,) = model(**batch).logits.softmax(1).tolist()
    assert batch["token_type_ids"].sum() > 0  # the second text is marked as such
    (found,) = scorer.score(QUERIES[:1], DOCUMENTS[:1])
    assert found == pytest.approx(np.log(probabilities[1] / probabilities[0]), abs=1e-5)


def test_models_that_are_no_cross_encoder(tmp_path: Path) -> None:
    save_classifier(tmp_path / "three", 3)
    with pytest.raises(UserError, match="has 3 labels"):
        cross_encoder(tmp_path / "three")
    with pytest.raises(UserError, match="not a trained sequence classifier"):
        cross_encoder(save_language_model(tmp_path / "bare"))


# --- monoT5 -------------------------------------------------------------------------------------------------------

PIECES = ["<pad>", "</s>", "<unk>", "▁true", "▁false", "▁Query:", "▁Document:", "▁Relevant:", "▁not", "▁{query}"]


def save_t5(folder: Path) -> T5ForConditionalGeneration:
    words = [f"▁{word}" for word in sorted({word for text in [*QUERIES, *DOCUMENTS] for word in text.split()})]
    backend = Tokenizer(models.WordLevel({token: row for row, token in enumerate([*PIECES, *words])}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in PIECES[:3]])
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(PIECES) + len(words),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
        initializer_factor=3.0,
    )
    model = T5ForConditionalGeneration(config).eval()
    model.save_pretrained(folder)
    return model


def monot5(folder: Path, **options: Any) -> MonoT5:
    spec = {"kind": "monot5", "weights": {"kind": "folder", "path": str(folder)}, **options}
    return MonoT5(MonoT5Teacher.model_validate(spec), device="cpu")


def test_monot5_is_the_first_word_of_the_answer(tmp_path: Path) -> None:
    model = save_t5(tmp_path)
    scorer = monot5(tmp_path, tokens_per_batch=80)
    expected = []
    for query, document in zip(QUERIES, DOCUMENTS, strict=True):
        batch = scorer.tokenizer(f"Query: {query} Document: {document} Relevant:", return_tensors="pt")
        with torch.no_grad():
            answer = model.generate(
                **batch, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True
            )
        true, false = answer.logits[0][0, 3].item(), answer.logits[0][0, 4].item()
        expected.append(-np.log1p(np.exp(false - true)))
    found = scorer.score(QUERIES, DOCUMENTS)
    assert np.allclose(found, expected, atol=1e-5)
    assert found.std() > 0.01
    assert (found < 0).all()


def test_a_long_document_is_cut_before_what_follows_it(tmp_path: Path) -> None:
    save_t5(tmp_path)
    scorer = monot5(tmp_path, max_length=9)
    (long, short) = scorer.features(["kix", "kix"], ["bal dom lum mer nox", "bal"])
    assert scorer.tokenizer.convert_ids_to_tokens(long["input_ids"]) == [
        *("▁Query:", "▁kix", "▁Document:", "▁bal", "▁dom", "▁lum", "▁mer", "▁Relevant:", "</s>")
    ]
    assert scorer.tokenizer.convert_ids_to_tokens(short["input_ids"])[-3:] == ["▁bal", "▁Relevant:", "</s>"]


def test_a_template_of_ones_own(tmp_path: Path) -> None:
    """Also one with braces, and texts that look like the template."""
    save_t5(tmp_path)
    scorer = monot5(tmp_path, template="{query} not {document}", true_token="▁not")
    (ids,) = scorer.features(["{document}"], ["{query}"])
    assert scorer.tokenizer.convert_ids_to_tokens(ids["input_ids"]) == ["<unk>", "▁not", "▁{query}", "</s>"]


def test_an_answer_that_is_no_token(tmp_path: Path) -> None:
    save_t5(tmp_path)
    with pytest.raises(UserError, match="true_token 'yes' is not in its vocabulary"):
        monot5(tmp_path, true_token="yes")


@pytest.mark.parametrize("template", ["{query}", "{document} {query}", "{query} {document} {query}"])
def test_templates_that_cannot_be_filled(template: str) -> None:
    with pytest.raises(ValueError, match=r"\{query\}"):
        MonoT5Teacher.model_validate(
            {"kind": "monot5", "weights": {"kind": "folder", "path": "x"}, "template": template}
        )


# --- both ---------------------------------------------------------------------------------------------------------


def test_texts_are_looked_up_by_index(tmp_path: Path) -> None:
    save_classifier(tmp_path, 1)
    model = cross_encoder(tmp_path)
    scorer = TextScorer(model, QUERIES[:3], DOCUMENTS, Progress("test", 4))
    queries, documents = np.array([2, 0, 2, 1], np.int32), np.array([8, 8, 0, 3], np.int32)
    expected = model.score([QUERIES[row] for row in queries], [DOCUMENTS[row] for row in documents])
    assert np.array_equal(scorer.score(queries, documents), expected)
    assert scorer.progress.done == 4
    assert scorer.score(queries[:0], documents[:0]).shape == (0,)
