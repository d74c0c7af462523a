"""Every row of both papers is an experiment, at three scales, with the values that the papers print."""

import re
from typing import Any

import pytest
import yaml
from paper_recipes import CONFIG, PRESETS, ROWS, SCALES, overlay, value

from sparsemill.study import edges, plan, specs
from sparsemill.study.load import load_study
from sparsemill.study.models import DenseTeacher, SparseTeacher, Study
from sparsemill.study.revisions import unpinned

LARGE: dict[str, Any] = {"measures": ["nDCG@10", "MRR@10", "R@100", "R@1000"], "depth": 1000}
"""What the overlays of the larger scales set; the demo's runs are too short for R@1000."""
SWEEPS = {
    name: path.stem
    for path in sorted((CONFIG / "sweeps").glob("*.yaml"))
    for name in yaml.safe_load(path.read_text())["sweeps"]
}


def at(scale: str) -> dict[str, Any]:
    return {"scale": scale, **({} if scale == "demo" else LARGE)}


def made(study: Study) -> list[str]:
    return edges.closure(study, plan.results(study))


def ancestors(study: Study, key: str) -> set[str]:
    return set(edges.closure(study, [key]))


# --- what there is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_validate_at_every_scale(preset: str, scale: str) -> None:
    study = load_study({"presets": [preset], **at(scale)}, CONFIG)
    assert study.scale == scale
    small = preset in ("demo", "efficiency")
    assert bool(study.tables) == (not small or scale == "demo")
    assert made(study) or small


@pytest.mark.parametrize(
    ("name", "scale"),
    [(name, scale) for name in sorted(SWEEPS) for scale in SCALES if scale == "demo" or SWEEPS[name] != "demo"],
)
def test_sweeps_expand_at_the_scales_they_have(name: str, scale: str) -> None:
    study = load_study({"presets": [SWEEPS[name]], **at(scale), "sweep": [name]}, CONFIG)
    points = [row.system for row in study.tables[f"sweep-{name}"].rows[1:]]
    assert len(points) > 3
    if name.startswith(("figure", "lambda")):
        assert len({study.experiments[point].regulariser.lambda_d for point in points}) == len(points)
    if name.startswith("figure"):
        assert all("regulariser.lambda_d" in study.experiments[point].assumed for point in points)


def test_the_figures_have_the_papers_number_of_weights() -> None:
    for scale in SCALES:
        study = load_study({"presets": ["inference_free"], **at(scale), "sweep": ["figure-3", "figure-4"]}, CONFIG)
        for name, count in (("figure-3", 8), ("figure-4", 6)):
            points = study.tables[f"sweep-{name}"].rows
            assert len({study.experiments[point.system].regulariser.lambda_d for point in points}) == count


@pytest.mark.parametrize("scale", SCALES)
def test_every_row_of_the_papers_is_an_experiment_and_in_a_table(scale: str, studies: dict[str, Study]) -> None:
    study = studies[scale]
    shown = {row.system for table in study.tables.values() for row in table.rows}
    assert set(ROWS.values()) <= shown & set(study.experiments)
    labels = [table.caption for name, table in study.tables.items() if name.endswith("-demo")]
    assert all(caption.startswith("Demo scale: pydocs") for caption in labels)
    assert bool(labels) == (scale == "demo")


def test_the_index_of_the_papers_names_what_there_is(studies: dict[str, Study]) -> None:
    page = (CONFIG.parent / "docs" / "paper_index.md").read_text(encoding="utf-8")
    for path in re.findall(r"`((?:src|config)/[\w/.]+\.\w+)`", page):
        assert (CONFIG.parent / path).is_file(), path
    rows = [
        line.split("|") for line in page.splitlines() if re.search(r"`(demo|inference_free|splade_pp)\.yaml`", line)
    ]
    named = {name for row in rows for name in re.findall(r"`([\w-]+)`", row[2])}
    full = {name for name in named if not name.startswith("-")} - {"activation", "ours-two-phase", "bm25-opensearch"}
    study = studies["demo"]
    shown = set(study.tables) | {name.removesuffix("-demo") for name in study.tables} | set(study.figures)
    assert full <= set(ROWS.values()) | shown | {"figure-3", "figure-4"}
    assert len(rows) > 10


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONFIG / "overlays").glob("*.yaml")))
def test_every_published_table_that_a_table_names_is_in_it(name: str) -> None:
    study = overlay(name)
    for key, table in study.tables.items():
        if table.published:
            shown = specs.render_table(study, key)["published"]
            assert len(shown["sources"]) == len(table.published), key


