r"""What a module asks to be held while it trains: weights with a bound on their norm.

A module only *declares* its bounds. How they are kept is a matter of
:mod:`pnp_lip.constraints`, so that layers know no norms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

__all__ = ["Constrained", "Held"]


@dataclass(frozen=True, eq=False)
class Held:
    r"""One weight and the bound that it has to keep.

    Attributes
    ----------
    weight
        the tensor that acts.
    kind
        ``"matrix"`` bounds the spectral norm; ``"convolution"`` the norm of the zero-padded
        convolution on images of every size; ``"rows"`` bounds each row *a* by
        :math:`\sum_{i \le k}|a_i| + \|a_{k+1:}\|_2 \le 1` with ``k = split``.
    tau
        the step length of a gradient step, whose bound is :math:`\tau\|W\|^2 \le 2\alpha`;
        without it the bound is :math:`\|W\| \le 1`.
    split
        coordinates that a row reads one by one.
    """

    weight: Tensor = field(repr=False)
    kind: Literal["matrix", "convolution", "rows"]
    tau: Tensor | None = None
    split: int = 0


class Constrained(ABC):
    """A module that declares bounds of its own weights; its submodules declare theirs."""

    @property
    @abstractmethod
    def held(self) -> list[Held]:
        """Weights of this module itself; constrained submodules declare their own."""
