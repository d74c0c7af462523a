"""Positive maxima of float32 logits, where a processor multiplies bfloat16 several times as fast.

A document activates some hundred of 30,000 vocabulary entries; of all others one need only know that no logit is
above 0. A product in bfloat16 with a bound on its error says so; what it leaves open is multiplied in float32.
"""

import torch
from torch import Tensor

from sparsemill.models.max_logits import check_lengths, columns_at_once, equal_lengths, even_rows, max_logits, spans
from sparsemill.models.products import product

ROUNDING = 2.0**-8
"""Largest relative error of a number rounded to bfloat16, which has 8 bits of precision."""
SLACK = 1.05
"""For what is of second order: products of two errors, and float32's own in sums of up to 3,000 addends."""


class ScreenedLogits:
    """Stands in for `max_logits` where only positive maxima count and no gradient does: encoding, on a CPU.

    Args:
        weight: [vocabulary, width] float32, the decoder; must not change afterwards.
    """

    def __init__(self, weight: Tensor) -> None:
        self._rounded = weight.bfloat16()
        self._norms = torch.linalg.vector_norm(weight, dim=1)

    def _raised_bias(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """[vocabulary]: so much bias that a bfloat16 product is at least 0 wherever the float32 logit is.

        Both factors are rounded, so by Cauchy and Schwarz their product is off by 2 ROUNDING |hidden| |weight| at most,
        and the bias by ROUNDING of itself. Rounding what is written keeps its sign.
        """
        off = self._norms * (2 * ROUNDING * SLACK * torch.linalg.vector_norm(hidden, dim=1).max())
        raised: Tensor = bias + off + (bias.abs() + off) * (ROUNDING * SLACK)
        return raised

    def _may_be_positive(self, hidden: Tensor, raised: Tensor, lengths: list[int]) -> Tensor:
        """[documents, vocabulary]: False only where no logit is above 0."""
        tokens, shapes = equal_lengths(lengths)
        found = torch.empty(len(lengths), len(raised), dtype=torch.bool)
        rows = torch.split(found, [documents for documents, _ in shapes])
        count, hidden, raised = len(hidden), even_rows(hidden.bfloat16()), raised.bfloat16()
        step = columns_at_once(hidden)
        for low in range(0, len(raised), step):
            end = low + step
            # As integers, numbers with their sign bit are negative too, and reduced eight times as fast.
            bits = product(hidden, self._rounded[low:end], raised[low:end]).view(torch.int16)
            for block, part, shape in zip(rows, torch.split(bits[:count], tokens), shapes, strict=True):
                torch.ge(part.view(*shape, -1).amax(1), 0, out=block[:, low:end])
        return found

    def __call__(self, hidden: Tensor, weight: Tensor, bias: Tensor, lengths: list[int]) -> Tensor:
        """The largest logit of each vocabulary entry over the tokens of each document, or 0 if none is positive.

        Equals `max_logits` with 0 for what is negative, but for rounding of sums in float32. Numbers that are not
        finite, which no bound holds for, go to `max_logits`.

        Args:
            hidden: [tokens, width] float32, the decoder's input, documents one after the other, without padding.
            weight: what the object was made of.
            bias: [vocabulary].
            lengths: tokens of each document, each at least 1, adding up to `tokens`.

        Returns:
            [documents, vocabulary], float32.
        """
        check_lengths(hidden, lengths)
        raised = self._raised_bias(hidden, bias)
        if not torch.isfinite(raised).all():
            return max_logits(hidden, weight, bias, lengths)
        candidates = self._may_be_positive(hidden, raised, lengths)
        output = torch.zeros(candidates.shape)
        for row, (start, end) in enumerate(spans(lengths)):
            columns = candidates[row].nonzero().squeeze(1)
            logits = hidden[start:end] @ weight.index_select(0, columns).T
            output[row, columns] = (logits.amax(0) + bias[columns]).relu_()
        return output
