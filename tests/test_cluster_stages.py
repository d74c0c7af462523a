"""Clusters through the stages that ingest, search and evaluate, and the command that times them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from fake_opensearch import Cluster, running
from test_cluster_config import ENTRY, load
from test_collect import call
from tokenizers import Tokenizer, models, pre_tokenizers

from sparsemill.data.collection import Document, Qrel, Query, write_collection
from sparsemill.files import read_json, write_json
from sparsemill.retrieval.opensearch import OpenSearchIndex
from sparsemill.retrieval.query_encoder import QueryEncoder
from sparsemill.retrieval.runs import read_run
from sparsemill.retrieval.vectors import Shard, write_shard
from sparsemill.serving.cluster import main, summarise
from sparsemill.serving.measure import Served
from sparsemill.study import specs
from sparsemill.study.load import load_study
from sparsemill.study.models import Study

WORDS = ["[UNK]", "wing", "lift", "drag", "flow", "heat", "shock", "v.2"]
ROWS = [[1, 2], [2, 3, 3], [4, 5], [5, 5, 1], [6, 3], [7, 1]]
DOCUMENTS = [Document(f"d{row}", "", " ".join(WORDS[word] for word in words)) for row, words in enumerate(ROWS)]
QUERIES = [Query(f"q{row}", " ".join(WORDS[word] for word in words[:2])) for row, words in enumerate(ROWS)]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection, vectors that count its words, and a model that looks queries up."""
    folder = tmp_path_factory.mktemp("work")
    for name in ("model", "collection", "vectors"):
        (folder / name).mkdir()
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "model" / "tokenizer.json"))
    weights = {word: 0.3 + 1.1 * number for number, word in enumerate(WORDS)}
    write_json(folder / "model" / "query_weights.json", weights)
    judged = {"test": [Qrel(query.id, f"d{query.id[1:]}", 1) for query in QUERIES]}
    write_collection(folder / "collection", DOCUMENTS, QUERIES, judged)
    counts = QueryEncoder(folder / "model", query_length=512).encode([document.text for document in DOCUMENTS])
    counts.data = np.sqrt(counts.data)
    write_shard(folder / "vectors", Shard([document.id for document in DOCUMENTS], counts))
    return folder


def run_stages(work: Path, folder: Path, study: Study, engine: str) -> dict[str, Any]:
    """Ingest, search and evaluate; the measures."""
    facts = specs.connection_facts(study, engine) if engine in study.engines else {}
    place = (study, "ours", "seed-0", "pydocs", engine)
    inputs = {"model": work / "model", "collection": work / "collection"}
    index, run = folder / f"index-{engine}", folder / f"run-{engine}"
    built = specs.build_index(study, "ours", engine)
    manifest = call("build_index", index, built, facts=facts, vectors=work / "vectors", model=work / "model")
    assert manifest["facts"]["documents"] == len(DOCUMENTS)
    searched = call("search", run, specs.search(*place), facts=facts, index=index, **inputs)
    assert searched["facts"]["engine"] == engine
    spec = specs.evaluate_run(*place)
    call("evaluate_run", folder / f"measures-{engine}", spec, run=run, collection=work / "collection")
    found: dict[str, Any] = read_json(folder / f"measures-{engine}" / "measures.json")
    return found


