r"""Crops that a plain denoiser restored inside forward-backward: inputs and guides for training.

At the end of a solve, the denoiser gets :math:`v = x - \gamma\nabla f(x)` and returns about ``x``. A
guided denoiser sees the guide ``x``, the input ``v`` and should return the clean crop. Blur with
motion kernels, missing pixels and down-sampling are drawn by deepinv's generators.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from deepinv.physics import BlurFFT, Downsampling, GaussianNoise, Inpainting, LinearPhysics
from deepinv.physics.generator import MotionBlurGenerator
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import Generator, Tensor
from tqdm import tqdm

from pnp_lip.data.patches import Photographs
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.files import atomic_path
from pnp_lip.solvers.data_term import DataTerm

__all__ = ["RestoredCrops", "restore_crops"]

#: Standard deviations of the noise of observations, in equal ratios, and strengths of the denoiser
#: relative to them.
_NOISE, _STRENGTH = (0.005, 0.07), (0.5, 1.0)
#: Strengths that fill missing pixels.
_HOLES = (0.02, 0.08)
_SIDE, _ITERATIONS, _KERNEL, _TOGETHER = 96, 40, 31, 4


@dataclass(frozen=True)
class RestoredCrops:
    """Crops in memory.

    Attributes
    ----------
    clean, noisy, guide
        ``[N, C, side, side]`` float16.
    sigma
        ``[N]``, the strength of the denoiser.
    """

    clean: Tensor
    noisy: Tensor
    guide: Tensor
    sigma: Tensor

    @classmethod
    def read(cls, path: str | Path) -> RestoredCrops:
        """The crops of a file that :meth:`write` wrote."""
        return cls(**load_file(path))

    def write(self, path: str | Path) -> None:
        """Write a safetensors file."""
        with atomic_path(Path(path)) as temporary:
            temporary.write_bytes(serialised({k: v.contiguous() for k, v in vars(self).items()}))

    def draw(self, patch: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Clean, noisy and guide patch ``[C, patch, patch]``, and the noise level.

        Randomly placed and turned.
        """

        def below(n: int) -> int:
            return int(torch.randint(n, (), generator=generator))

        index, room = below(len(self.sigma)), self.clean.shape[-1] - patch + 1
        top, left, quarters, mirrored = below(room), below(room), below(4), below(2)
        cut = (..., slice(top, top + patch), slice(left, left + patch))
        parts = torch.stack([self.clean[index], self.noisy[index], self.guide[index]])[cut]
        turned = torch.rot90(parts.float(), quarters, (-2, -1))
        clean, noisy, guide = turned.flip(-1) if mirrored else turned
        return clean, noisy, guide, self.sigma[index]


def restore_crops(
    denoiser: LipschitzDenoiser, folders: tuple[str, ...], count: int, seed: int = 0
) -> RestoredCrops:
    """Restore ``count`` random crops of photographs, a multiple of four, with ``denoiser``.

    Computed where the denoiser is; the crops lie in the memory of the CPU.
    """
    device = next(denoiser.parameters()).device
    photographs = Photographs(folders, denoiser.in_channels, _SIDE, device)
    parts: list[tuple[Tensor, ...]] = []
    for group in tqdm(range(count // _TOGETHER), desc="restoring crops"):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + group)
        clean = photographs.patches(_TOGETHER, generator)
        restored = _restore(denoiser, clean, generator, group)
        parts.append(tuple(part.cpu() for part in restored))
    clean, noisy, guide, sigma = (torch.cat(values) for values in zip(*parts, strict=True))
    return RestoredCrops(clean.half(), noisy.half(), guide.half(), sigma)


@torch.no_grad()
def _restore(
    denoiser: LipschitzDenoiser, clean: Tensor, generator: Generator, group: int
) -> tuple[Tensor, ...]:
    physics, sigma, lipschitz = _physics(group % 4, clean, generator)
    torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))  # deepinv's noise
    physics = physics.to(clean.device)
    data = DataTerm(physics(clean), physics)
    stepsize = 1.9 / lipschitz
    restored = data.adjoint_of_y / lipschitz
    if isinstance(physics, Inpainting):
        restored = restored + (1 - physics.mask) * 0.45
    for _ in range(_ITERATIONS):
        noisy = restored - stepsize * data.gradient(restored)
        restored = denoiser(noisy, sigma).clamp(0, 1)
    return clean, noisy, restored, torch.full((len(clean),), sigma)


def _physics(kind: int, clean: Tensor, generator: Generator) -> tuple[LinearPhysics, float, float]:
    """A physics, a strength for the denoiser and an estimate of the squared norm.

    Blur for two kinds of four, then missing pixels, then larger pixels.
    """
    low, high = map(math.log, _NOISE)
    noise, share = math.exp(_between(low, high, generator)), _between(*_STRENGTH, generator)
    model, size = GaussianNoise(noise), tuple(clean.shape[1:])
    if kind < 2:
        kernels = MotionBlurGenerator((_KERNEL, _KERNEL))
        drawn = int(torch.randint(2**31, (), generator=generator))
        kernel = kernels.step(batch_size=1, seed=drawn)["filter"]
        return BlurFFT(size, kernel, noise_model=model), share * noise, 1.0
    if kind == 2:
        kept = _between(0.3, 0.8, generator)
        mask = (torch.rand(1, 1, *size[1:], generator=generator) < kept).float()
        holes = Inpainting(size, mask=mask.expand(1, *size), noise_model=model)
        return holes, max(share * noise, _between(*_HOLES, generator)), 1.0
    factor = 2 + int(torch.randint(2, (), generator=generator))
    physics = Downsampling(
        img_size=size, filter="gaussian", factor=factor, padding="circular", noise_model=model
    )
    return physics, share * noise * factor, 1.03 / factor**2


def _between(low: float, high: float, generator: Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
