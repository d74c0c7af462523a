"""Teachers in the config: what they are made from, where they may stand, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from sparsemill.errors import UserError
from sparsemill.study import check, edges, plan, specs
from sparsemill.study.load import load_study
from sparsemill.study.models import Study
from sparsemill.study.outside import outside_files

CONFIG = Path(__file__).resolve().parent.parent / "config"
FOLDER = {"kind": "folder", "path": "model"}
TEACHERS: dict[str, Any] = {
    "splade": {"kind": "sparse", "weights": FOLDER},
    "own": {"kind": "sparse", "experiment": "ours", "max_length": 64},
    "cross": {"kind": "cross_encoder", "weights": FOLDER},
    "trained": {"kind": "cross_encoder", "trained": "small"},
    "t5": {"kind": "monot5", "weights": FOLDER},
    "file": {"kind": "scores", "path": "scores", "layout": "opensearch"},
}
SMALL = {"weights": FOLDER, "training_set": "pydocs", "steps": 1, "queries_per_step": 1, "documents_per_query": 2}
EVERY = {"teachers": [*TEACHERS, "bm25", "minilm"]}
COLUMN = {"measure": "nDCG@10", "collection": "pydocs"}


def load(**config: Any) -> Study:
    teachers = TEACHERS | config.pop("teachers", {})
    return load_study({"teachers": teachers, "cross_encoders": {"small": SMALL}} | config, CONFIG)


def told(**config: Any) -> str:
    with pytest.raises(UserError) as error:
        load(**config)
    assert "\n" not in str(error.value)
    return str(error.value)


def table(*systems: str) -> dict[str, Any]:
    return {"t": {"caption": "", "rows": [{"system": system} for system in systems], "columns": [COLUMN]}}


@pytest.fixture(scope="module")
def study() -> Study:
    experiment = {"extends": "doc-distill", "ensemble": "every"}
    return load(ensembles={"every": EVERY}, experiments={"x": experiment}, tables=table("x", "splade", "own"), shards=2)


def test_scores_are_made_from_what_the_kind_needs(study: Study) -> None:
    made = {name: set(edges.upstream(study, f"scores/pydocs/{name}/shard-1")) for name in EVERY["teachers"]}
    texts = {"collection", "candidates"}
    embedded = texts | {"embeddings"}
    assert made == {
        "splade": embedded,
        "own": embedded,
        "cross": texts,
        "trained": texts | {"model"},
        "t5": texts,
        "file": texts,
        "bm25": embedded,
        "minilm": embedded,
    }
    assert edges.upstream(study, "scores/pydocs/trained/shard-0")["model"] == ["cross_encoders/small"]
    assert edges.upstream(study, "cross_encoders/small") == {
        "collection": ["collections/pydocs-train"],
        "candidates": ["candidates/pydocs"],
    }


def test_an_experiment_as_a_teacher_is_trained_first(study: Study) -> None:
    assert edges.upstream(study, "embeddings/own/pydocs/shard-0")["model"] == ["models/ours/seed-0"]
    assert "model" not in edges.upstream(study, "embeddings/splade/pydocs/shard-0")
    order = edges.closure(study, ["models/x/seed-0"])
    assert order.index("models/ours/seed-0") < order.index("embeddings/own/pydocs-train/shard-0")
    assert specs.embed_teacher(study, "own", "0")["queries"]["query_length"] == study.experiments["ours"].query_length


def test_scorers_are_in_the_spec_of_their_scores(study: Study) -> None:
    assert "scorer" not in specs.score_teacher(study, "minilm", "0")
    assert specs.score_teacher(study, "t5", "1")["scorer"]["template"].startswith("Query:")
    moved = load(ensembles={"every": EVERY}, data="/elsewhere")
    assert specs.score_teacher(moved, "file", "0")["scorer"]["path"] == "/elsewhere/scores"


def test_score_files_are_inputs(tmp_path: Path) -> None:
    (tmp_path / "scores").mkdir()
    for name in ("b.jsonl", "a.parquet", "README.md"):
        (tmp_path / "scores" / name).touch()
    study = load(data=str(tmp_path), teachers={"one": {"kind": "scores", "path": "scores/b.jsonl"}})

    def names(teacher: str) -> list[str]:
        return [Path(path).name for path in outside_files(study, f"scores/pydocs/{teacher}/shard-0")]

    assert names("file") == ["a.parquet", "b.jsonl"]
    assert len(outside_files(study, "mining/pydocs/file")) == 2
    assert outside_files(study, "mining/pydocs/ours") == []
    assert names("one") == ["b.jsonl"]
    assert names("minilm") == []


def test_sparse_teachers_are_rows(study: Study) -> None:
    for name in ("splade", "own"):
        assert specs.system_engine(study, name) == "exact"
        assert specs.variants(study, name) == ["fixed"]
        shards = [f"embeddings/{name}/pydocs/shard-{shard}" for shard in range(2)]
        assert edges.upstream(study, f"runs/{name}/fixed/pydocs/exact")["embeddings"] == shards
        assert edges.upstream(study, f"sparsity/{name}/fixed/pydocs")["vectors"] == shards
        assert f"sparsity/{name}/fixed/pydocs" in plan.costs(study, "sparsity")
        assert f"latency/{name}/fixed/pydocs" not in plan.costs(study, "latency")
    assert set(check.system_names(study)) >= {"splade", "own", "bm25", "minilm", "minilm-bm25", "x"}
    assert not {"cross", "trained", "t5", "file", "every"} & set(check.system_names(study))


@pytest.mark.parametrize("name", ["cross", "trained", "t5", "file"])
def test_teachers_that_score_candidates_only(name: str) -> None:
    kind = TEACHERS[name]["kind"]
    said = f"kind {kind} and scores candidates only"
    assert told(tables=table(name)).startswith(f"config: tables.t.rows: {name} is of {said}")
    mixed = {"mixed": {"teachers": ["bm25", name]}}
    assert f"mixed has the teacher {name}, which is of {said}" in told(ensembles=mixed, tables=table("mixed"))
    experiment = {"extends": "ours", "ensemble": "mixed", "in_batch": True}
    message = told(ensembles=mixed, experiments={"x": experiment})
    assert message.startswith(f"config: experiments.x.in_batch: mixed has the teacher {name}, which is of {said}")


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"kind": "sparse"}, "either weights or experiment"),
        ({"kind": "sparse", "weights": FOLDER, "experiment": "ours"}, "either weights or experiment"),
        ({"kind": "sparse", "weights": FOLDER, "seed": 1}, "seed belongs to experiment"),
        ({"kind": "sparse", "experiment": "our"}, "teachers.new.experiment: no experiment 'our'; did you mean 'ours'?"),
        ({"kind": "sparse", "experiment": "ours", "seed": 3}, "ours is not trained with seed 3; its seeds are 0"),
        ({"kind": "cross_encoder"}, "either weights or trained"),
        ({"kind": "cross_encoder", "trained": "smal"}, "no cross-encoder 'smal'; did you mean 'small'?"),
        ({"kind": "monot5", "weights": FOLDER, "template": "{query}"}, "needs {query} and {document}"),
        ({"kind": "scores", "path": "x", "layout": "pair"}, "should be 'pairs', 'msmarco_hard_negatives' or"),
    ],
)
def test_teachers_that_are_refused(teacher: dict[str, Any], message: str) -> None:
    assert message in told(teachers={"new": teacher})


@pytest.mark.parametrize(
    ("ensemble", "message"),
    [
        ({"teachers": ["bm25"], "rescale_to": "minilm", "scale": 1}, "minilm is not one of the ensemble's teachers"),
        ({"teachers": ["bm25"], "rescale_to": "bm25"}, "set scale: 1"),
    ],
)
def test_rescaling_that_is_refused(ensemble: dict[str, Any], message: str) -> None:
    assert message in told(ensembles={"new": ensemble})


def test_rescaling_reads_the_raw_scores() -> None:
    study = load(ensembles={"v3": {"teachers": ["bm25", "t5"], "rescale_to": "t5", "scale": 1}}, shards=2)
    found = edges.upstream(study, "targets/pydocs/v3")
    assert found["scores"] == ["normalized/pydocs/bm25/minmax", "normalized/pydocs/t5/minmax"]
    assert found["reference"] == ["scores/pydocs/t5/shard-0", "scores/pydocs/t5/shard-1"]
    assert "rescale_to" not in specs.aggregate_scores(study, "minilm-bm25")
    assert specs.aggregate_scores(study, "v3")["rescale_to"] == "t5"


def test_a_model_that_needs_itself() -> None:
    ensembles = {"self": {"teachers": ["own"]}}
    message = told(
        ensembles=ensembles,
        teachers={"own": {"kind": "sparse", "experiment": "x"}},
        experiments={
            "x": {"extends": "doc-distill", "ensemble": "self"},
        },
    )
    assert message.startswith("config: models/x/seed-0 -> models/x/seed-0 needs itself")
    both = {"a": {"extends": "doc-distill", "ensemble": "one"}, "b": {"extends": "doc-distill", "ensemble": "two"}}
    teachers = {name: {"kind": "sparse", "experiment": name[-1]} for name in ("of-a", "of-b")}
    circle = {"one": {"teachers": ["of-b"]}, "two": {"teachers": ["bm25", "of-a"]}}
    assert "models/a/seed-0 -> models/b/seed-0 -> models/a/seed-0" in told(
        experiments=both, teachers=teachers, ensembles=circle
    )
