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

from pnp_lip.certifier.operators.operation import Operation
from pnp_lip.certifier.operators.registry import register_operator
from pnp_lip.certifier.values import Dependent
from pnp_lip.rounding import sqrt_up

__all__: list[str] = []


@register_operator(
    "fft_fft fft_fft2 fft_fftn fft_ifft fft_ifft2 fft_ifftn fft_rfft fft_rfft2 fft_rfftn fft_irfft "
    "fft_irfft2 fft_irfftn"
)
def _transform(
    op: Operation, x: Any, dim: Any, norm: Any, n: Any = None, s: Any = None
) -> Dependent:
    kind, lengths = str(op.node.target).split("_")[1], s if n is None else [n]
    sides = op.image(x).size if kind.startswith("rfft") else op.size
    axes = (
        range(-len(lengths or sides), 0) if dim is None else [dim] if isinstance(dim, int) else dim
    )
    counts = lengths if kind.startswith("rfft") and lengths else [sides[axis] for axis in axes]
    known = math.prod(side for side in counts if isinstance(side, int))
    square = Fraction(2 if kind.startswith("irfft") else 1)
    if (norm or "backward") == ("forward" if kind.startswith("i") else "backward"):
        if not all(isinstance(side, int) for side in counts):
            op.refuse("grows with the size of the image: transform with norm='ortho'")
        square *= known
    elif norm != "ortho":
        square /= known
    return op.bounded(x, sqrt_up(square), f"Fourier transform, norm {norm or 'backward'}")
