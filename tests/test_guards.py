"""Trainings that can no longer become a retriever are stopped."""

import math

import pytest

from sparsemill.errors import UserError
from sparsemill.training.guards import WINDOW, DenseGuard, check_step

FINE = {"loss": 1.0, "kl": 0.9, "gradient_norm": 2.0, "active_tokens": 80.0, "lambda_d": 0.01, "lambda_q": 0.02}


def test_a_good_step_passes() -> None:
    check_step(FINE, 1)
    check_step(FINE | {"active_query_tokens": 3.0}, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_loss_and_gradient_must_be_finite(value: float) -> None:
    with pytest.raises(
        UserError, match=r"^step 7: the gradient is not finite \(gradient_norm is .*lower learning_rate"
    ):
        check_step(FINE | {"gradient_norm": value}, 7)
    with pytest.raises(UserError, match=r"^step 7: the loss is not finite \(kl is "):
        check_step(FINE | {"kl": value}, 7)


def test_zero_vectors_name_the_key_of_their_side() -> None:
    with pytest.raises(UserError, match=r"every document vector is zero; lower regulariser\.lambda_d"):
        check_step(FINE | {"active_tokens": 0.0}, 7)
    with pytest.raises(UserError, match=r"every query vector is zero; lower query_regulariser\.lambda_q"):
        check_step(FINE | {"active_query_tokens": 0.0}, 7)


def test_zero_vectors_without_a_penalty_are_of_the_learning_rate() -> None:
    with pytest.raises(UserError, match=r"^step 7: every query vector is zero; lower learning_rate$"):
        check_step({"loss": 1.0, "active_tokens": 3.0, "active_query_tokens": 0.0}, 7)


def test_a_side_without_a_token_is_told_although_its_anti_zero_term_is_infinite() -> None:
    gone = {"anti_zero": math.inf, "loss": math.inf, "gradient_norm": math.nan}
    with pytest.raises(UserError, match=r"every document vector is zero; lower regulariser\.lambda_d"):
        check_step(FINE | gone | {"active_tokens": 0.0}, 7)
    with pytest.raises(UserError, match=r"the loss is not finite \(loss is inf\)"):
        check_step(FINE | gone, 7)


def stopped(guard: DenseGuard, active: list[float], *, start: int = 1) -> int | None:
    """The step at which the guard stops a training with these active tokens."""
    for step, value in enumerate(active, start=start):
        try:
            guard.check(value, step)
        except UserError:
            return step
    return None


def test_dense_documents_stop_two_windows_after_the_warm_up() -> None:
    assert stopped(DenseGuard(1000, 50), [900.0] * 1000) == 50 + 2 * WINDOW


def test_the_key_to_change_is_named() -> None:
    guard = DenseGuard(1000, 0)
    assert stopped(guard, [900.0] * (2 * WINDOW - 1)) is None
    with pytest.raises(UserError, match=r"step 200: documents have 900 active tokens of 1000.*regulariser\.lambda_d"):
        guard.check(900.0, 2 * WINDOW)


def test_dense_documents_may_get_sparser() -> None:
    falling = [1000 * 0.999**step for step in range(1000)]  # 10 percent per window
    assert stopped(DenseGuard(1000, 0), falling) is None


def test_half_of_the_vocabulary_and_less_passes() -> None:
    assert stopped(DenseGuard(1000, 0), [500.0] * 1000) is None


def test_without_a_penalty_dense_is_what_was_asked_for() -> None:
    assert stopped(DenseGuard(1000, None), [1000.0] * 1000) is None


def test_a_resumed_guard_stops_at_the_same_step() -> None:
    first, second = DenseGuard(1000, 20), DenseGuard(1000, 20)
    assert stopped(first, [900.0] * 150) is None
    second.restore(first.state())
    assert stopped(second, [900.0] * 1000, start=151) == 20 + 2 * WINDOW
