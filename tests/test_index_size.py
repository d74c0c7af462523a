"""The size of an index as a measure that a table shows."""

from pathlib import Path
from typing import Any

import pytest
from test_collect import call

from sparsemill.errors import UserError
from sparsemill.files import read_json, write_json
from sparsemill.study import edges, plan, specs
from sparsemill.study.load import load_study
from sparsemill.tables.collect import collect

ROOT = Path(__file__).resolve().parent.parent
SPEC = {"system": "x", "variant": "fixed", "seed": None, "collection": "c", "engine": "exact"}


def test_it_is_the_sum_of_the_files_and_reaches_the_tidy_frame(tmp_path: Path) -> None:
    sizes = {"ids.txt": {"bytes": 400_000}, "weights.npy": {"bytes": 1_100_000}}
    write_json(tmp_path / "manifest.json", {"key": "indexes/x", "content": "1", "outputs": sizes})
    manifest = call("measure_index_size", tmp_path / "out", SPEC, key="index_size/x/fixed/c", index=tmp_path)
    assert manifest["facts"]["bytes"] == 1_500_000
    assert read_json(tmp_path / "out" / "index_size.json") == {"index MB": 1.5}
    frame = collect({"index_size": [tmp_path / "out"]})
    assert frame[["system", "engine", "measure", "value"]].to_numpy().tolist() == [["x", "exact", "index MB", 1.5]]


def study(measure: str, **options: Any) -> Any:
    rows = [{"system": "bm25"}, {"system": "ours"}, {"system": "minilm"}]
    table = {"caption": "", "rows": rows, "columns": [{"measure": measure, "collection": "pydocs"}]}
    return load_study({"presets": ["demo"], "tables": {"sizes": table}, **options}, ROOT / "config")


def test_it_is_measured_where_it_is_shown_and_for_systems_with_an_index() -> None:
    assert plan.costs(study("FLOPS"), "index_size") == []
    chosen = study("index MB")
    keys = ["index_size/bm25/fixed/pydocs", "index_size/ours/seed-0/pydocs"]
    assert plan.costs(chosen, "index_size") == keys
    assert edges.upstream(chosen, "tidy")["index_size"] == keys
    found = [edges.upstream(chosen, key)["index"] for key in keys]
    assert [place[0].split("/")[2:] for place in found] == [
        ["fixed", "pydocs", "lucene"],
        ["seed-0", "pydocs", "exact"],
    ]
    assert specs.measure_index_size(chosen, "ours", "seed-0", "pydocs")["engine"] == "exact"


def test_a_servers_index_has_no_files_to_count() -> None:
    engines = {"mine": {"kind": "milvus"}}
    with pytest.raises(UserError, match="index MB: only a server knows the size of an index of engine mine"):
        study("index MB", engine="mine", engines=engines)
