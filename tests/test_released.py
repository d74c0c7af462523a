"""Released checkpoints in the hub's formats: vectors are those of sentence-transformers, or of the plain formula."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from released_formats import modules, save_opensearch, save_router
from sentence_transformers.sparse_encoder import SparseEncoder
from test_remote_code import CODE
from tiny import SPECIAL, TOKENS, idf_table, language_model, rows, save_language_model, texts, tokenizer

from sparsemill.errors import UserError
from sparsemill.files import read_json, write_json
from sparsemill.models.encode import encode_texts, load_encoder
from sparsemill.models.formats import read_format, read_table
from sparsemill.models.released import prepare_released
from sparsemill.retrieval.queries import open_queries
from sparsemill.study.models import Released, Study
from sparsemill.study.specs import queries

TEXTS = [*texts(6), "zzz ? unknown \u2603 bal", "bal"]
QUERIES = ["bal dor kim bal", "unknown \u2603 word", "lux [SEP] mer [UNK]", "nor"]
IDS = {token: row for row, token in enumerate(TOKENS)}
FRAME = ["[PAD]", "[CLS]", "[SEP]"]


def released(folder: Path, query_side: str = "splade", **options: Any) -> Released:
    options = {"query_length": 16, "encode_length": 32} | options
    weights = {"kind": "folder", "path": str(folder)}
    return Released.model_validate({"weights": weights, "query_side": query_side, **options})


def encode(entry: Released, out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of `QUERIES` and of `TEXTS`, by what the stages call."""
    out.mkdir()
    facts = prepare_released(entry, out)
    assert facts["layers"] == 2
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith("query")) == [
        "model",
        "tokenizer.json",
    ]
    study = Study.model_construct(released={"x": entry}, experiments={}, device="cpu", encode_precision="fp32")
    encoder = load_encoder(out, length=entry.encode_length, device="cpu")
    documents = encode_texts(encoder, TEXTS, task="document", length=entry.encode_length, tokens=64, precision="fp32")
    return rows(open_queries(out, queries(study, "x", device="cpu")).encode(QUERIES)), rows(documents)


