r"""The mean of several networks, :math:`f(x) = \frac1n \sum_i f_i(x)`.

Its constant is at most the mean of theirs, in any norm of the outputs, by the triangle inequality. So a
committee of classifiers has the certified radii of its mean logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["Committee"]


class Committee(nn.Module):
    """The mean of the outputs of its members.

    Parameters
    ----------
    members
        at least one network, all of the same inputs and outputs.

    Raises
    ------
    ValueError
        no member.

    Examples
    --------
    >>> from torch import nn
    >>> from pnp_lip.certifier import prove
    >>> prove(Committee([nn.Tanh(), nn.Sigmoid()])).upper  # the mean of 1 and 1/4
    0.625
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if not members:
            raise ValueError("expected at least one network, got an empty committee")
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([cast(Tensor, member(x)) for member in self.members]).mean(dim=0)
