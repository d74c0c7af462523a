"""The recipes of both papers as their overlays have them."""

from pathlib import Path
from typing import Any

import yaml

from sparsemill.study.load import load_study
from sparsemill.study.models import Study

CONFIG = Path(__file__).resolve().parent.parent / "config"
SCALES = ("demo", "one-gpu", "paper")
PRESETS = sorted(path.stem for path in (CONFIG / "papers").glob("*.yaml"))
ROWS = {
    # 2411.04403, Table 5
    "ours": "ours",
    "IDF of each test collection": "ours-test-idf",
    "ours without IDF": "ours-without-idf",
    "SPLADE-doc-distill": "doc-distill",
    "SPLADE-doc-distill with IDF": "doc-distill-idf",
    "SPLADE-doc-distill with IDF of each test collection": "doc-distill-test-idf",
    # Table 6; its first row is SPLADE-doc-distill with IDF, its fourth is ours
    "InfoNCE": "ours-infonce",
    "simply add": "ours-added",
    "dense: TAS-B": "ours-dense-small",
    "dense: gte-large": "ours-dense-large",
    "dense: both": "ours-dense-both",
    "sparse: opensearch-sparse": "ours-sparse-first",
    "sparse: SPLADE++ED": "ours-sparse-second",
    "sparse: both": "ours-sparse-both",
    # version 1, and 2504.14839
    "inverse-IDF FLOPS": "inverse-idf-flops",
    "l0 mask": "l0-mask",
    "double log": "l0-double-log",
    "l0 mask and double log": "l0-mask-double-log",
    # 2205.04733
    "SPLADE": "splade",
    "DistilMSE": "distilmse",
    "SelfDistil": "selfdistil",
    "EnsembleDistil": "ensembledistil",
    "CoCondenser-SelfDistil": "cocondenser-selfdistil",
    "CoCondenser-EnsembleDistil": "cocondenser-ensembledistil",
    # 2109.10086
    "SPLADE-doc": "splade-doc",
    "SPLADE-max": "splade-max",
    "DistilSPLADE-max": "distilsplade-max",
}


def overlay(name: str, **more: Any) -> Study:
    config = yaml.safe_load((CONFIG / "config.yaml").read_text())
    return load_study(config | yaml.safe_load((CONFIG / "overlays" / f"{name}.yaml").read_text()) | more, CONFIG)


def value(entry: Any, key: str) -> Any:
    for part in key.split("."):
        entry = getattr(entry, part)
    return entry
