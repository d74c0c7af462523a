"""Names in MLflow, and the store's description."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from configs import told

from sparsemill.errors import UserError
from sparsemill.tables import collect
from sparsemill.tracking.experiment_note import runs_link
from sparsemill.tracking.input_tags import input_tags, inputs_of
from sparsemill.tracking.names import CIRCUMSTANCES, TAG_LIMIT, address, metric_name, metric_names, parameters
from sparsemill.tracking.notes import Link, system_note
from sparsemill.tracking.points import Point, record_points
from sparsemill.tracking.store import create_store, open_store, write_store

ROOT = Path(__file__).parents[1]


def test_a_record_without_a_time_is_of_the_end_of_its_training() -> None:
    assert record_points({"step": 5, "time": 2.0, "loss": 1.5}, end=9000) == [Point("loss", 1.5, 2000, 5)]
    assert record_points({"step": 5, "loss": 1.5}, end=9000) == [Point("loss", 1.5, 9000, 5)]
    with pytest.raises(UserError, match=r"bad record.*'time'"):
        record_points({"step": 5, "loss": 1.5})


def test_inputs_have_as_many_tags_as_they_need() -> None:
    inputs = {
        f"embeddings_gte_0[{number}]": f"embeddings/gte/wikianswers/shard-{number}@{'0' * 16}" for number in range(300)
    }
    tags = input_tags(inputs)
    assert list(tags) == ["inputs", "inputs.2", "inputs.3"]
    assert max(map(len, tags.values())) <= TAG_LIMIT
    run = SimpleNamespace(data=SimpleNamespace(tags={"key": "k", **tags}))
    assert sorted(inputs_of(run)) == sorted(inputs.values())
    assert input_tags({}) == {"inputs": "{}"}
    run.data.tags = {"inputs": '{"a": "collections/a@0", "b": "coll... (cut)'}
    assert inputs_of(run) == []


def test_metric_names_are_legal_and_can_be_read_back() -> None:
    assert metric_name("nDCG@10") == "nDCG_10"
    assert metric_name("latency/BM25") == "latency/BM25"
    names = metric_names(["R@10", "R_10", "R(rel=2)@10"])
    assert names == {"R_10": "R@10", "R_10.2": "R_10", "R_rel_2__10": "R(rel=2)@10"}
    assert metric_name("/a//b/") == "a/b"
    assert metric_name("µ²") == "__"


def test_addresses() -> None:
    found = address("vectors/ours/seed-12/pydocs/shard-0001")
    assert (found.parent_key, found.seed, found.run_name) == ("systems/ours/seed-12", 12, "encode pydocs shard-0001")
    shared = address("collections/pydocs")
    assert (shared.parent_key, shared.seed, shared.run_name) == ("", None, "collections/pydocs")
    assert address("runs/bm25/fixed/pydocs/lucene").system_name == "bm25"


def test_parameters_are_flat_and_short() -> None:
    spec = {"a": {"b": 1.0, "c": None}, "teachers": ["x", "y"], "name": "n", "long": "z" * 7000, "empty": {}}
    found = parameters(spec)
    assert found["long"].endswith("(cut)")
    assert len(found.pop("long")) == 6000
    assert found == {"a.b": "1", "a.c": "null", "teachers": '["x","y"]', "name": "n", "empty": "{}"}


def test_circumstances_are_those_of_the_tables() -> None:
    assert set(CIRCUMSTANCES) == collect._CIRCUMSTANCES


def test_the_description_of_a_store_holds_no_absolute_path(tmp_path: Path) -> None:
    write_store(tmp_path, uri="", experiments=["b", "a", "a"], root="results/mlflow")
    described = json.loads((tmp_path / "store.json").read_text())
    uri = "sqlite:///results/mlflow/mlflow.db"
    assert described == {"uri": uri, "experiments": ["a", "b", "shared"], "root": "results/mlflow"}
    with pytest.raises(UserError, match="lacks experiments, root"):
        create_store(tmp_path, {"uri": ""})


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("https://me:secret@host", "MLFLOW_TRACKING_PASSWORD"),
        ("https://secret@host", "MLFLOW_TRACKING_PASSWORD"),
        ("postgresql://me:secret@host/db", "PGPASSWORD"),
        ("postgresql://host/db?user=me&password=secret", "PGPASSWORD"),
        ("ftp://me:secret@host", "holds a password"),
        ("http://[host", "no URI"),
        ("./mlruns", "give http"),
    ],
)
def test_an_address_that_is_none_or_tells_a_secret_is_refused_with_the_config(uri: str, message: str) -> None:
    refused = told(tracking={"uri": uri})
    assert message in refused
    assert "secret" not in refused


def test_a_moved_results_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    monkeypatch.chdir(one)
    create_store(Path("store"), {"uri": "", "experiments": ["demo"], "root": "mlflow"})
    assert set(open_store(Path("store")).experiments) == {"demo", "shared"}
    one.rename(two)
    monkeypatch.chdir(two)
    with pytest.raises(RuntimeError, match="was moved"):
        open_store(Path("store"))


def test_a_store_lies_in_its_folder_whatever_that_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a b, 50%20 #é'"
    folder.mkdir()
    monkeypatch.chdir(folder)
    create_store(Path("store"), {"uri": "", "experiments": ["demo"], "root": "mlflow"})
    assert (folder / "mlflow" / "mlflow.db").exists()


def test_a_folder_that_sqlite_cannot_be_told_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a?b").mkdir()
    monkeypatch.chdir(tmp_path / "a?b")
    with pytest.raises(UserError, match=r"a\?b/mlflow: SQLite's address ends at a question mark"):
        create_store(Path("store"), {"uri": "", "experiments": ["demo"], "root": "mlflow"})
    assert [path.name for path in tmp_path.iterdir()] == ["a?b"]


@pytest.mark.slow
def test_processes_that_open_a_fresh_store_together_do_not_race(tmp_path: Path) -> None:
    write_store(tmp_path / "store", uri="", experiments=["demo"], root=(tmp_path / "mlflow").as_posix())
    code = (
        "from pathlib import Path; from sparsemill.tracking.store import open_store;"
        f"print(sorted(open_store(Path({str(tmp_path / 'store')!r})).experiments))"
    )
    command = [sys.executable, "-c", code]
    jobs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    results = [job.communicate() for job in jobs]
    assert results == [("['demo', 'shared']\n", "")] * 3


def test_names_and_labels_mean_nothing_to_markdown() -> None:
    table = Link("", "1", "2")
    rows = ["main/a]b <i>\n*c*", "other/`d`"]
    note = system_note("my_own_model", values={}, stages=[], rows=rows, tables={"main": table}, files=[])
    assert r"Retriever **my\_own\_model**" in note
    assert (
        r"**Feeds:** [main/a\]b \<i\> \*c\*](#/experiments/1/runs/2?workflowType=machine_learning), other/\`d\`" in note
    )
    assert runs_link("a_b", "1").startswith(r"[a\_b](#")


def test_a_system_lists_its_stages_in_order_also_those_of_two_words() -> None:
    names = ["serving pydocs lucene", "engine time pydocs exact", "index size pydocs", "latency pydocs", "finetune"]
    stages = [Link(name, "1", name) for name in (*names, "encode pydocs shard-0", "index pydocs lucene")]
    note = system_note("ours", values={}, stages=stages, rows=[], tables={}, files=[])
    assert note.count("](#") == len(names)  # encodings and indexes have no link
    places = [note.index(f"[{name}]") for name in names]
    assert places == sorted(places, reverse=True)


def test_notes_show_small_values() -> None:
    values = {
        ("a", "nDCG@10"): 0.71234567,
        ("a", "tokens/doc"): 0.0000123456,
        ("a", "FLOPS"): 0.5,
        ("a", "postings"): 0.0,
    }
    note = system_note("x", values=values, stages=[], rows=[], tables={}, files=[])
    shown = dict(line.strip("| ").split(" | ") for line in note.splitlines() if line.startswith("| "))
    expected = {"nDCG@10": "0.7123", "tokens/doc": "0.0000123", "FLOPS": "0.5", "postings": "0"}
    assert expected.items() <= shown.items()
