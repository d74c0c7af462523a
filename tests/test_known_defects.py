"""Defects of public training code, each of which a test here would find if it came back.

naver: naver/splade, 2.4 in the order of its files. OpenSearch: opensearch-sparse-model-tuning-sample.
"""

import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from tiny import SPECIAL, TOKENS, WORDS, padded, rows, save_language_model, tokenizer
from torch import Tensor, nn
from trained import run

from sparsemill.data.collection import Document, Query
from sparsemill.ensemble.normalise import normalise
from sparsemill.ensemble.targets import normalise_lists, write_targets
from sparsemill.errors import UserError
from sparsemill.losses.flops import flops
from sparsemill.losses.infonce import infonce
from sparsemill.losses.kl import kl
from sparsemill.losses.rows import row_documents, score_rows
from sparsemill.losses.schedule import ramp
from sparsemill.models.encoder import build_encoder, query_weights
from sparsemill.models.head import attach_head
from sparsemill.progress import Progress
from sparsemill.retrieval.exact import ExactIndex, build_exact
from sparsemill.retrieval.retriever import retrieve
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.vectors import Shard, write_shard
from sparsemill.study import models, specs
from sparsemill.study.load import load_study
from sparsemill.study.models import Ensemble, QueryRegulariser, Regulariser, Study, Training
from sparsemill.teachers.cache import load_embeddings
from sparsemill.teachers.score import Pairs, read_scores, write_scores
from sparsemill.training import recipe as recipes
from sparsemill.training.data import InBatchTargets, load_data
from sparsemill.training.guards import DenseGuard
from sparsemill.training.metrics import Recorder
from sparsemill.training.objective import Objective
from sparsemill.training.schedule import Record, Schedule
from sparsemill.training.start import build_start, start_weights

ROOT = Path(__file__).resolve().parent.parent
RECIPE = {
    "training_set": "t",
    "ensemble": "e",
    "query_side": "binary",
    "idf": "i",
    "steps": 10,
    "queries_per_step": 4,
    "documents_per_query": 3,
}


class Pass(nn.Module):
    """A model whose embeddings are its inputs."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sentence_embedding": features["x"]}


def step_terms(step: int = 0, **options: Any) -> dict[str, Tensor]:
    """Terms of one step on fixed invented vectors; documents of a query share nothing with another's."""
    spec = Training.model_validate(RECIPE | options)
    generator = torch.Generator().manual_seed(0)
    sides = [torch.randn(size, 9, generator=generator).relu() for size in (4, 12)]
    columns, own = row_documents(np.arange(12).reshape(4, 3).tolist(), in_batch=spec.in_batch, local=range(4))
    excluded = [
        [document == row[column] and place != column for place, document in enumerate(row)]
        for row, column in zip(columns, own, strict=True)
    ]
    width = 12 if spec.in_batch == "documents" else 3
    labels = {
        "targets": torch.randn(4, width, generator=generator),
        "positives": torch.tensor(own),
        "excluded": torch.tensor(excluded),
    }
    objective = Objective(Pass(), spec, torch.linspace(0.5, 4, 9))
    objective.step = step
    terms: dict[str, Tensor] = objective([{"x": side} for side in sides], labels)
    return terms


def total(*arguments: Any, **options: Any) -> float:
    return float(sum(step_terms(*arguments, **options).values()))


def load(**config: Any) -> Study:
    return load_study(config, ROOT / "config")


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["augment_pair", "in_batchs", "inbatch", "margin_mse_weigth"])
def test_a_misspelt_key_is_refused(key: str) -> None:
    # naver: `augment_pair` for `augment_pairs`, so that SPLADE-max trained without in-batch negatives
    with pytest.raises(UserError, match=f"config: experiments.x.{key}: unknown key"):
        load(experiments={"x": {"extends": "ours", key: 1}})


def test_in_batch_negatives_change_the_loss() -> None:
    # naver: the released config's in-batch loss equals the pairwise loss
    values = [total(infonce_weight=1.0, in_batch=kind) for kind in ("none", "positives", "documents")]
    assert values[0] < values[1] - 0.1
    assert values[1] < values[2] - 0.1


EFFECTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"kl_weight": 2}),
    ({}, {"infonce_weight": 1}),
    ({}, {"margin_mse_weight": 1}),
    ({"margin_mse_weight": 1}, {"margin_mse": "pairs"}),
    ({}, {"anti_zero_weight": 1}),
    ({}, {"temperature": 2}),
    ({}, {"teacher_temperature": 2}),
    ({}, {"in_batch": "documents"}),
    ({"infonce_weight": 1}, {"in_batch": "positives"}),
]
PENALTIES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"kind": "l1"}),
    ({}, {"lambda_d": 0.5}),
    ({}, {"warmup_steps": 3}),
    ({"warmup_steps": 3}, {"schedule": "linear"}),
    ({}, {"reduction": "mean_of_slots"}),
    ({}, {"reduction": "sum_of_slots"}),
    ({}, {"weighting": "inverse_idf"}),
    ({}, {"mask_below": 4}),
]


@pytest.mark.parametrize(("base", "change"), EFFECTS)
def test_every_key_of_the_loss_has_an_effect(base: dict[str, Any], change: dict[str, Any]) -> None:
    # OpenSearch: score_scale never reaches the data, and decouple_activation's result is overwritten
    assert total(**base) != pytest.approx(total(**base | change), rel=1e-4)


@pytest.mark.parametrize(("base", "change"), PENALTIES)
def test_every_key_of_the_regulariser_has_an_effect(base: dict[str, Any], change: dict[str, Any]) -> None:
    # OpenSearch: as above
    before, after = ({"lambda_d": 1.0} | base, {"lambda_d": 1.0} | base | change)
    assert total(regulariser=before) != pytest.approx(total(regulariser=after), rel=1e-4)


SECTIONS = [models.Experiment, models.Pretraining, Regulariser, QueryRegulariser, Ensemble, models.TrainingSet]


@pytest.mark.parametrize("model", SECTIONS)
def test_every_key_is_read_somewhere(model: type[models.Model]) -> None:
    # OpenSearch and naver: keys that no code reads
    files = [path for path in (ROOT / "src").rglob("*.py") if path.name != "models.py"]
    code = "\n".join(path.read_text(encoding="utf-8") for path in [*files, *(ROOT / "workflow").rglob("*.py")])
    unread = [key for key in model.model_fields if not re.search(rf"\.{key}\b|[\"']{key}[\"']", code)]
    assert not unread


def test_defaults_of_code_are_those_of_the_config() -> None:
    # OpenSearch: use_l0 is True by default in the model, False in the arguments
    config = {key: field for model in (Training, Regulariser) for key, field in model.model_fields.items()}
    compared = []
    for function in (kl, infonce, flops, ramp):
        for name, parameter in inspect.signature(function).parameters.items():
            if name in config and inspect.Parameter.empty != parameter.default and not config[name].is_required():
                assert parameter.default == config[name].default, (function, name)
                compared.append(name)
    assert {"temperature", "teacher_temperature", "reduction", "schedule"} <= set(compared)


def test_lengths_by_default_hold_a_passage() -> None:
    # naver: max_length 10 in the default config (MRR@10 of 0.18)
    fields = models.Experiment.model_fields
    assert fields["query_length"].default >= 32
    assert fields["document_length"].default >= 256
    assert fields["encode_length"].default >= 512
    measures = ["nDCG@10", "MRR@10", "R@100", "R@1000"]
    for scale, least in (("demo", 48), ("one-gpu", 128), ("paper", 128)):
        study = load(presets=["inference_free", "splade_pp"], scale=scale, measures=measures, depth=1000)
        for trained in (*study.pretrainings.values(), *study.experiments.values()):
            assert trained.document_length >= least
            assert trained.query_length >= 32
            assert trained.query_length <= trained.document_length


