"""Read YAML files of the config, and refuse a key that is there twice: YAML would keep the last one, without a word."""

from collections.abc import Iterable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from sparsemill.errors import UserError

# As safe as yaml.SafeLoader, and eight times faster where PyYAML was built with libyaml.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> dict[str, Any]:
    """The content of a file of the config.

    Raises:
        UserError: the file cannot be read, not YAML, no mapping, or a key that is there twice; with file and line.
    """
    try:
        loader = _LOADER(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        _refuse_repeated_keys(root, path)
        content = loader.construct_document(root) if root is not None else None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a mapping of sections")
    return content


def check_config_files(paths: Iterable[Path]) -> None:
    """Refuse keys that are there twice in files that Snakemake has read already, which only keeps the last.

    Raises:
        UserError: the first such key, with file and line.
    """
    for path in paths:
        with suppress(yaml.YAMLError):  # JSON with tabs, for example
            _refuse_repeated_keys(yaml.compose(path.read_text(encoding="utf-8"), Loader=_LOADER), path)


def check_overlays(paths: Iterable[Path], sections: Iterable[str]) -> None:
    """Refuse names that two files give to different entries, which Snakemake has merged to one that is in neither.

    Args:
        paths: files that Snakemake has read already.
        sections: those of named entries.

    Raises:
        UserError: the first such name, with both files.
    """
    known: dict[tuple[str, str], tuple[Any, Path]] = {}
    chosen = tuple(sections)
    for path in paths:
        content = _content(path)
        for section in chosen:
            entries = content.get(section)
            for name, entry in entries.items() if isinstance(entries, dict) else ():
                other, first = known.setdefault((section, str(name)), (entry, path))
                if other != entry:
                    raise UserError(f"{path}: {section}.{name} is another entry in {first}; give one another name")


def all_expected(paths: Iterable[Path]) -> dict[str, list[Any]]:
    """The lists `expected` of files that Snakemake has read already, one after the other: it keeps the last one alone.

    Returns:
        `expected` -> the list; nothing where no file has one, or one of them is no list.
    """
    found = [content["expected"] for content in map(_content, paths) if "expected" in content]
    lists = [values for values in found if isinstance(values, list)]
    return {"expected": list(chain.from_iterable(lists))} if found and len(lists) == len(found) else {}


def _content(path: Path) -> dict[str, Any]:
    with suppress(yaml.YAMLError):
        content = _LOADER(path.read_text(encoding="utf-8")).get_single_data()
        return content if isinstance(content, dict) else {}
    return {}


def _refuse_repeated_keys(node: yaml.Node | None, path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines:
                raise UserError(f"{path}:{line}: {name!r} is there already, in line {lines[name]}; keep one of them")
            lines[name] = line
            _refuse_repeated_keys(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_repeated_keys(item, path)
