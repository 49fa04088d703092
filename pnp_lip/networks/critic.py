r"""Critics: 1-Lipschitz networks that make :math:`E_P f - E_Q f` large, and their values with error bounds.

Training sees standardised points :math:`(x - c)/s` and the result is moved back exactly into the set:
ReLU is positively homogeneous, so :math:`s\,g((x - c)/s)` has the weights of *g*, its biases times *s*, and
the lift's bias less :math:`Qc`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pnp_lip.certifier import Statement
from pnp_lip.constraints import hold
from pnp_lip.networks.free_width import FreeWidthNetwork
from pnp_lip.rounding import gamma, round_up

__all__ = ["CriticFit", "evaluate", "train_critic"]

_CHUNK = 16384


@dataclass(frozen=True)
class CriticFit:
    """How a critic is trained.

    Attributes
    ----------
    width
        of the state.
    depth
        number of gradient steps.
    steps
        of Adam.
    batch
        samples of each distribution in a step.
    rate
        largest learning rate; it falls to zero along a cosine.

    Raises
    ------
    ValueError
        a value out of range.
    """

    width: int = 64
    depth: int = 10
    steps: int = 2500
    batch: int = 256
    rate: float = 1e-2

    def __post_init__(self) -> None:
        if min(self.width, self.batch) < 1 or min(self.depth, self.steps) < 0 or self.rate <= 0:
            raise ValueError(f"expected positive width, batch and rate, got {self}")


def train_critic(
    x: Tensor, y: Tensor, fit: CriticFit, *, seed: int, device: torch.device
) -> FreeWidthNetwork:
    """A float64 network of the set with large ``mean f(x) - mean f(y)``.

    Parameters
    ----------
    x, y
        samples ``[N, d]`` and ``[M, d]``.
    fit
        sizes and steps.
    seed
        of the start and the batches; equal seeds give equal bits on the CPU.
    device
        where to train.
    """
    centre, scale = _frame(x, y)
    parts = [((points.double() - centre) / scale).float().to(device) for points in (x, y)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # Steps that fold half of the directions train better than steps that fold all of them.
        hidden = max(fit.width // 2, 1)
        network = FreeWidthNetwork(x.shape[1], fit.width, fit.depth, hidden=hidden)
    network.to(device)
    _ascend(network, parts, fit, torch.Generator().manual_seed(seed))
    return _moved_back(network.cpu().double(), centre, scale)


@torch.no_grad()
def evaluate(critic: FreeWidthNetwork, proof: Statement, x: Tensor) -> tuple[Tensor, float]:
    r"""Values ``[N]`` at ``x`` (``[N, d]``) in float64, and a bound of their distance to the exact ones.

    With *k* terms a sum is off by at most :math:`\gamma_k = ku/(1-ku)` of the sum of absolute values
    (Higham 2002, section 3.1), so a step is off by at most
    :math:`2\gamma_k(\|z\| + \tau F(F\|z\| + \|b\|))` with :math:`F = \|W\|_F`, the 2 being for products of
    errors. What follows multiplies that by its proved Lipschitz constant.

    Parameters
    ----------
    critic
        a float64 network.
    proof
        of the critic; its parts are lift, steps, readout.
    x
        points, of a floating dtype.
    """
    values, worst = [], 0.0
    for part in x.double().split(_CHUNK):
        z = critic.lift(part)
        error = _affine_error(critic.lift, part)
        for step, stated in zip(critic.gradient_steps, proof.parts[1:-1], strict=True):
            size, frobenius = _largest(z), float(step.weight.norm())
            moved = float(step.tau) * frobenius * (frobenius * size + float(step.bias.norm()))
            error = stated.upper * error + _gamma(sum(step.weight.shape) + 4) * (size + moved)
            z = step(z)
        error = proof.parts[-1].upper * error + _affine_error(critic.readout, z)
        values.append(critic.readout(z)[:, 0])
        worst = max(worst, error)
    return torch.cat(values), worst


def _ascend(
    network: FreeWidthNetwork, parts: list[Tensor], fit: CriticFit, generator: torch.Generator
) -> None:
    """Adam with the constraint kept after each step."""
    optimizer = torch.optim.Adam(
        [p for p in network.parameters() if p.requires_grad], lr=fit.rate, betas=(0.9, 0.99)
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(fit.steps, 1))
    handle = hold(network, optimizer, constraint="orthogonal")
    for _ in range(fit.steps):
        batches = [_batch(points, fit.batch, generator) for points in parts]
        above, below = network(torch.cat(batches))[:, 0].split([len(one) for one in batches])
        optimizer.zero_grad()
        (below.mean() - above.mean()).backward()
        optimizer.step()
        schedule.step()
    handle.remove()


def _batch(points: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """``size`` points drawn with replacement; all of them where there are no more."""
    if len(points) <= size:
        return points
    return points[torch.randint(len(points), (size,), generator=generator).to(points.device)]


def _frame(x: Tensor, y: Tensor) -> tuple[Tensor, float]:
    """Centre ``[d]`` and root mean square deviation per coordinate of both samples together."""
    points = torch.cat([x, y]).double()
    centre = points.mean(0)
    scale = float((points - centre).square().mean().sqrt())
    return centre, scale if scale > 0 else 1.0


@torch.no_grad()
def _moved_back(network: FreeWidthNetwork, centre: Tensor, scale: float) -> FreeWidthNetwork:
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.mul_(scale)
    network.lift.bias.sub_(network.lift.weight @ centre)
    return network.requires_grad_(False).eval()


def _affine_error(layer: torch.nn.Linear, z: Tensor) -> float:
    size = float(layer.weight.norm()) * _largest(z) + float(layer.bias.norm())
    return _gamma(layer.in_features + 2) * size


def _largest(z: Tensor) -> float:
    return float(torch.linalg.vector_norm(z, dim=1).max())


def _gamma(terms: int) -> float:
    """Twice the relative error of a sum of so many terms."""
    return round_up(2 * gamma(terms))