def theirs(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of sentence-transformers."""
    encoder = SparseEncoder(str(folder), device="cpu")
    return rows(encoder.encode_query(QUERIES)), rows(encoder.encode_document(TEXTS))


def plain(texts: list[str], *, activation: str = "log1p_relu", length: int = 32) -> np.ndarray:
    """max over tokens of the activation of the logits, text by text."""
    model, found = language_model(), []
    for text in texts:
        with torch.no_grad():
            batch = tokenizer()([text], truncation=True, max_length=length, return_tensors="pt")
            weights = torch.log1p(torch.relu(model(**batch).logits[0]))
        found.append((torch.log1p(weights) if activation == "double_log" else weights).amax(0).numpy())
    return np.stack(found)


def bag(text: str, *, zero: list[str], length: int = 16) -> np.ndarray:
    """1 for every token of a text."""
    ids = tokenizer()([text], add_special_tokens=False)["input_ids"][0][:length]
    found = np.zeros(len(TOKENS), dtype=np.float32)
    found[ids] = 1
    found[[IDS[token] for token in zero]] = 0
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language model in the hub's format, without more."""
    return save_language_model(tmp_path_factory.mktemp("plain"))


def test_a_router_of_today(model: Path, tmp_path: Path) -> None:
    folder = save_router(model, tmp_path / "released")
    queries, documents = encode(released(folder, "table"), tmp_path / "out")
    expected = theirs(folder)
    assert np.allclose(queries, expected[0], atol=1e-5)
    assert np.allclose(documents, expected[1], atol=1e-5)
    assert queries[1, IDS["[UNK]"]] == 1


@pytest.mark.parametrize("transformer", ["", "document_0_MLMTransformer"])
def test_an_opensearch_repository(model: Path, tmp_path: Path, transformer: str) -> None:
    folder = save_opensearch(model, tmp_path / "released", transformer)
    found = read_format(folder)
    assert found.inference_free
    assert found.transformer == folder / transformer
    entry = released(folder, "table", activation="double_log")
    queries, documents = encode(entry, tmp_path / "out")
    expected = theirs(folder)
    assert np.allclose(queries, expected[0], atol=1e-5)
    assert np.allclose(documents, expected[1], atol=1e-5)
    special = [IDS[token] for token in SPECIAL]
    silent = encode(entry.model_copy(update={"special_tokens": "zero"}), tmp_path / "silent")
    for mine, other in zip(silent, expected, strict=True):
        assert other[:, special].any()
        other[:, special] = 0
        assert np.allclose(mine, other, atol=1e-5)


def test_a_plain_model_with_idf(model: Path, tmp_path: Path) -> None:
    """OpenSearch doc-v1 before its sentence-transformers files; special tokens weigh nothing on either side."""
    folder = Path(shutil.copytree(model, tmp_path / "released"))
    table = idf_table()
    missing = table.pop("dor")
    write_json(folder / "idf.json", table)
    queries, documents = encode(released(folder, "table", special_tokens="zero"), tmp_path / "out")
    weights = np.array([0.0 if token in SPECIAL else table.get(token, 0.0) for token in TOKENS])
    assert missing > 0
    assert np.allclose(queries, [bag(text, zero=[]) * weights for text in QUERIES], atol=1e-5)
    expected = plain(TEXTS)
    expected[:, [IDS[token] for token in SPECIAL]] = 0
    assert np.allclose(documents, expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["max", "sum"])
def test_a_siamese_folder(model: Path, tmp_path: Path, pooling: str) -> None:
    folder = tmp_path / "released"
    SparseEncoder(modules=modules(model, pooling=pooling), device="cpu").save_pretrained(
        str(folder), create_model_card=False
    )
    found = encode(released(folder, representation=pooling, query_length=32), tmp_path / "out")
    for mine, other in zip(found, theirs(folder), strict=True):
        assert np.allclose(mine, other, atol=1e-5)
        assert mine[:, [IDS["[CLS]"], IDS["[UNK]"]]].any()


def test_a_plain_siamese_model_cuts_at_its_lengths(model: Path, tmp_path: Path) -> None:
    queries, documents = encode(released(model, query_length=4, encode_length=7), tmp_path / "out")
    assert np.allclose(queries, plain(QUERIES, length=4), atol=1e-5)
    assert np.allclose(documents, plain(TEXTS, length=7), atol=1e-5)


def test_lexical_queries_keep_the_weights_of_their_own_tokens(model: Path, tmp_path: Path) -> None:
    """`rep * bow` of naver/splade, whose bag of words lacks [PAD], [CLS] and [SEP] alone."""
    queries, documents = encode(released(model, "lexical"), tmp_path / "out")
    own = np.stack([bag(text, zero=FRAME) for text in QUERIES])
    assert np.allclose(queries, plain(QUERIES, length=16) * own, atol=1e-5)
    assert queries[1, IDS["[UNK]"]] == pytest.approx(plain(QUERIES)[1, IDS["[UNK]"]], abs=1e-5)
    assert np.allclose(documents, plain(TEXTS), atol=1e-5)


@pytest.mark.parametrize(("special_tokens", "zero"), [("keep", FRAME), ("zero", SPECIAL)])
def test_binary_queries_are_the_authors_bag_of_words(
    model: Path, tmp_path: Path, special_tokens: str, zero: list[str]
) -> None:
    queries, _ = encode(released(model, "binary", special_tokens=special_tokens), tmp_path / "out")
    assert np.array_equal(queries, [bag(text, zero=zero) for text in QUERIES])


def test_what_is_saved_opens_with_sentence_transformers(model: Path, tmp_path: Path) -> None:
    queries, documents = encode(released(save_router(model, tmp_path / "released"), "table"), tmp_path / "out")
    expected = theirs(tmp_path / "out" / "model")
    assert np.allclose(queries, expected[0], atol=1e-5)
    assert np.allclose(documents, expected[1], atol=1e-5)


def test_a_decoder_that_older_transformers_tied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSearch doc-v3-gte brings code that leaves the decoder to transformers, which ties it no more."""
    folder = save_language_model(tmp_path / "released")
    code = CODE + '    _tied_weights_keys = {"cls.predictions.decoder.bias": "cls.predictions.bias"}\n'
    (folder / "modeling_own.py").write_text(code)
    config = read_json(folder / "config.json")
    config.pop("tie_word_embeddings", None)
    classes = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForMaskedLM": "modeling_own.OwnModelForMaskedLM"}
    write_json(folder / "config.json", config | {"model_type": "own_bert", "auto_map": classes})
    monkeypatch.setattr("sparsemill.models.released.repository_folder", lambda weights: folder)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    hub = {"kind": "hub", "id": "someone/own", "revision": "0" * 40}
    entry = released(folder).model_dump() | {"weights": hub}
    with pytest.raises(UserError, match="cannot be loaded as a masked language model"):
        prepare_released(Released.model_validate(entry), tmp_path)
    entry["weights"] = hub | {"trust_remote_code": True}
    (tmp_path / "out").mkdir()
    prepare_released(Released.model_validate(entry), tmp_path / "out")
    encoder = load_encoder(tmp_path / "out", length=32, device="cpu", trust_remote_code=True)
    found = encode_texts(encoder, TEXTS, task="document", length=32, tokens=64, precision="fp32")
    assert np.allclose(rows(found), plain(TEXTS), atol=1e-5)


def test_folders_that_are_refused(model: Path, tmp_path: Path) -> None:
    def told(folder: Path, *arguments: str, **options: Any) -> str:
        with pytest.raises(UserError) as error:
            prepare_released(released(folder, *arguments, **options), tmp_path)
        assert "\n" not in str(error.value)
        return str(error.value)

    router = save_opensearch(model, tmp_path / "router")
    assert "set activation: double_log" in told(router, "table")
    assert "set query_side: table or binary" in told(router, activation="double_log")
    assert "set query_side: splade or binary" in told(model, "table")
    assert "no such folder" in told(tmp_path / "nowhere")
    assert "lower it" in told(model, encode_length=512)
    pickled = Path(shutil.copytree(model, tmp_path / "pickled"))
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert "pickles (pytorch_model.bin) are never read; give a commit that has it" in told(pickled)
    pickled_table = Path(shutil.copytree(router, tmp_path / "pickled_table"))
    (pickled_table / "query_0_SparseStaticEmbedding" / "model.safetensors").unlink()
    assert "only safetensors are read" in told(pickled_table, "table", activation="double_log")
    headless = tmp_path / "headless"
    language_model().bert.save_pretrained(headless)
    tokenizer().save_pretrained(headless)
    assert "a SPLADE needs its MLM head" in told(headless)
    config = router / "config_sentence_transformers.json"
    write_json(config, read_json(config) | {"prompts": {"query": "query: "}})
    assert "it puts prompts before texts" in told(router, "table", activation="double_log")
    write_json(config, {"max_active_dims": 5})
    assert "set `prune: top_k`" in told(router, "table", activation="double_log")


def test_routers_that_are_refused(model: Path, tmp_path: Path) -> None:
    folder = save_opensearch(model, tmp_path / "router")
    good = read_json(folder / "router_config.json")

    def told(**changes: Any) -> str:
        write_json(folder / "router_config.json", good | changes)
        with pytest.raises(UserError) as error:
            read_format(folder)
        return str(error.value)

    encoder = ["", "document_1_SpladePooling"]
    assert "query encoder of its own is not supported" in told(structure={"query": encoder, "document": encoder})
    assert "has no route 'document'" in told(structure={"query": ["query_0_SparseStaticEmbedding"]})
    types = {name: kind for name, kind in good["types"].items() if name} | {"../x": "x.MLMTransformer"}
    outside = {"query": ["query_0_SparseStaticEmbedding"], "document": ["../x"]}
    assert "lies outside the folder" in told(types=types, structure=outside)


def test_tables_that_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "idf.json"
    write_json(table, {"bal": 1.0, "other": 2.0})
    with pytest.raises(UserError, match="1 tokens are not in the tokenizer, the first is 'other'"):
        read_table(table, IDS)
    write_json(table, {"bal": -1.0})
    with pytest.raises(UserError, match="negative or not finite"):
        read_table(table, IDS)


def test_the_published_table(shared: Path) -> None:
    """The `idf.json` of the OpenSearch models names every token of BERT; absent ones weigh 1 (2411.04403, 2.4)."""
    vocabulary = (
        (shared / "data/reference/bert-base-uncased-vocab/vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    )
    ids = {token: row for row, token in enumerate(vocabulary)}
    weights = read_table(shared / "data/reference/opensearch-idf/idf.json", ids)
    assert list(weights) == vocabulary
    assert (weights["[unused5]"], round(weights["retrieval"], 4)) == (1.0, 8.6676)
