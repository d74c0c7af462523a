"""The whole DAG, every stage for real, on a few docstrings; then what must hold of its results."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from sparsemill import manifest
from sparsemill.data.collection import read_queries
from sparsemill.files import file_hash
from sparsemill.retrieval.exact import ExactIndex
from sparsemill.retrieval.lucene_impact import LuceneImpact
from sparsemill.retrieval.query_encoder import QueryEncoder

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("end_to_end")]


def snakemake(results: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the mini study; the folder of Snakemake's own records is the test's."""
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(results)),
        *("--profile", str(ROOT / "profiles" / "default"), "--cores", "2"),
        *("--configfile", str(ROOT / "config" / "config.yaml"), str(ROOT / "tests" / "data" / "mini.yaml")),
        *options,
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return subprocess.run(command, capture_output=True, text=True, cwd=results, env=environment, check=False)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole mini study has run."""
    folder = tmp_path_factory.mktemp("study")
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder


def frame(work: Path) -> pd.DataFrame:
    return pd.read_parquet(work / "results" / "tidy" / "results.parquet")


def test_the_manifest_says_what_is_assumed(work: Path) -> None:
    facts = manifest.read(work / "results" / "models" / "mini-ours" / "seed-0")["facts"]
    assert facts["assumed"] == {"regulariser.warmup_steps": "no paper trains so little"}
    assert manifest.read(work / "results" / "models" / "mini-binary" / "seed-0")["facts"]["assumed"] == facts["assumed"]


def test_every_measure_of_every_row_is_there(work: Path) -> None:
    table = pd.read_csv(work / "results" / "tables" / "mini" / "table.csv")
    assert len(table) == 5
    measured = frame(work)
    trained = measured[measured["system"].isin(["mini-ours", "mini-binary"])]
    assert set(trained["measure"]) >= {"nDCG@10", "MRR@10", "R@50", "FLOPS", "tokens/doc", "latency/BM25"}
    assert (measured["value"].dropna() >= 0).all()
    assert (work / "results" / "figures" / "mini-flops" / "figure.svg").stat().st_size > 1000
    assert "<html" in (work / "results" / "explain" / "mini" / "explain.html").read_text(encoding="utf-8")


def test_a_second_run_has_nothing_to_do(work: Path) -> None:
    done = snakemake(work)
    assert done.returncode == 0
    assert "Nothing to be done" in done.stdout + done.stderr


def test_every_artefact_has_a_manifest_that_tells_the_truth(work: Path) -> None:
    mirror = work / "results" / "mlflow"
    found = [path for path in (work / "results").glob("**/manifest.json") if not path.is_relative_to(mirror)]
    assert len(found) == 62
    for path in found:
        described = json.loads(path.read_text(encoding="utf-8"))
        assert described["git_commit"]
        assert described["spec_hash"]
        for name, output in described["outputs"].items():
            assert file_hash(path.parent / name) == output["sha256"], path


def engine_hits(work: Path, system: str) -> tuple[Any, list[Any], list[Any], int]:
    results = work / "results"
    place = f"{system}/seed-0/mini"
    encoder = QueryEncoder(results / "models" / system / "seed-0", query_length=64)
    texts = [query.text for query in read_queries(results / "collections" / "mini", split="test")]
    queries = encoder.encode(texts)
    scale = json.loads((results / "indexes" / place / "lucene" / "manifest.json").read_text())["spec"]["quantisation"]
    lucene = LuceneImpact(results / "indexes" / place / "lucene").search(queries, 120)
    exact = ExactIndex(results / "indexes" / place / "exact").search(queries, 120)
    return queries, lucene, exact, scale


@pytest.mark.parametrize("system", ["mini-ours", "mini-binary"])
def test_the_engines_agree_on_every_query_up_to_quantisation(work: Path, system: str) -> None:
    """|round(Qq) round(Qd) / Q^2 - q d| <= (q + d) / 2Q + 1 / 4Q^2 for each of a query's tokens."""
    queries, lucene, exact, scale = engine_hits(work, system)
    heaviest = 10.0  # no document weight comes near: log(1 + x) of a logit
    compared = 0
    for row, (left, right) in enumerate(zip(lucene, exact, strict=True)):
        weights = queries[row].data
        bound = float(np.sum((weights + heaviest) / (2 * scale) + 1 / (4 * scale**2))) + 1e-4
        scores = {hit.doc_id: hit.score for hit in right}
        for hit in left:
            assert abs(hit.score / scale**2 - scores[hit.doc_id]) <= bound
            compared += 1
        tenth = right[min(9, len(right) - 1)].score if right else 0.0
        top = {hit.doc_id for hit in left[:10]}
        assert all(hit.score <= tenth + 2 * bound for hit in right[:10] if hit.doc_id not in top)
    assert compared > 100


