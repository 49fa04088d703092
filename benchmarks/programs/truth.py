r"""What a program does, measured: gains of pairs of inputs, which no proved bound may be below.

At several inputs the Jacobian is taken by central differences in float64; its leading right singular
vector gives a *pair* of inputs, and what counts is the gain of the pair. So a kink between the two changes
how large the measured constant is, never whether it is one. Averagedness is judged alike: for an
:math:`\alpha`-averaged map :math:`|T(x) - T(y) - (1-\alpha)(x-y)| \le \alpha|x-y|`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pnp_lip.certifier import Refusal, Statement, admits, prove

__all__ = ["Verdict", "judged"]

_STEP, _DISTANCE = 1e-5, 1e-3
#: Rounding of a measured gain.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Verdict:
    """One program, judged.

    Attributes:
        statement: what was proved, if anything.
        refusal: else why not.
        measured: the largest gain.
        excess: largest share by which a pair breaks the claimed averagedness.
        fault: what is false about the statement, empty if nothing.
    """

    statement: Statement | None = None
    refusal: str = ""
    measured: float = 0.0
    excess: float = 0.0
    fault: str = ""

    @property
    def ratio(self) -> float:
        """Bound over measurement."""
        return self.statement.upper / self.measured if self.statement and self.measured else 1.0


def judged(network: nn.Module, example: Tensor) -> Verdict:
    """Prove a bound of a network, and compare; what is raised besides a refusal is a fault.

    Afterwards the network is one of float64.
    """
    try:
        statement = prove(network, example=example.clone())
    except Refusal as refusal:
        return Verdict(refusal=str(refusal))
    except Exception as error:
        return Verdict(fault=f"raises {type(error).__name__}: {error}")
    if not admits(statement.conditions, tuple(example.shape), example.dtype):
        return Verdict(fault=f"{statement.conditions} exclude the example")
    return _compared(network.double(), example, statement)


@torch.no_grad()
def _compared(program: nn.Module, example: Tensor, statement: Statement) -> Verdict:
    alpha, measured, excess = statement.averagedness, 0.0, 0.0
    for x in _inputs(example):
        jacobian = _jacobian(program, x)
        measured = max(measured, _gain(program, x, jacobian))
        square = program(x).shape == x.shape
        if square and alpha:
            rest = lambda z: (program(z) - (1 - alpha) * z) / alpha  # noqa: E731
            eye = torch.eye(len(jacobian), dtype=x.dtype)
            excess = max(excess, _gain(rest, x, (jacobian - (1 - alpha) * eye) / alpha) - 1)
    fault = ""
    if measured > statement.upper * (1 + _TOLERANCE) + _TOLERANCE:
        fault = f"claims {statement.upper!r}, a pair attains {measured!r}"
    elif excess > _TOLERANCE:
        fault = f"claims averagedness {alpha!r}, exceeded by the factor {1 + excess!r}"
    return Verdict(statement, measured=measured, excess=excess, fault=fault)


def _inputs(example: Tensor) -> Iterator[Tensor]:
    """Small, large, of one sign, and sparse."""
    generator = torch.Generator().manual_seed(0)
    for scale, shift in ((1.0, 0.0), (0.1, 0.0), (6.0, 0.0), (1.0, 3.0), (1.0, -3.0)):
        draw = torch.randn(example.shape, generator=generator, dtype=torch.float64)
        yield scale * draw + shift


def _jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    columns = []
    for index in range(x.numel()):
        h = torch.zeros(x.numel(), dtype=x.dtype)
        h[index] = _STEP
        h = h.view(x.shape)
        columns.append((function(x + h) - function(x - h)).flatten() / (2 * _STEP))
    return torch.stack(columns, 1)


def _gain(function: Callable[[Tensor], Tensor], x: Tensor, jacobian: Tensor) -> float:
    """Of the pair along the leading right singular vector, nearly as close as the differences."""
    direction = torch.linalg.svd(jacobian, full_matrices=False).Vh[0].view(x.shape)
    gains = []
    for distance in (_STEP, _DISTANCE):
        h = distance * direction
        apart = function(x + h) - function(x - h)
        gains.append(float(apart.norm() / (2 * h).norm()))
    return max(gains)
