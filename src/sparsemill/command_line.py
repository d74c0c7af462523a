"""The arguments of every command line of `workflow/scripts/`, and files that stand for long ones."""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sparsemill.errors import UserError
from sparsemill.files import canonical_json, read_json, text_hash, write_text

LONG = 32_000
"""Characters of an argument that goes into a file: Linux gives a shell no command of 128 KiB."""


def parse_arguments(stage: str, *, doc: str | None, argv: list[str] | None) -> argparse.Namespace:
    """Read a stage's command line; `argv` is that of the process unless it is given."""
    parser = argparse.ArgumentParser(prog=stage, description=doc)
    parser.add_argument("--spec", required=True, help="the stage's settings: JSON, or @FILE")
    parser.add_argument(
        "--in",
        dest="inputs",
        action="append",
        nargs="+",
        default=[],
        metavar=("NAME", "PATH"),
        help="an input; @FILE: all that a JSON object of lists of paths names",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the outputs, replaced whole")
    parser.add_argument("--key", help="readable id of the artefact (default: the --out path)")
    parser.add_argument("--state", type=Path, help="folder for checkpoints (default: OUT.state)")
    parser.add_argument("--log", type=Path, help="log file (default: standard error only)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--facts", default="{}", help="JSON that the manifest keeps as it is; not part of the settings")
    return parser.parse_args(argv)


def _parse_json(option: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{option}: not JSON at character {error.pos}: {error.msg}") from None


def json_object(option: str, text: str) -> dict[str, Any]:
    """What an option says in JSON, or in the file after `@`.

    Raises:
        UserError: it is not JSON, or no object.
    """
    value = read_json(Path(text[1:])) if text.startswith("@") else _parse_json(option, text)
    if not isinstance(value, dict):
        raise UserError(f"{option}: must be a JSON object, not {str(value)[:40]}")
    return value


def named_inputs(words: Iterable[Sequence[str]]) -> dict[str, list[Path]]:
    """Input name -> paths, of the words after each `--in`.

    Raises:
        UserError: a file after `@` is not what it must be.
    """
    found: dict[str, list[str]] = {}
    for name, *paths in words:
        found |= {name: paths} if paths or not name.startswith("@") else json_object("--in", name)
    return {name: [Path(path) for path in paths] for name, paths in found.items()}


def _filed(text: str, folder: Path) -> str:
    """`@FILE`, named after its text."""
    path = folder / f"{text_hash(text)}.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    return f"@{path.as_posix()}"


def input_words(inputs: Mapping[str, Sequence[str]], folder: Path) -> list[str]:
    """`--in NAME PATH...` for every input that has paths; where that is too long `--in @FILE`, a file in `folder`."""
    named = {name: list(paths) for name, paths in inputs.items() if paths}
    words = [word for name, paths in named.items() for word in ("--in", name, *paths)]
    if sum(map(len, words)) + len(words) <= LONG:
        return words
    return ["--in", _filed(canonical_json(named), folder)]


def spec_word(spec: Any, folder: Path) -> str:
    """A spec as canonical JSON; where that is too long `@FILE`, a file in `folder`."""
    text = canonical_json(spec)
    return text if len(text) <= LONG else _filed(text, folder)