# --- regularisers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["flops", "l1"])
def test_each_regulariser_counts_once(kind: str) -> None:
    # naver: with two regularisers the first is added twice
    plain = {"query_side": "splade", "regulariser": {"lambda_d": 0.0}}
    ranking = total(**plain)
    documents = total(**plain | {"regulariser": {"lambda_d": 0.3}}) - ranking
    side = {"kind": kind, "lambda_q": 0.7}
    queries = total(**plain, query_regulariser=side) - ranking
    both = total(**plain | {"regulariser": {"lambda_d": 0.3}, "query_regulariser": side})
    assert min(documents, queries) > 0.01
    assert both == pytest.approx(ranking + documents + queries, rel=1e-5)


@pytest.mark.parametrize("slots", [1, 2, 8])
def test_the_penalty_does_not_grow_with_documents_per_query(slots: int) -> None:
    # OpenSearch: a sum over slots, G times Eq. 3, so that lambda depends on G
    documents = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    repeated = documents.repeat_interleave(slots, 0)
    assert flops(repeated, slots=slots).item() == pytest.approx(flops(documents).item(), rel=1e-5)
    summed = flops(repeated, reduction="sum_of_slots", slots=slots)
    assert summed.item() == pytest.approx(slots * flops(documents).item(), rel=1e-5)


def test_flops_is_that_of_the_concatenation_unless_asked_otherwise() -> None:
    # naver: the mean of the positives' and the negatives' FLOPS, which is larger
    documents = torch.rand(6, 7, generator=torch.Generator().manual_seed(0))
    assert Regulariser().reduction == "concatenation"
    assert flops(documents).item() == pytest.approx(documents.mean(0).square().sum().item())
    apart = flops(documents, reduction="mean_of_slots", slots=2)
    assert apart.item() == pytest.approx((flops(documents[::2]) + flops(documents[1::2])).item() / 2)
    assert apart > flops(documents)


def test_lambda_is_a_function_of_the_step_and_not_of_calls() -> None:
    # naver's HF trainer: a counter of forward passes, which restarts on resume and ignores accumulation
    options = {"regulariser": {"lambda_d": 1.0, "warmup_steps": 10}}
    anew = step_terms(6, **options)["regulariser"]
    assert step_terms(6, **options)["regulariser"] == anew
    assert anew / step_terms(9, **options)["regulariser"] == pytest.approx(0.49)


