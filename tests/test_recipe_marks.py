"""Values that no paper states are marked, and a mark says what is true of its row."""

from typing import Any

import pytest
import yaml
from paper_recipes import CONFIG, PRESETS, ROWS, SCALES, value

from sparsemill.study import specs
from sparsemill.study.models import Study


def test_rows_at_paper_scale_say_what_is_assumed(studies: dict[str, Study]) -> None:
    study = studies["paper"]
    unstated = {"warmup_steps", "weight_decay", "regulariser.warmup_steps", "regulariser.reduction"}
    assert unstated <= study.experiments["ours"].assumed.keys() & study.pretrainings["pre-idf"].assumed.keys()
    for name in ROWS.values():
        assert study.experiments[name].assumed, name
    assert specs.trained_facts(study, "models/selfdistil/seed-0")["assumed"]["training_set"]


GUESSED = {
    "pre-idf": {"representation"},
    "ours": {"representation"},
    "ours-without-idf": {"regulariser.lambda_d"},
    "doc-distill": {"regulariser.lambda_d", "ensemble"},
    "pre-infonce": {"temperature", "infonce_weight"},
    "splade": {"queries_per_step", "learning_rate", "query_length", "document_length", "max_grad_norm"},
    "splade-doc": {"queries_per_step", "regulariser.lambda_d"},
    "splade-max": {"queries_per_step", "regulariser.lambda_d"},
    "distilsplade-max": {"queries_per_step", "regulariser.lambda_d"},
}


@pytest.mark.parametrize("scale", ["one-gpu", "paper"])
@pytest.mark.parametrize("name", GUESSED)
def test_guessed_values_are_marked(name: str, scale: str, studies: dict[str, Study]) -> None:
    assert GUESSED[name] <= (studies[scale].pretrainings | studies[scale].experiments)[name].assumed.keys()


def test_one_row_has_a_released_one_gpu_recipe(studies: dict[str, Study]) -> None:
    """The batch of the others is taken over from it."""
    found = studies["one-gpu"].experiments
    marks = {
        name: found[name].assumed["queries_per_step"] for name in ("splade", "distilmse", "cocondenser-selfdistil")
    }
    assert len(set(marks.values())) == 1
    assert found["cocondenser-ensembledistil"].assumed["queries_per_step"] == "released monogpu config"


def marks_of(entry: dict[str, Any], scale: str) -> set[str]:
    scaled = entry.get("scales", {}).get(scale) or {}
    return {*entry.get("assumed", {}), *scaled.get("assumed", {})}


@pytest.mark.parametrize("scale", SCALES)
def test_a_changed_value_does_not_keep_the_mark_of_its_base(scale: str, studies: dict[str, Study]) -> None:
    study = studies[scale]
    written: dict[str, Any] = {}
    for preset in PRESETS:
        content = yaml.safe_load((CONFIG / "papers" / f"{preset}.yaml").read_text())
        written |= content.get("pretrainings", {}) | content.get("experiments", {})
    trained = dict(study.pretrainings) | dict(study.experiments)
    derived = [name for name, entry in written.items() if name in trained and entry.get("extends") in trained]
    for name in derived:
        entry, base = trained[name], trained[written[name]["extends"]]
        inherited = entry.assumed.keys() - marks_of(written[name], scale)
        assert [key for key in inherited if value(entry, key) != value(base, key)] == [], name


@pytest.mark.parametrize("scale", ["one-gpu", "paper"])
def test_the_follow_up_says_what_is_its_own(scale: str, studies: dict[str, Study]) -> None:
    """2504.14839 states none of what 2411.04403 does."""
    ours = studies[scale].experiments["ours"].assumed
    for name in ("l0-mask", "l0-double-log", "l0-mask-double-log"):
        marks = studies[scale].experiments[name].assumed
        assert {"ensemble", "training_set", "start", "steps", "queries_per_step", "learning_rate"} <= marks.keys()
        for key in ("queries_per_step", "documents_per_query", "query_length", "training_set", "warmup_steps"):
            assert marks[key] != ours[key]
