"""What a run minimises, and what it is judged by."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pnp_lip.certifier import prove
from pnp_lip.quality import psnr

__all__ = ["LEVELS", "evaluate", "noise_weight", "validation_psnr"]

#: Noise levels of an evaluation, in units of 1/255.
LEVELS = (5, 15, 25, 50)


def noise_weight(sigma: Tensor) -> Tensor:
    r"""The weight :math:`w(s) = (\max(s, 3/255)\cdot 255/25)^{-1.2}` of a noise level."""
    return (sigma.clamp(min=3 / 255) * (255 / 25)) ** -1.2


@torch.no_grad()
def validation_psnr(denoiser: nn.Module, images: list[Tensor], sigma: float) -> float:
    """Mean :func:`~pnp_lip.quality.psnr` in dB over uint8 ``images``.

    With noise ``sigma`` (in [0, 1]) from a fixed seed.
    """
    device = next(denoiser.parameters()).device
    generator = torch.Generator().manual_seed(0)
    total = 0.0
    for image in images:
        clean = image[None].float() / 255
        noisy = clean + sigma * torch.randn(clean.shape, generator=generator)
        total += psnr(denoiser(noisy.to(device), sigma).cpu(), clean)
    return total / len(images)


def evaluate(
    denoiser: nn.Module, images: list[Tensor], step: int, certified: nn.Module
) -> dict[str, float]:
    """PSNR on validation images at several noise levels, and the proved averagedness of a network.

    Parameters
    ----------
    denoiser
        what denoises.
    images
        uint8 ``[C, H, W]``.
    step
        of the training, for the result and the error.
    certified
        the network to prove: ``denoiser``, or its part that solvers run.

    Raises
    ------
    RuntimeError
        it is not proved nonexpansive.
    """
    proved = prove(certified)
    if proved.averagedness is None:
        raise RuntimeError(f"step {step}: only Lip <= {proved.upper} is proved, training stops")
    levels = {f"psnr_{level}": validation_psnr(denoiser, images, level / 255) for level in LEVELS}
    return {"step": step, **levels, "averagedness": proved.averagedness}