@pytest.mark.parametrize("scale", SCALES)
def test_means_over_beir_stand_beside_splade_v2(scale: str, studies: dict[str, Study]) -> None:
    """They are of other judgements of Touche than the mean of the other rows."""
    name = "splade-pp-demo" if scale == "demo" else "splade-pp"
    table, shown = studies[scale].tables[name], specs.render_table(studies[scale], name)["published"]
    first = [place for place, column in enumerate(table.columns) if column.collection == "beir-13-touche-v1"]
    found = {table.rows[cell["row"]].system: cell["value"] for cell in shown["cells"] if cell["column"] in first}
    assert found == {"splade-max": 0.464, "distilsplade-max": 0.506}


# --- the graph ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALES)
def test_selfdistil_is_mined_by_the_model_of_distilmse(scale: str, studies: dict[str, Study]) -> None:
    for name in ("selfdistil", "cocondenser-selfdistil"):
        above = ancestors(studies[scale], f"models/{name}/seed-0")
        assert "models/distilmse/seed-0" in above
        assert "models/splade/seed-0" not in above
    assert "models/distilmse/seed-0" not in ancestors(studies[scale], "models/ensembledistil/seed-0")


@pytest.mark.parametrize("scale", ["one-gpu", "paper"])
def test_ours_is_mined_by_the_model_without_pretraining(scale: str, studies: dict[str, Study]) -> None:
    assert "models/doc-distill-idf/seed-0" in ancestors(studies[scale], "models/ours/seed-0")


def test_the_siamese_teacher_is_a_model_of_the_pipeline(studies: dict[str, Study]) -> None:
    assert "models/siamese/seed-0" in ancestors(studies["demo"], "pretrained/pre-sparse-second/seed-0")
    assert "models/siamese/seed-0" not in made(studies["paper"])


def test_cross_encoders_are_trained_at_demo_scale_only(studies: dict[str, Study]) -> None:
    assert "cross_encoders/ce-minilm" in ancestors(studies["demo"], "models/distilmse/seed-0")
    assert not [key for key in made(studies["paper"]) if key.startswith("cross_encoders/")]


@pytest.mark.parametrize("scale", SCALES)
def test_ablations_share_upstream(scale: str, studies: dict[str, Study]) -> None:
    study = studies[scale]
    ours = ancestors(study, "models/ours/seed-0")
    for name in ("ours-infonce", "ours-added", "ours-dense-both", "ours-sparse-first"):
        start = study.experiments[name].start
        own = {key for key in ancestors(study, f"models/{name}/seed-0") - ours if "embeddings" not in key}
        assert own == {f"models/{name}/seed-0", f"pretrained/{start}/seed-0"}
    heads = {key.split("/")[0] for key in made(study) if "-test-idf/" in key}
    assert heads == {"runs", "evaluations", "sparsity"}


def test_one_command_trains_all_rows_at_demo_scale(studies: dict[str, Study]) -> None:
    keys = made(studies["demo"])
    trained = [key for key in keys if key.startswith(("models/", "pretrained/", "cross_encoders/"))]
    assert len(trained) <= 50
    assert {key.split("/")[1] for key in keys if key.startswith("collections/")} == {"pydocs", "pydocs-train"}


def test_nothing_is_learned_from_test_queries(studies: dict[str, Study]) -> None:
    """The test collection reaches a model through its documents alone: their tokens and frequencies."""
    study = studies["demo"]
    above = set(edges.closure(study, [key for key in made(study) if key.startswith(("models/", "pretrained/"))]))
    users = {key for key in above for keys in edges.upstream(study, key).values() if "collections/pydocs" in keys}
    assert users == {"idfs/pydocs", "backbones/minilm-l2-pydocs"}


def test_the_demo_is_part_of_it(studies: dict[str, Study]) -> None:
    """What the demo trains, all rows of the papers use: the specs are the same."""
    demo = load_study(yaml.safe_load((CONFIG / "config.yaml").read_text()), CONFIG)
    for name in demo.experiments.keys() - {"x"}:
        if f"models/{name}/seed-0" in made(demo):
            assert specs.finetune(demo, name, "0") == specs.finetune(studies["demo"], name, "0")


# --- values ------------------------------------------------------------------------------------------------------