def test_both_engines_give_the_same_measures_up_to_near_ties(work: Path) -> None:
    measured = frame(work)
    trained = measured[(measured["system"] == "mini-ours") & (measured["measure"] == "nDCG@10")]
    values = trained.set_index("engine")["value"]
    assert abs(values["lucene"] - values["exact"]) < 0.02


def test_the_model_opens_with_sentence_transformers_and_queries_need_no_transformer(work: Path) -> None:
    from sentence_transformers import SparseEncoder

    folder = work / "results" / "models" / "mini-ours" / "seed-0"
    encoder = SparseEncoder(str(folder / "model"), device="cpu")
    document_route = encoder[0].sub_modules["document"]
    document_route.forward = None  # a query that passed through here would fail
    texts = ["Returns the shortest path in a graph", "centrality of nodes"]
    theirs = encoder.encode_query(texts, convert_to_sparse_tensor=False).numpy()
    ours = QueryEncoder(folder, query_length=64).encode(texts).toarray()
    np.testing.assert_allclose(theirs, ours, rtol=1e-6)


def test_tracking_equals_the_files_and_publishing_again_changes_nothing(work: Path) -> None:
    results = work / "results"
    assert json.loads((results / "verified" / "equality.json").read_text())["equal"] is True
    before = json.loads((results / "published" / "receipts.json").read_text())
    again = snakemake(work, "--forcerun", "publish")
    assert again.returncode == 0, again.stderr[-3000:]
    assert json.loads((results / "published" / "receipts.json").read_text()) == before
    shutil.rmtree(results / "mlflow")
    rebuilt = snakemake(work, "--forcerun", "publish")
    assert rebuilt.returncode == 0, rebuilt.stderr[-3000:]
    assert json.loads((results / "verified" / "equality.json").read_text())["equal"] is True
    receipts = json.loads((results / "published" / "receipts.json").read_text())
    contents = [{key: run["content"] for key, run in given["runs"].items()} for given in (before, receipts)]
    assert contents[0] == contents[1]


def test_the_store_alone_gives_the_same_tables(work: Path, tmp_path: Path) -> None:
    """Elsewhere, without any other result."""
    shutil.copytree(work / "results" / "mlflow", tmp_path / "results" / "mlflow")
    done = snakemake(tmp_path, "--config", "tables_source=mlflow", "--cores", "2", "tables")
    assert done.returncode == 0, done.stderr[-3000:]
    made = {path.name for path in (tmp_path / "results").iterdir()}
    assert made == {"mlflow", "store", "tidy", "significance", "tables", "logs", "benchmarks"}
    files = [Path("tidy/results.csv"), Path("significance/mini/significance.json")]
    files += [Path("tables/mini") / f"table.{end}" for end in ("md", "csv", "tex", "html")]
    for file in files:
        assert (tmp_path / "results" / file).read_bytes() == (work / "results" / file).read_bytes(), file


def test_training_again_gives_the_same_bytes(work: Path) -> None:
    model = work / "results" / "models" / "mini-ours" / "seed-0"
    before = manifest.read(model)["outputs"]
    again = snakemake(work, "--forcerun", "finetune", "--until", "finetune")
    assert again.returncode == 0, again.stderr[-3000:]
    after = manifest.read(model)["outputs"]
    timed = "metrics.jsonl"  # holds clock times
    assert {name: out for name, out in before.items() if name != timed} == {
        name: out for name, out in after.items() if name != timed
    }


def test_the_report_is_one_file(work: Path) -> None:
    assert snakemake(work, "--rerun-triggers", "mtime").returncode == 0
    done = snakemake(work, "--report", "report.html")
    assert done.returncode == 0, done.stderr[-3000:]
    text = (work / "report.html").read_text(encoding="utf-8")
    assert "Every stage on a few docstrings" in text
    assert "Values that must be reached" in text  # the front page
    for page in ("costs", "provenance"):
        assert (work / "results" / "pages" / f"{page}.html").stat().st_size > 3000
    compared = (work / "results" / "explain" / "mini-extremes" / "explain.html").read_text(encoding="utf-8")
    assert compared.count('<div class="beside">') == 3
    assert "minilm-bm25" in (work / "results" / "collection_pages" / "mini" / "collection.html").read_text()
