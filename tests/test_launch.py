"""How many processes share a step."""

from typing import Any

import pytest
from trained import RECIPE

from sparsemill.study.launch import sharing
from sparsemill.study.models import Training


@pytest.mark.parametrize(
    ("options", "processes", "expected"),
    [
        ({"queries_per_step": 40}, 8, 8),
        ({"queries_per_step": 124}, 8, 4),
        ({"queries_per_step": 4}, 8, 4),
        ({"queries_per_step": 7}, 6, 1),
        ({"queries_per_step": 40}, 1, 1),
        ({"queries_per_step": 24, "accumulation": 4, "regulariser": {"lambda_d": 0}}, 8, 6),
        ({"queries_per_step": 6, "accumulation": 4, "regulariser": {"lambda_d": 0}}, 8, 8),  # which no number can share
        ({"queries_per_step": 124, "in_batch": True, "gather": False}, 8, 8),
    ],
)
def test_as_many_processes_as_can_share_the_queries(options: dict[str, Any], processes: int, expected: int) -> None:
    assert sharing(Training.model_validate(RECIPE | options), processes) == expected
