"""From dense vectors on a device to sparse ones in memory."""

import numpy as np
import torch
from scipy import sparse


def csr_rows(vectors: torch.Tensor) -> sparse.csr_matrix:
    """[batch, vocabulary] dense to CSR, on whatever device the vectors are: only what is not 0 leaves it."""
    rows, columns = vectors.nonzero(as_tuple=True)
    values = vectors[rows, columns].cpu().numpy()
    pointers = np.concatenate([[0], np.cumsum(vectors.count_nonzero(1).cpu().numpy())])
    return sparse.csr_matrix((values, columns.int().cpu().numpy(), pointers), shape=tuple(vectors.shape))
