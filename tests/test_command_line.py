"""Command lines of stages, those among them that are longer than a shell takes."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sparsemill.command_line import LONG, input_words, json_object, named_inputs, parse_arguments, spec_word
from sparsemill.errors import UserError

MANY = {"store": ["results/store"], "artefacts": [f"results/vectors/x y/beir-{number}" for number in range(6000)]}


def parsed(words: list[str], spec: str = "{}") -> tuple[dict[str, list[Path]], dict[str, object]]:
    arguments = parse_arguments("stage", doc=None, argv=[*words, "--out", "x", "--spec", spec])
    return named_inputs(arguments.inputs), json_object("--spec", arguments.spec)


def test_short_ones_stand_in_the_command(tmp_path: Path) -> None:
    words = input_words({"a": ["x", "y z"], "none": [], "b": ["w"]}, tmp_path)
    assert words == ["--in", "a", "x", "y z", "--in", "b", "w"]
    assert parsed(words)[0] == {"a": [Path("x"), Path("y z")], "b": [Path("w")]}
    assert spec_word({"b": 1.0, "a": [2]}, tmp_path) == '{"a":[2],"b":1}'
    assert not list(tmp_path.iterdir())


def test_long_ones_stand_in_a_file_that_is_named_after_its_content(tmp_path: Path) -> None:
    words, spec = input_words(MANY, tmp_path), spec_word(MANY, tmp_path)
    assert words == ["--in", spec]
    assert spec.startswith(f"@{tmp_path}/")
    assert len(list(tmp_path.iterdir())) == 1
    inputs, content = parsed(words, spec)
    assert inputs == {name: list(map(Path, paths)) for name, paths in MANY.items()}
    assert content == MANY
    assert input_words(MANY | {"more": ["x"]}, tmp_path) != words


def test_a_shell_takes_any_number_of_inputs(tmp_path: Path) -> None:
    """As Snakemake runs a command: `bash -c`, the whole of it one argument."""
    told = "import sys; from sparsemill.command_line import *; "
    told += "found = named_inputs(parse_arguments('s', doc=None, argv=None).inputs); print(len(found['artefacts']))"
    whole = [word for name, paths in MANY.items() for word in ("--in", name, *paths)]
    for words, fits in ((whole, False), (input_words(MANY, tmp_path), True)):
        command = shlex.join([sys.executable, "-c", told, *words, "--out", "x", "--spec", "{}"])
        try:
            done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        except OSError:
            assert not fits
        else:
            assert fits
            assert done.stdout == "6000\n"


def test_what_is_just_short_enough_leaves_room_for_the_rest(tmp_path: Path) -> None:
    paths = ["y" * 99] * (LONG // 100 - 1)
    assert len(input_words({"a": paths}, tmp_path)) == 2 + len(paths)
    assert len(input_words({"a": [*paths, "y" * 99]}, tmp_path)) == 2


@pytest.mark.parametrize(("content", "message"), [("[1]", "--in: must be a JSON object, not"), ("{", "not JSON")])
def test_a_broken_file_of_inputs_is_told(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        named_inputs([[f"@{tmp_path / 'x.json'}"]])
    assert named_inputs([["a", "@b"]]) == {"a": [Path("@b")]}


def test_names_of_files_are_no_secret_of_the_order(tmp_path: Path) -> None:
    turned = dict(reversed(MANY.items()))
    assert input_words(turned, tmp_path) == input_words(json.loads(json.dumps(MANY)), tmp_path)
