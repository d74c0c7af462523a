"""What turns a logit into a weight: log saturation, once or twice, and its derivative."""

from torch import Tensor

ACTIVATIONS = {"log1p_relu": "relu", "double_log": "log1p_relu"}
"""Our names -> `activation_function` of `SpladePooling`, which names what the last logarithm is applied to."""


def activate(logits: Tensor, activation: str) -> Tensor:
    """log(1 + relu(x)) (2107.05720), or log(1 + log(1 + relu(x))) (2504.14839).

    Args:
        logits: any shape.
        activation: `log1p_relu` or `double_log`.

    Returns:
        The same shape, at least 0.
    """
    weights = logits.relu().log1p()
    return weights.log1p() if activation == "double_log" else weights


def slope(logits: Tensor, activation: str) -> Tensor:
    """The derivative of `activate`: 0 below and at 0; arguments and shape as there."""
    positive = logits.relu()
    derivative = (logits > 0) / (1 + positive)
    return derivative / (1 + positive.log1p()) if activation == "double_log" else derivative
