r"""Lower bounds of a Lipschitz constant, each with the pair of inputs that attains it.

The gain :math:`\|D(x+v)-D(x)\|/\|v\|` is raised by the power step
:math:`v \leftarrow \rho\,g/\|g\|,\; g = J(x+v)^\top(D(x+v)-D(x))`, the fixed point of which is a
stationary direction at distance :math:`\rho`; it needs one transposed derivative a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["Witness", "find_witness", "gain"]

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Witness:
    """Two inputs and the gain between them.

    Attributes:
        x, y: inputs, float64.
        gain: ``|D(x) - D(y)| / |x - y|``, computed in float64.
        sigma: the noise level at which the network was evaluated, if it takes one.
    """

    x: Tensor = field(repr=False)
    y: Tensor = field(repr=False)
    gain: float
    sigma: float | None = None


def gain(network: Map, x: Tensor, y: Tensor) -> float:
    """``|D(x) - D(y)| / |x - y|`` for two different inputs, over the whole batch."""
    with torch.no_grad():
        distance = torch.linalg.vector_norm(x - y)
        return float(torch.linalg.vector_norm(network(x) - network(y)) / distance)


def find_witness(
    network: Map, x: Tensor, *, radii: tuple[float, ...] = (1e-3, 1.0), steps: int = 30, seed: int = 0
) -> Witness:
    """The best pair found from the input ``x`` by the power step.

    Args:
        network: a differentiable map of float64 tensors.
        x: ``[1, ...]`` float64, a typical input.
        radii: distances of the pair, as multiples of ``|x|``; one search each.
        steps: power steps a search.
        seed: of the first direction.
    """
    best = Witness(x, x, 0.0)
    for radius in radii:
        generator = torch.Generator().manual_seed(seed)
        v = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device)
        length = radius * torch.linalg.vector_norm(x)
        for _ in range(steps):
            v = v * (length / torch.linalg.vector_norm(v))
            found = gain(network, x + v, x)
            if found > best.gain:
                best = Witness(x, (x + v).detach(), found)
            v = _power_step(network, x, v)
            if not torch.linalg.vector_norm(v) > 0:
                break
    return best


def _power_step(network: Map, x: Tensor, v: Tensor) -> Tensor:
    y = (x + v).detach().requires_grad_()
    image = network(y)
    difference = (image - network(x)).detach()
    (pulled,) = torch.autograd.grad(image, y, difference)
    return pulled.detach()
