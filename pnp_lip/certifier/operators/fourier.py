r"""Fourier transforms and complex numbers, which count as pairs of real ones.

A transform of ``N`` samples with ``norm="ortho"`` is unitary. Without, one direction carries the factor
:math:`\sqrt N` and the other :math:`1/\sqrt N`. A real transform keeps one half of the frequencies; back
from it each kept one counts twice at most, a factor :math:`\sqrt2`. Cropping and padding to ``s`` cost
nothing.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import torch

from pnp_lip.certifier.operators.registry import Operation, register_operator
from pnp_lip.certifier.values import Dependent, size_of
from pnp_lip.rounding import sqrt_up

__all__: list[str] = []

aten = torch.ops.aten

#: Names of transforms without their axes, and the axes that they have by default.
_KINDS, _AXES = ("fft", "ifft", "rfft", "irfft"), {"": [-1], "2": [-2, -1], "n": None}


def _register(kind: str, suffix: str) -> None:
    @register_operator(getattr(aten, f"fft_{kind}{suffix}").default)
    def transform(
        op: Operation, x: Any, n: Any = None, s: Any = None, dim: Any = None, norm: Any = None
    ) -> Dependent:
        lengths = s if n is None else [n]
        sides = op.image(x).size if kind == "rfft" else size_of(op.node)
        axes = _AXES[suffix] if dim is None else [dim] if isinstance(dim, int) else list(dim)
        if axes is None:
            axes = list(range(len(sides)))[-len(lengths or sides) :]
        counts = lengths if kind == "rfft" and lengths else [sides[axis] for axis in axes]
        known = math.prod(side for side in counts if isinstance(side, int))
        square = Fraction(2 if kind == "irfft" else 1)
        if (norm or "backward") == ("forward" if kind.startswith("i") else "backward"):
            if not all(isinstance(side, int) for side in counts):
                op.refuse("grows with the size of the image: transform with norm='ortho'")
            square *= known
        elif norm != "ortho":
            square /= known
        return op.bounded(x, sqrt_up(square), f"Fourier transform, norm {norm or 'backward'}")


for _kind in _KINDS:
    for _suffix in _AXES:
        _register(_kind, _suffix)