def test_ingest_search_and_evaluate(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENSEARCH_USER", raising=False)
    with running(Cluster()) as address:
        study = load({"address": address})
        measured = {engine: run_stages(work, tmp_path, study, engine) for engine in ("exact", "os", "embedded")}
        text = (tmp_path / "index-os" / "manifest.json").read_text()
        assert address in text
        spec = read_json(tmp_path / "index-os" / "manifest.json")["spec"]
        assert address not in json.dumps(spec)
    exact = read_run(tmp_path / "run-exact" / "run.trec")
    for engine, tolerance in (("os", 2**-8), ("embedded", 1e-6)):
        found = read_run(tmp_path / f"run-{engine}" / "run.trec")
        assert found.keys() == exact.keys()
        for query, hits in exact.items():
            scores = [hit.score for hit in found[query]]
            np.testing.assert_allclose(scores, [hit.score for hit in hits], rtol=tolerance + 1e-6)
        assert measured[engine]["nDCG@10"] == pytest.approx(measured["exact"]["nDCG@10"], abs=0.05)


def test_a_cluster_may_be_called_as_a_system_is(work: Path, tmp_path: Path) -> None:
    study = load_study(
        {"engine": "bm25", "check_engine": "none", "engines": {"bm25": {"kind": "milvus"}}}, ROOT / "config"
    )
    measured = [run_stages(work, tmp_path, study, engine) for engine in ("exact", "bm25")]
    assert measured[1]["R@100"] == measured[0]["R@100"]


def test_a_cluster_that_is_down_stops_the_stage_in_one_line(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = load({"address": "http://127.0.0.1:9", "retries": 0})
    facts = specs.connection_facts(study, "os")
    with pytest.raises(AssertionError):
        call(
            "build_index",
            tmp_path / "index",
            specs.build_index(study, "ours", "os"),
            facts=facts,
            vectors=work / "vectors",
            model=work / "model",
        )
    told = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(">")]
    assert told == [
        "build_index: error: http://127.0.0.1:9: no OpenSearch answers there; start it, or correct the engine's "
        "`address`"
    ]
    assert not (tmp_path / "index").exists()


def test_no_client_is_loaded_by_what_the_demo_runs() -> None:
    program = (
        "import sys, sparsemill.retrieval.retriever, sparsemill.study.load; import sparsemill.retrieval.clusters; "
    )
    program += "print([name for name in ('opensearchpy', 'pymilvus', 'milvus_lite') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- latency -----------------------------------------------------------------------------------------------------


def test_ratios_are_to_the_first_engine_at_the_same_number_of_clients() -> None:
    found = {
        ("a", 2): Served(np.array([1.0, 2.0, 3.0]), 1.5),
        ("fixed", 2): Served(np.array([1.0, 1.0, 1.0]), 1.0),
        ("b", 2): Served(np.array([4.0, 4.0, 4.0]), 3.0),
        ("a", 1): Served(np.array([1.0]), 0.5),
    }
    records = {(record["engine"], record["clients"]): record for record in summarise(found)}
    assert records["b", 2]["p50_ratio"] == 2.0
    assert records["a", 2]["p50_ratio"] == records["a", 1]["p99_ratio"] == 1.0
    assert records["b", 2]["throughput"] == 1.0
    assert records["fixed", 2]["p50_ratio"] == 0.5


def test_latency_of_two_kinds_of_query_by_the_command(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENSEARCH_USER", raising=False)
    results = tmp_path / "results"
    shutil.copytree(work / "model", results / "models/ours/seed-0")
    shutil.copytree(work / "collection", results / "collections/pydocs")
    with running(Cluster()) as address:
        two = {"extends": "os", "index": "os", "query": "two_phase"}
        config = {"results": str(results), "engines": {"os": ENTRY | {"address": address}, "os-2phase": two}}
        config["engines"]["os-ann"] = {"extends": "os", "field": "sparse_vector", "query": "ann"}
        (tmp_path / "mine.yaml").write_text(json.dumps(config))
        study = load_study(config, ROOT / "config")
        call(
            "build_index",
            results / "indexes/ours/seed-0/pydocs/os",
            specs.build_index(study, "ours", "os"),
            facts=specs.connection_facts(study, "os"),
            vectors=work / "vectors",
            model=work / "model",
        )
        place = ["--configfile", str(tmp_path / "mine.yaml"), "--config", str(ROOT / "config")]
        asked = ["--system", "ours", "--collection", "pydocs", "--engines", "os", "os-2phase"]
        little = [
            "--clients",
            "2",
            "--requests",
            "6",
            "--rounds",
            "1",
            "--warmup",
            "2",
            "--out",
            str(tmp_path / "times.json"),
        ]
        assert main([*place, *asked, *little]) == 0
        assert main([*place, *asked[:-1], "exact", *little]) == 2
        assert main([*place, *asked[:-2], "os-ann", *little]) == 2
        monkeypatch.setattr(OpenSearchIndex, "_bodies", lambda *_: iter([None]))
        assert main([*place, *asked, *little]) == 2
    records = read_json(tmp_path / "times.json")
    assert [record["engine"] for record in records] == ["os", "os-2phase", "fixed"]
    assert all(record["requests"] == 6 for record in records)
    told = capsys.readouterr().err
    assert "--engines: no engine of kind opensearch 'exact'; valid: os, os-2phase, os-ann" in told
    missing = results / "indexes/ours/seed-0/pydocs/os-ann"
    assert f"{missing}: nothing was ingested for it; run `snakemake" in told
    assert "ours: no query of pydocs has a token" in told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"--configfile": "none.yaml"}, "none.yaml: no such file"),
        ({"--configfile": "list.yaml"}, "list.yaml: expected a mapping of sections"),
        ({"--configfile": "broken.yaml"}, "broken.yaml: not YAML: "),
        ({"--configfile": "latin.yaml"}, "latin.yaml: not YAML: "),
        ({"--configfile": "."}, "Is a directory"),
        ({"--config": "nowhere"}, "config.yaml: no such file"),
        ({"--system": "our"}, "--system: no experiment or released checkpoint 'our'; did you mean 'ours'?"),
        ({"--system": "bm25"}, "--system: no experiment or released checkpoint 'bm25'; "),
        ({"--collection": "pydoc"}, "--collection: no collection 'pydoc'; did you mean 'pydocs'?"),
        ({"--engines": "o"}, "--engines: no engine of kind opensearch 'o'; did you mean 'os'?"),
        ({"--engines": "fixed"}, "--engines: fixed is the name of requests that match nothing; rename the engine"),
    ],
)
def test_latency_of_what_there_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: dict[str, str], told: str
) -> None:
    files = {"list.yaml": b"- 1\n", "broken.yaml": b"a: [", "latin.yaml": b"a: \xe9\n"}
    files["mine.yaml"] = json.dumps({"engines": {"os": ENTRY, "fixed": ENTRY}}).encode()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    asked = {"--configfile": "mine.yaml", "--system": "ours", "--collection": "pydocs", "--engines": "os"} | given
    asked["--configfile"] = str(tmp_path / asked["--configfile"])
    options = {"--config": str(ROOT / "config"), "--out": str(tmp_path / "times.json")} | asked
    assert main([part for option in options.items() for part in option]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert told in line
