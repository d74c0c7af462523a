"""The l0 mask of the regulariser (2504.14839): texts that are sparse enough are not penalised."""

from torch import Tensor


def l0_mask(vectors: Tensor, *, below: int) -> Tensor:
    """Vectors with zero rows for texts of at most `below` active tokens; means over rows still count those rows.

    Args:
        vectors: [texts, vocabulary], non-negative.
        below: t, active tokens up to which a text costs nothing.

    Returns:
        [texts, vocabulary]; rows that are kept are unchanged and keep their gradient.
    """
    dense = (vectors != 0).sum(1) > below
    return vectors * dense.unsqueeze(1).to(vectors.dtype)
