"""What stops a training that can no longer become a retriever, before it spoils parameters or hours."""

import math
from dataclasses import dataclass
from typing import Any

from sparsemill.errors import UserError

WINDOW = 100
"""Steps over which active tokens are averaged before two averages are compared."""
FALLING = 0.99
"""A window at or below this share of the one before is on its way down."""


def check_step(statistics: dict[str, float], step: int) -> None:
    """Refuse a step whose parameters would be spoiled, or that learns nothing.

    Zero vectors have no gradient through the relu, so a batch of them never recovers.

    Raises:
        UserError: loss or gradient not finite, or no active token in any vector of the batch.
    """
    # Of a side without an active token the anti-zero term is infinite, and so is their sum.
    if statistics.get("anti_zero") != math.inf:
        _check_finite(statistics, step)
    for name, weight, kind in (("active_tokens", "lambda_d", "document"), ("active_query_tokens", "lambda_q", "query")):
        if statistics.get(name) == 0:
            key = "regulariser.lambda_d" if kind == "document" else "query_regulariser.lambda_q"
            what = f"lower {key}, or raise its warmup_steps" if statistics.get(weight) else "lower learning_rate"
            raise UserError(f"step {step}: every {kind} vector is zero; {what}")
    _check_finite(statistics, step)


def _check_finite(statistics: dict[str, float], step: int) -> None:
    for name, value in statistics.items():
        if not math.isfinite(value):
            what = "gradient" if name == "gradient_norm" else "loss"
            raise UserError(
                f"step {step}: the {what} is not finite ({name} is {value}); lower learning_rate, set max_grad_norm, "
                "or use precision: fp32"
            )


@dataclass
class DenseGuard:
    """Stops a training whose documents stay dense although the penalty is at its full weight.

    Once the penalty has warmed up, a sparse model has far fewer active tokens than half of the vocabulary; one above
    half that does not get sparser from window to window will not. Before that, many models are dense and recover.

    Attributes:
        vocabulary: size of a vector.
        warm: step at which the penalty has its full weight; None: there is no penalty, and dense is what was asked for.
        total, last: sum of active tokens in this window, and mean of the one before (0: there was none).
    """

    vocabulary: int
    warm: int | None
    total: float = 0.0
    last: float = 0.0

    def state(self) -> dict[str, float]:
        """What a resumed training needs."""
        return {"total": self.total, "last": self.last}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        self.total, self.last = state["total"], state["last"]

    def check(self, active: float, step: int) -> None:
        """Count the mean active tokens of a step, from 1.

        Raises:
            UserError: documents are dense and do not get sparser.
        """
        if self.warm is None or step <= self.warm:
            return
        self.total += active
        if (step - self.warm) % WINDOW:
            return
        mean, before = self.total / WINDOW, self.last
        self.total, self.last = 0.0, mean
        if mean > self.vocabulary / 2 and before and mean > FALLING * before:
            raise UserError(
                f"step {step}: documents have {mean:.0f} active tokens of {self.vocabulary} and do not get sparser "
                "at the full penalty; raise regulariser.lambda_d, or lower learning_rate"
            )
