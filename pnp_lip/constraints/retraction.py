r"""One step towards the nearest matrix with orthonormal rows or columns.

:math:`W \leftarrow 1.5\,W - 0.5\,WW^\top W` moves each singular value *s* to :math:`1.5s - 0.5s^3`,
which is at most 1 in absolute value for :math:`0 \le s \le 2` (Björck and Bowie 1971).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["retract"]


def retract(weight: Tensor) -> Tensor:
    r""":math:`1.5\,W - 0.5\,WW^\top W`, of norm at most 1 for every ``W``, alone or in a stack.

    Where some norm is not seen to be at most 2, every matrix above 1 is divided by its norm before.
    """
    gram = _gram(weight)
    if not _at_most_four(gram):
        norms = torch.linalg.matrix_norm(weight, ord=2, keepdim=True)
        weight = torch.where(norms > 1, weight / norms, weight)
        gram = _gram(weight)
    cube = (gram, weight) if weight.shape[-2] <= weight.shape[-1] else (weight, gram)
    combine = torch.addmm if weight.ndim == 2 else torch.baddbmm
    return combine(weight, *cube, beta=1.5, alpha=-0.5)


def _at_most_four(gram: Tensor) -> bool:
    r"""Whether :math:`\|G\| \le 4` is seen, for symmetric ``G``.

    By :math:`\|G\| \le \|G\|_\infty`, which costs no product of matrices and suffices near orthonormal
    rows, or by :math:`\|G\|^4 \le \|G^4\|_F`. What is not finite is not seen to be.
    """
    if bool(gram.abs().sum(-1).max() <= 4.0):
        return True
    return bool(torch.linalg.matrix_norm(torch.linalg.matrix_power(gram, 4)).max() <= 2.0**8)


def _gram(weight: Tensor) -> Tensor:
    """The smaller of the two Gram matrices."""
    wide = weight.shape[-2] <= weight.shape[-1]
    return weight @ weight.mT if wide else weight.mT @ weight
