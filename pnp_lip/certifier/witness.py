r"""Lower bounds of a Lipschitz constant, each with the pair of inputs that attains it.

The gain :math:`\|D(x+v)-D(x)\|/\|v\|` is raised in two stages. First in the direction alone, by the
power step :math:`v \leftarrow \rho\,g/\|g\|,\; g = J(x+v)^\top(D(x+v)-D(x))`, whose fixed points are
stationary directions at distance :math:`\rho`. Then in input and direction together, by a
quasi-Newton ascent of its logarithm (L-BFGS with a line search; Nocedal and Wright 2006, ch. 7).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pnp_lip.data.images import write_pair

__all__ = ["RADII", "Map", "Witness", "best_of", "climb", "find_witness", "gain", "power_witness"]

Map = Callable[[Tensor], Tensor]
#: Distances of a pair at the start, as multiples of the norm of the input.
RADII = (1e-3, 1.0)


@dataclass(frozen=True)
class Witness:
    """Two inputs and the gain between them.

    Attributes
    ----------
    x, y
        inputs, float64.
    gain
        ``|D(x) - D(y)| / |x - y|``, computed in float64.
    sigma
        the noise level at which the network was evaluated, if it takes one.
    """

    x: Tensor = field(repr=False)
    y: Tensor = field(repr=False)
    gain: float
    sigma: float | None = None

    def save(self, folder: str | Path, name: str = "counterexample") -> list[Path]:
        """Write both inputs, see :func:`pnp_lip.data.images.write_pair`."""
        return write_pair(self.x, self.y, folder, name)

    def to_json(self) -> dict[str, Any]:
        """Plain data, with the inputs as little-endian float64 in base64."""
        texts = {key: _to_text(getattr(self, key)) for key in ("x", "y")}
        return {"gain": self.gain, "sigma": self.sigma, "shape": list(self.x.shape), **texts}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Witness:
        """The inverse of :meth:`to_json`."""
        x, y = (_from_text(data[key], data["shape"]) for key in ("x", "y"))
        return cls(x, y, data["gain"], data["sigma"])


def gain(network: Map, x: Tensor, y: Tensor) -> float:
    """``|D(x) - D(y)| / |x - y|`` for two different inputs, over the whole batch."""
    with torch.no_grad():
        distance = torch.linalg.vector_norm(x - y)
        return float(torch.linalg.vector_norm(network(x) - network(y)) / distance)


def find_witness(
    network: Map, x: Tensor, *, radii: tuple[float, ...] = RADII, steps: int = 15, climbs: int = 25
) -> Witness:
    """The best pair found from the input ``x``.

    Parameters
    ----------
    network
        a differentiable map of float64 tensors.
    x
        ``[1, ...]`` float64, a typical input.
    radii
        distances of the pair at the start, as multiples of ``|x|``; one search each.
    steps
        power steps of a search.
    climbs
        quasi-Newton steps of a search, in both inputs.
    """
    found = [power_witness(network, x, radius, steps) for radius in radii]
    return best_of([climb(network, witness, climbs) for witness in found])


def best_of(witnesses: Sequence[Witness]) -> Witness:
    """The one with the largest gain."""
    return max(witnesses, key=lambda witness: witness.gain)


def power_witness(network: Map, x: Tensor, radius: float, steps: int, seed: int = 0) -> Witness:
    """The first stage, at the distance ``radius * |x|``."""
    generator = torch.Generator().manual_seed(seed)
    v = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device)
    length = radius * torch.linalg.vector_norm(x)
    v = v * (length / torch.linalg.vector_norm(v))
    with torch.no_grad():
        image = network(x)
    for _ in range(steps):
        y = (x + v).requires_grad_()
        moved = network(y)
        (pulled,) = torch.autograd.grad(moved, y, (moved - image).detach())
        size = torch.linalg.vector_norm(pulled)
        if not (torch.isfinite(size) and size > 0):
            break
        v = pulled * (length / size)
    return _witness(network, x, x + v)


def climb(network: Map, start: Witness, climbs: int) -> Witness:
    """The second stage: ascent in ``x`` and ``v = length * w``, both of the size of ``x``."""
    x, v = start.x, start.y - start.x
    size = torch.linalg.vector_norm(x).clamp_min(1e-12)
    length = torch.linalg.vector_norm(v) / size
    if not (length > 0 and climbs > 0):
        return start
    free, w = x.clone().requires_grad_(), (v / length).requires_grad_()
    optimizer = torch.optim.LBFGS(
        [free, w], lr=1.0, max_iter=climbs, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        moved = length * w
        gained = torch.linalg.vector_norm(network(free + moved) - network(free)).clamp_min(1e-300)
        value = torch.log(torch.linalg.vector_norm(moved)) - torch.log(gained)
        value.backward()
        return value

    optimizer.step(loss)
    end = _witness(network, free.detach(), (free + length * w).detach())
    return best_of([start, replace(end, sigma=start.sigma)])


def _witness(network: Map, x: Tensor, y: Tensor) -> Witness:
    """The pair with its gain; 0 where that is not a number."""
    found = gain(network, x, y) if torch.linalg.vector_norm(x - y) > 0 else 0.0
    return Witness(x, y, found if math.isfinite(found) else 0.0)


def _to_text(tensor: Tensor) -> str:
    entries = tensor.detach().cpu().double().contiguous().numpy().astype("<f8")
    return base64.b64encode(entries.tobytes()).decode("ascii")


def _from_text(text: str, shape: list[int]) -> Tensor:
    entries = np.frombuffer(base64.b64decode(text), dtype="<f8").reshape(shape)
    return torch.from_numpy(entries.astype(np.float64))
