"""Configs of a few keys on top of the demo's presets, and how tests load them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sparsemill.errors import UserError
from sparsemill.study.load import load_study
from sparsemill.study.models import Study

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "config"

Config = dict[str, Any]


def load(**config: Any) -> Study:
    return load_study(config, CONFIG)


def told(**config: Any) -> str:
    """The one line that a config is refused with."""
    with pytest.raises(UserError) as caught:
        load(**config)
    message = str(caught.value)
    assert "\n" not in message
    return message


def read(path: Path) -> Config:
    content: Config = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def experiment(**keys: Any) -> Config:
    return {"x": {"extends": "ours", **keys}}


def table(**keys: Any) -> Config:
    given = {"rows": [{"system": "ours"}], "columns": [{"measure": "nDCG@10", "collection": "pydocs"}], **keys}
    return {"t": {"caption": "", **given}}


def grid_of(values: Any, **keys: Any) -> Config:
    """A sweep of `ours` on `pydocs`."""
    return {"base": "ours", "collection": "pydocs", "grid": values, **keys}


def turned(value: Any) -> Any:
    """The same config with reversed keys, and every integer written as a float."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [turned(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
