"""The generated reference: in step with the models, complete, and true."""

import re
import shlex
from itertools import takewhile
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from configs import ROOT, read
from snakemake.cli import parse_config

from sparsemill.study import models, plan, reference
from sparsemill.study.load import load_study
from sparsemill.study.models import Experiment, Model, Study

CONFIG = Path(__file__).resolve().parent.parent / "config"
FILES = sorted(path for path in CONFIG.rglob("*.yaml"))
EXAMPLES = re.findall(r"```yaml\n(.*?)```", reference.INTRO.read_text(encoding="utf-8"), re.DOTALL)
PAGES = [ROOT / "README.md", CONFIG / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`", re.DOTALL)


def commands() -> list[str]:
    """Every command of the pages that gives values with `--config`."""
    codes = [block or span for page in PAGES for block, span in CODE.findall(page.read_text(encoding="utf-8"))]
    lines = [line for code in codes for line in code.replace("\\\n", " ").splitlines()]
    return sorted({line for line in lines if "--config " in line and "KEY=VALUE" not in line})


def subclasses(model: type[Model]) -> list[type[Model]]:
    return [one for sub in model.__subclasses__() for one in [sub, *subclasses(sub)]]


CONFIG_MODELS = [model for model in subclasses(Model) if model.__module__.startswith(models.__name__)]


def test_the_files_are_up_to_date() -> None:
    assert reference.main(["--check"]) == 0


def test_check_finds_what_is_out_of_date_and_writing_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "CONFIG", tmp_path)
    assert reference.main(["--check"]) == 1
    assert "README.md is out of date; run: python -m sparsemill.study.reference" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert reference.main([]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "schema.json"]
    assert reference.main(["--check"]) == 0
    (tmp_path / "README.md").write_text("old")
    assert reference.main(["--check"]) == 1


def test_values_are_written_as_in_yaml() -> None:
    assert "· `false` · `true` |" in reference.readme()
    assert not re.search("`(True|False|None)`", reference.readme())


@pytest.mark.parametrize("model", CONFIG_MODELS, ids=lambda model: model.__name__)
def test_every_key_is_explained(model: type[Model]) -> None:
    page = reference.readme()
    for key, field in model.model_fields.items():
        sections = model is Study and f"## `{key}`" in page
        constant = key == "kind" and f"`kind: {reference._kind(model)}`" in page
        assert sections or constant or (field.description and f"| `{key}` |" in page), key


def test_defaults_and_types_on_the_page() -> None:
    page = reference.readme()
    lines = dict(re.findall(r"^\| `(\w+)` \| (.*?) \| [^|]*\|$", page, re.MULTILINE))
    assert lines["quantisation"] == f"integer > 0, ≤ 100000 | `{Experiment.model_fields['quantisation'].default}`"
    assert lines["lambda_d"] == "number ≥ 0 | `0.001`"
    assert lines["teachers"] == "list of names | **required**"
    assert lines["normalisation"].startswith("`minmax` · `zscore` · `rank` · `softmax` · `none`")
    assert "see below" not in page
    assert "None" not in page


def test_the_page_says_which_defaults_shipped_files_change() -> None:
    (line,) = [line for line in reference.readme().splitlines() if line.startswith("A default counts")]
    assert "`config.yaml` sets `encode_precision: auto`, " in line
    assert "`papers/demo.yaml` sets `depth: 200`, `measures: [nDCG@10, MRR@10, R@100, AP]`" in line


def test_links_on_the_page_lead_somewhere() -> None:
    page = reference.readme()
    titles = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
    assert len(set(anchors)) == len(anchors)
    links = re.findall(r"\(#([^)]+)\)", page)
    assert set(links) <= set(anchors)
    assert "published-columns" in links


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.split(":")[0])
def test_examples_of_the_introduction_load(text: str) -> None:
    example = yaml.safe_load(text)
    study = load_study(example, CONFIG)
    assert set(example.get("tables", {})) <= set(study.tables)
    # Editors read YAML 1.2, in which `2e-3` is a number; this loader does not.
    jsonschema.validate(yaml.safe_load(re.sub(r"\b(\d)e-", r"\1.0e-", text)), reference.config_schema())


@pytest.mark.parametrize("command", commands())
def test_values_of_the_command_line_load(command: str) -> None:
    words = shlex.split(command.replace("COMMIT", "0" * 40))
    files = [CONFIG / "config.yaml", *(ROOT / word for word in words if word.endswith(".yaml"))]
    config = {key: value for file in files for key, value in read(file).items()}
    given = takewhile(lambda word: "=" in word, words[words.index("--config") + 1 :])
    assert plan.results(load_study(config | parse_config(list(given)), CONFIG))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) == 6
    assert len(commands()) > 8
    assert "sweep={base: ours, grid: {regulariser.lambda_d: [1e-3, 4e-3]}, collection: pydocs}" in reference.readme()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIG)))
def test_shipped_files_fit_the_schema(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text()), reference.config_schema())


@pytest.mark.parametrize(
    "config",
    [
        {"experimnts": {}},
        {"experiments": {"x": {"extends": "ours", "lamda": 1}}},
        {"experiments": {"x": {"regulariser": {"lamda_d": 1}}}},
        {"teachers": {"x": {"kind": "dense", "max_lenght": 3}}},
        {"depth": 0},
        {"sweep": 3},
        {"sweep": {"base": "ours"}},
        {"sweep": {"lambda_d": 3}},
    ],
)
def test_the_schema_refuses_mistakes(config: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config, reference.config_schema())