PRETRAINING = {
    **{"backbone": "co-condenser-marco", "steps": 150_000, "queries_per_step": 48, "documents_per_query": 8},
    **{
        "learning_rate": 5e-5,
        "document_length": 128,
        "regulariser.lambda_d": 1e-7,
        "kl_weight": 1,
        "infonce_weight": 0,
    },
}
FINETUNING = {
    **{"steps": 50_000, "queries_per_step": 40, "documents_per_query": 11, "learning_rate": 2e-5, "idf": "msmarco"},
    **{"document_length": 256, "encode_length": 512, "regulariser.lambda_d": 0.02, "infonce_weight": 0},
}
SPLADE = {
    **{"steps": 150_000, "queries_per_step": 128, "documents_per_query": 2, "learning_rate": 2e-5, "kl_weight": 0},
    **{"query_length": 256, "document_length": 256, "regulariser.warmup_steps": 50_000, "query_side": "splade"},
}
DISTIL = SPLADE | {"margin_mse_weight": 1, "infonce_weight": 0, "in_batch": "none", "margin_mse": "pairs"}
STRONG = {"regulariser.lambda_d": 0.4, "query_regulariser.lambda_q": 0.5}
PRINTED = {
    "pre-idf": PRETRAINING,
    "ours": FINETUNING | {"query_side": "idf", "ensemble": "four-teachers-s30"},
    "ours-without-idf": FINETUNING | {"query_side": "binary", "start": "pre-binary"},
    "doc-distill-idf": FINETUNING | {"start": "co-condenser-marco"},
    "pre-infonce": PRETRAINING | {"kl_weight": 0, "infonce_weight": 1, "ensemble": None},
    "pre-dense-both": PRETRAINING | {"ensemble": "tas-b-gte"},
    "splade": SPLADE
    | {"start": "distilbert", "regulariser.lambda_d": 1e-4, "query_regulariser.lambda_q": 3e-4, "infonce_weight": 1},
    "distilmse": DISTIL | STRONG | {"start": "distilbert"},
    "selfdistil": DISTIL | STRONG | {"start": "distilbert", "training_set": "msmarco-self"},
    "ensembledistil": DISTIL | {"regulariser.lambda_d": 0.08, "query_regulariser.lambda_q": 0.1},
    "cocondenser-selfdistil": DISTIL | STRONG | {"start": "co-condenser-marco", "training_set": "msmarco-self"},
    "cocondenser-ensembledistil": DISTIL | STRONG | {"start": "co-condenser-marco"},
    "splade-doc": {"query_side": "binary", "query_regulariser": None, "queries_per_step": 124},
    "l0-mask": {"regulariser.mask_below": 200, "regulariser.lambda_d": 0.04, "documents_per_query": 2},
}


@pytest.mark.parametrize("name", PRINTED)
def test_printed_values(name: str, studies: dict[str, Study]) -> None:
    entry = (studies["paper"].pretrainings | studies["paper"].experiments)[name]
    assert {key: value(entry, key) for key in PRINTED[name]} == PRINTED[name]


def test_the_published_one_gpu_recipe(studies: dict[str, Study]) -> None:
    anchor = studies["one-gpu"].experiments["cocondenser-ensembledistil"]
    assert (anchor.queries_per_step, anchor.start) == (16, "co-condenser-marco")
    assert (anchor.regulariser.lambda_d, anchor.regulariser.warmup_steps) == (0.4, 50_000)
    assert anchor.query_regulariser is not None
    assert anchor.query_regulariser.lambda_q == 0.5


def test_ensembles_of_the_inference_free_paper(studies: dict[str, Study]) -> None:
    found = studies["paper"].ensembles
    assert (found["gte-opensearch"].scale, found["four-teachers-s30"].scale) == (10, 30)
    assert [f"{name}-128" for name in found["four-teachers-s30"].teachers[:2]] == found["gte-opensearch"].teachers
    assert {found[name].normalisation for name in ("gte-opensearch", "four-teachers-s30")} == {"minmax"}
    assert found["ms-marco-minilm-l6-raw"].normalisation == "none"


@pytest.mark.parametrize("scale", ["one-gpu", "paper"])
def test_siamese_teachers_read_as_much_as_their_student(scale: str, studies: dict[str, Study]) -> None:
    study = studies[scale]
    for name in ("pre-idf", "pre-added", "pre-dense-both", "pre-sparse-both", "pre-sparse-second", "ours"):
        student = (study.pretrainings | study.experiments)[name]
        assert student.ensemble is not None
        teachers = [study.teachers[teacher] for teacher in study.ensembles[student.ensemble].teachers]
        siamese = [teacher for teacher in teachers if isinstance(teacher, DenseTeacher | SparseTeacher)]
        assert {teacher.max_length for teacher in siamese} == {student.document_length}


@pytest.mark.parametrize("scale", ["one-gpu", "paper"])
def test_weights_are_pinned_or_asked_for(scale: str, studies: dict[str, Study]) -> None:
    assert unpinned(studies["demo"]) == []
    asked = unpinned(studies[scale])
    assert asked == ["Luyu/co-condenser-marco", "castorini/monot5-3b-msmarco-10k"]
    names = {"one-gpu": "papers_one_gpu", "paper": "papers_paper"}
    assert unpinned(overlay(names[scale], revisions=dict.fromkeys(asked, "0" * 40))) == []
