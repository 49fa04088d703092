"""A stacked and tiled solve, by one process or by several under torchrun; the first writes the result.

torchrun --standalone --nproc-per-node 2 tests/distributed_solve.py RESULT.pt
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from deepinv.distributed import DistributedContext, distribute
from deepinv.physics import Blur, StackedLinearPhysics
from deepinv.utils import TensorList
from torch import Tensor

from pnp_lip import LipschitzDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.denoisers.distributed import HaloTiling
from pnp_lip.solvers import ForwardBackward, Solution

#: |A|^2 <= 3, because each of the three kernels has sum 1 and no negative entry.
NORM = 3**0.5 * (1 + 1e-6)


def blurs() -> list[Blur]:
    """Three views of one scene."""
    kernels = torch.rand(3, 1, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    return [Blur(kernel / kernel.sum(), padding="circular") for kernel in kernels]


def observations() -> tuple[Tensor, TensorList]:
    """A scene, and what is seen of it."""
    x = photograph("camera")[..., 60:108, 90:146].contiguous()
    generator = torch.Generator().manual_seed(1)
    seen = [blur.A(x) for blur in blurs()]
    return x, TensorList([y + 0.02 * torch.randn(y.shape, generator=generator) for y in seen])


def solved(denoiser: torch.nn.Module, physics: Any) -> Solution:
    """The same solve for plain objects and for distributed ones."""
    _, y = observations()
    solver = ForwardBackward(denoiser, 0.02, box=(0, 1), stepsize=0.6, tol=1e-6, max_iter=120)
    return solver.solve(y, physics, norm=NORM)


def network() -> LipschitzDenoiser:
    """The shipped grey one."""
    return LipschitzDenoiser(1).requires_grad_(False)


def alone() -> Solution:
    """By one process, on whole images."""
    return solved(network(), StackedLinearPhysics(list(blurs())))


def together(path: Path) -> None:
    """By all processes: each has some of the blurs and some of the tiles."""
    x, _ = observations()
    with DistributedContext(device_mode="cpu") as context:
        tiling = HaloTiling(x.shape, network(), tile=24)
        denoiser = distribute(network(), context, tiling_strategy=tiling)
        physics = distribute(list(blurs()), context, type_object="linear_physics")
        solution = solved(denoiser, physics)
        if context.rank == 0:
            found = {
                "x": solution.x,
                "processes": context.world_size,
                "theorem": solution.plan.theorem is not None,
                "message": solution.message,
            }
            torch.save(found, path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    together(Path(sys.argv[1]))
