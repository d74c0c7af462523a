"""Distillation by Kullback-Leibler divergence over each query's row of documents (2411.04403, Eq. 1)."""

from torch import Tensor
from torch.nn.functional import kl_div, log_softmax


def kl(student: Tensor, teacher: Tensor, *, temperature: float = 1.0, teacher_temperature: float = 1.0) -> Tensor:
    """KL(softmax(teacher / teacher_temperature) || softmax(student / temperature)), mean over queries.

    There is no factor T^2: Eq. 1 has none. The loss of sentence-transformers is this times the square of `temperature`.

    Args:
        student: [queries, documents], raw dot products.
        teacher: [queries, documents], targets, finite; their scale S is an inverse temperature already.
        temperature: divides the student's scores.
        teacher_temperature: divides the targets.

    Returns:
        A scalar, at least 0.
    """
    log_student = log_softmax(student.float() / temperature, dim=1)
    log_teacher = log_softmax(teacher.float() / teacher_temperature, dim=1)
    return kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
