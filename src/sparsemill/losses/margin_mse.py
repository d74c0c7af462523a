"""MarginMSE (Hofstätter et al., 2010.02666) over each query's row of documents."""

from torch import Tensor


def margin_mse(student: Tensor, teacher: Tensor, positives: Tensor) -> Tensor:
    """Squared difference of the margins of the positive over each other document, mean over these and queries.

    Args:
        student: [queries, documents], raw dot products; at least two documents.
        teacher: [queries, documents], targets, in the range of the student's scores.
        positives: [queries], column of each query's positive.

    Returns:
        A scalar, at least 0.
    """
    error = student.float() - teacher.float()
    # (s+ - s-) - (t+ - t-) = (s+ - t+) - (s- - t-), and the positive against itself is 0
    margins = error.gather(1, positives.unsqueeze(1)) - error
    return margins.square().sum() / (error.shape[0] * (error.shape[1] - 1))


def margin_mse_lists(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared difference of the margins of every two documents of a row, mean over all n^2 ordered pairs and queries.

    This is how the code of SPLADE-v3 (naver/splade) takes it, pairs of a document with itself included, so that its
    weight 0.05 means the same here. With two documents it is half of `margin_mse`.

    Args:
        student: [queries, n documents], raw dot products.
        teacher: [queries, n documents], targets, in the range of the student's scores.

    Returns:
        A scalar, at least 0.
    """
    # The mean of (e_i - e_j)^2 over i and j is twice the variance of e = student - teacher.
    return 2 * (student.float() - teacher.float()).var(1, correction=0).mean()
