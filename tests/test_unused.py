"""Experiments of one's own that nothing needs are told."""

from pathlib import Path

import pytest
from configs import ROOT, Config, experiment, load, read, table
from fake_checkout import make_checkout, snakemake

from sparsemill.study.load import load_study
from sparsemill.study.unused import unused_experiments


@pytest.mark.parametrize(
    ("config", "unused"),
    [
        ({}, ["x"]),
        ({"tables": table(rows=[{"system": "x"}])}, []),
        ({"explanations": {"e": {"collection": "pydocs", "systems": ["x"]}}}, []),
        ({"sweep": {"base": "x", "collection": "pydocs", "steps": [2, 3]}}, []),
        ({"tables": table(rows=[{"system": "ours"}])}, ["x"]),
    ],
)
def test_what_nothing_shows_is_unused(config: Config, unused: list[str]) -> None:
    own = experiment(steps=1)
    assert unused_experiments(load(experiments=own, **config), own) == unused


def test_a_base_of_others_is_no_mistake() -> None:
    own = experiment(steps=1) | {"y": {"extends": "x"}}
    assert unused_experiments(load(experiments=own), own) == ["y"]
    assert unused_experiments(load(experiments=own, tables=table(rows=[{"system": "y"}])), own) == []


@pytest.mark.parametrize("overlay", sorted((ROOT / "config" / "overlays").glob("*.yaml")), ids=lambda path: path.stem)
def test_overlays_here_use_what_they_define(overlay: Path) -> None:
    content = read(overlay)
    study = load_study(read(ROOT / "config" / "config.yaml") | content, ROOT / "config")
    assert unused_experiments(study, content.get("experiments", {})) == []


def test_it_is_told_and_nothing_stops(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    (checkout / "mine.yaml").write_text("experiments: {mine: {extends: ours}}")
    told = snakemake(checkout, "--dry-run", "--configfile", "mine.yaml")
    assert told.count("note: experiments.mine: nothing that is shown needs it, so it runs only as a target; ") == 1
    assert "note: " not in snakemake(checkout, "--dry-run")