def test_lambda_ramps_over_optimiser_steps_with_accumulation(
    inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # naver: the scheduler of lambda is stepped once per forward pass
    wrapped = recipes.training_arguments

    def accumulating(*arguments: Any, **options: Any) -> Any:
        found = wrapped(*arguments, **options)
        found.gradient_accumulation_steps = 2
        return found

    monkeypatch.setattr(recipes, "training_arguments", accumulating)
    _, records = run(inputs, tmp_path, steps=5, log_steps=1, regulariser={"lambda_d": 1.0, "warmup_steps": 4})
    found = [record["lambda_d"] for record in records]
    assert found == pytest.approx([1 / 16, 4 / 16, 9 / 16, 1, 1])


def test_the_ramp_that_is_documented_is_the_ramp_that_runs(tmp_path: Path) -> None:
    # naver's HF trainer: the README says that there is no schedule, and there is one
    described = Regulariser.model_fields["warmup_steps"].description
    assert described is not None
    assert "lambda * (min(t, T) / T)^2; 0: none" in described
    spec = Training.model_validate(RECIPE | {"regulariser": {"lambda_d": 2.0, "warmup_steps": 4}})
    objective = Objective(Pass(), spec, None)
    progress = Progress("", 1, unit="")
    guard = DenseGuard(9, None)
    recorder = Recorder(objective, tmp_path / "m", lambda record: None, guard=guard, log_steps=1, progress=progress)
    for done in range(6):
        recorder.on_step_begin(None, SimpleNamespace(global_step=done), None)
        used = 2.0 * ramp(objective.step, warmup_steps=4)
        assert used == pytest.approx(2.0 * (min(done + 1, 4) / 4) ** 2)
    assert ramp(0, warmup_steps=0) == 1


# --- rows and targets ------------------------------------------------------------------------------------------------


def test_a_slice_of_the_queries_sees_the_documents_of_all() -> None:
    # naver: in-batch negatives of the same GPU only; OpenSearch: undone by a factor, which the mean over slices needs
    generator = torch.Generator().manual_seed(0)
    queries, documents = (torch.rand(size, 9, generator=generator) for size in (4, 12))
    documents.requires_grad_()

    def loss(local: range) -> Tensor:
        part = queries[local.start : local.stop]
        scores = score_rows(part, documents, in_batch="documents", slots=3, offset=local.start)
        _, own = row_documents(np.arange(12).reshape(4, 3).tolist(), in_batch="documents", local=local)
        return infonce(scores, torch.tensor(own), torch.zeros_like(scores, dtype=torch.bool))

    whole, halves = loss(range(4)), (loss(range(2)) + loss(range(2, 4))) / 2
    assert halves.item() == pytest.approx(whole.item(), rel=1e-6)
    found, expected = (torch.autograd.grad(value, documents)[0] for value in (halves, whole))
    assert torch.allclose(found, expected, atol=1e-7)
    assert (expected.abs().sum(1) > 0).all()


@pytest.mark.parametrize("documents", [2, 3, 6])
def test_every_record_has_a_positive_and_no_other_one(inputs: dict[str, Any], documents: int) -> None:
    # OpenSearch: candidates i and i + 50 are paired, without the positive; LSR: negatives may be positives
    data = load_data(inputs["collection"], inputs["candidates"])
    schedule = Schedule(data.positives, data.negatives, records=100, documents_per_query=documents, seed=0)
    for record in schedule:
        relevant = set(data.positives[record.query])
        assert record.documents[0] in relevant
        assert not relevant & set(record.documents[1:])


def test_the_scale_changes_the_targets(inputs: dict[str, Any], tmp_path: Path) -> None:
    # OpenSearch: score_scale is dead on the train path
    pairs = Pairs(["a", "a"], ["1", "2"])
    found = []
    for scale in (10.0, 30.0):
        folders = [tmp_path / f"{scale}-{name}" for name in ("scores", "targets")]
        for folder in folders:
            folder.mkdir()
        write_scores(folders[0] / "scores.parquet", pairs, np.array([1, 0], dtype=np.float32))
        write_targets(folders[:1], folders[1], weights=None, scale=scale)
        data = load_data(inputs["collection"], inputs["candidates"])
        caches = [load_embeddings(paths) for paths in inputs["embeddings"]]
        whole = InBatchTargets(data, caches, Ensemble(teachers=["one", "two"], scale=scale))
        found.append((read_scores(folders[1:])[1], whole.rows([Record(1, (1, 2)), Record(5, (5, 7))])))
    for small, large in zip(*found, strict=True):
        assert np.allclose(3 * small, large, atol=1e-4)
        assert large.max() > 10
    scales = [{"e": {"extends": "minilm-bm25", "scale": scale}} for scale in (10, 30)]
    experiment = {"x": {"extends": "ours", "ensemble": "e"}}
    studies = [load(ensembles=ensembles, experiments=experiment) for ensembles in scales]
    assert specs.finetune(studies[0], "x", "0") != specs.finetune(studies[1], "x", "0")


def test_scores_are_normalised_per_query() -> None:
    # OpenSearch's data script: min and max over a batch of pairs, so that queries of low scores teach nothing
    scores = np.array([[1, 2, 3], [10, 20, 40]], dtype=np.float32)
    assert normalise(scores, "minmax")[0].tolist() == [0, 0.5, 1]
    queries = ["a"] * 3 + ["b"] * 3
    assert np.array_equal(
        normalise_lists(queries, scores.ravel(), method="minmax"), normalise(scores, "minmax").ravel()
    )


def test_teachers_read_texts_at_their_own_length() -> None:
    # OpenSearch: the teacher's maximum length is the student's
    short = load(pretrainings={"p": {"extends": "pre-idf", "document_length": 64}})
    long = load(pretrainings={"p": {"extends": "pre-idf", "document_length": 99}})
    assert specs.pretrain(short, "p", "0") != specs.pretrain(long, "p", "0")
    assert specs.embed_teacher(short, "minilm", "0") == specs.embed_teacher(long, "minilm", "0")
    assert specs.embed_teacher(short, "minilm", "0")["max_length"] >= 128


# --- representations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["binary", "learned", "lexical", "splade"])
def test_the_padding_token_weighs_nothing(tmp_path: Path, side: str) -> None:
    # naver's HF trainer: `if pad_id:` with id 0 leaves [PAD] in every query's bag of words
    start = save_language_model(tmp_path / "start")
    assert tokenizer().pad_token_id == 0
    spec = Training.model_validate(RECIPE | {"query_side": side, "query_length": 8, "document_length": 16})
    weights = start_weights(spec, start, None)
    encoder = build_start(spec, start, weights, query_start=None)
    found = rows(encoder.encode_query([" ".join(WORDS[:6]), WORDS[0]]))
    assert found.any(1).all()
    assert not found[:, 0].any()
    if weights is not None:
        assert weights["[PAD]"] == 0
        assert found.sum(1).tolist() == [6, 1]


def test_special_tokens_are_zero_in_training_too(tmp_path: Path) -> None:
    # OpenSearch: document vectors keep special tokens while training, where they cost FLOPS
    start = save_language_model(tmp_path / "start")
    encoder = build_encoder(start, query_weights(start, None), query_length=8, document_length=16)
    attach_head(encoder)
    encoder.train()
    features = padded([[2, 5, 6, 7, 3], [2, 1, 4, 3]])
    vectors = encoder({**features, "task": "document"})["sentence_embedding"]
    assert (vectors > 0).sum() > 20
    assert not vectors[:, : len(SPECIAL)].any()
    flops(vectors).backward()
    (bias,) = (part.grad for part in encoder.parameters() if part.shape == (len(TOKENS),) and part.grad is not None)
    assert not bias[: len(SPECIAL)].any()
    assert bias[len(SPECIAL) :].any()


# --- search ----------------------------------------------------------------------------------------------------------


def test_the_best_documents_are_sorted_and_all_positive_scores_count(tmp_path: Path) -> None:
    # naver: select_topk returns an unsorted top k, and the toy config drops scores below 0.4
    scores = sparse.csr_matrix(np.array([[0.3], [2], [0], [0.001], [5], [1]], dtype=np.float32))
    write_shard(tmp_path, Shard(list("abcdef"), scores))
    build_exact(tmp_path, [tmp_path])
    query = sparse.csr_matrix(np.ones((1, 1), dtype=np.float32))
    for k, ids in ((3, "ebf"), (10, "ebfad")):
        assert [hit.doc_id for hit in ExactIndex(tmp_path).search(query, k)[0]] == list(ids)


def test_the_query_itself_can_be_dropped_without_losing_a_place() -> None:
    # naver and OpenSearch get this right, sentence-transformers does not (ArguAna, Quora)
    def search(texts: list[str], k: int) -> list[list[Hit]]:
        return [[Hit(name, 9.0 - place) for place, name in enumerate("qabc"[:k])] for _ in texts]

    dropped = retrieve(search, [Query("q", "")], depth=3, drop_self_hits=True)
    assert [hit.doc_id for hit in dropped["q"]] == ["a", "b", "c"]
    kept = retrieve(search, [Query("q", "")], depth=3, drop_self_hits=False)
    assert [hit.doc_id for hit in kept["q"]] == ["q", "a", "b"]


def test_titles_are_read_and_runs_are_deep() -> None:
    # OpenSearch: title and text, but 15 results
    assert Document("d", "Title", "text").contents == "Title text"
    assert Study().depth == 1000


def test_nothing_is_killed_or_run_by_a_shell() -> None:
    # OpenSearch: train_ir.py ends with a pkill of every process of a name
    forbidden = re.compile(r"pkill|killall|os\.system|shell=True")
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").rglob("*.py")]
    assert not [path.name for path in files if forbidden.search(path.read_text(encoding="utf-8"))]
