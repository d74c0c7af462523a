"""Weight of the regulariser as a function of the global step, so that a resumed run continues it."""


def ramp(step: int, *, warmup_steps: int, schedule: str = "quadratic") -> float:
    """Factor of the regulariser's weight, in [0, 1].

    Args:
        step: optimiser steps done so far, from 0.
        warmup_steps: T; the factor is (min(t, T) / T)^2 with t = step + 1 (2205.04733; OpenSearch's sample), or
            min(t, T) / T for `linear`. 0: always 1.
        schedule: `quadratic` or `linear`.
    """
    if warmup_steps == 0:
        return 1.0
    fraction = min(step + 1, warmup_steps) / warmup_steps
    return fraction**2 if schedule == "quadratic" else fraction
