"""A table from its spec: what the rule renders, and what is compared with MLflow."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sparsemill.study.models import Table
from sparsemill.tables.layout import Layout, layout
from sparsemill.tables.published import with_published


def build(spec: Mapping[str, Any], frame: pd.DataFrame, significance: Mapping[str, Any] | None) -> Layout:
    """Lay out a table with what was measured and what is cited.

    Args:
        spec: see `sparsemill.study.specs.render_table`.
        frame: see `sparsemill.tables.tidy`.
        significance: content of `significance.json`, or None for a table without tests.
    """
    groups = spec.get("groups", {})
    measured = layout(Table(**spec["table"]), frame, significance, engines=spec["engines"], groups=groups)
    return with_published(measured, spec["published"]) if "published" in spec else measured
