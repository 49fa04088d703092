"""Norms of convolutions by other methods: formulas from papers, and packages where they are installed.

Sedghi, Gupta and Long (ICLR 2019); Araujo et al. (AAAI 2021), as we read it; ``orthogonium`` and
``deel-torchlip`` come with ``pip install ".[benchmark]"``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pnp_lip.norms import convolution_norm, grid_norm

__all__ = ["Method", "methods"]

#: A number for a kernel ``[c_out, c_in, k, k]``, which may or may not bound its norm.
Method = Callable[[Tensor], float]


def symbols(weight: Tensor, points: int) -> Tensor:
    """``P`` on a grid: ``[points^2, c_out, c_in]``."""
    return torch.fft.fft2(weight, (points, points)).flatten(2).permute(2, 0, 1)


def sedghi(weight: Tensor) -> float:
    """The exact norm of the circular convolution on 32 x 32 images."""
    return torch.linalg.matrix_norm(symbols(weight, 32), ord=2).max().item()


def lipgrid(weight: Tensor) -> float:
    """``sqrt(sum_i max_grid sum_j |P_ij|^2)`` on 10 x 10 points, the rows as ``i``."""
    energies = symbols(weight, 10).abs().square().sum(2)
    return energies.amax(0).sum().sqrt().item()


def torch_spectral_norm(weight: Tensor) -> float:
    """The number by which torch's ``spectral_norm`` divides, after 100 power iterations."""
    height, width = weight.shape[2:]
    layer = torch.nn.Conv2d(weight.shape[1], weight.shape[0], (height, width), bias=False)
    layer.weight.data = weight.clone()
    torch.nn.utils.parametrizations.spectral_norm(layer, n_power_iterations=100)
    layer.train()
    return (weight.norm() / layer.weight.norm()).item()


def by_orthogonium() -> dict[str, Method]:
    """Gram iterations, where the package is installed."""
    try:
        from orthogonium.layers.conv.singular_values import delattre24
    except ImportError:
        return {}
    rows: dict[str, Method] = {
        "orthogonium, circular, n = 32, 6 steps": lambda w: float(
            delattre24.compute_delattre2023(w, n=32, n_iter=6)
        )
    }
    for steps in (3, 4):
        bound = partial(delattre24.compute_delattre2024, n_iter=steps)
        rows[f"orthogonium, zero padding, {steps} steps"] = partial(_number, bound)
    return rows


def by_torchlip() -> dict[str, Method]:
    """The product of a power method and a coefficient, where the package is installed."""
    try:
        from deel.torchlip.normalizers import spectral_normalization
        from deel.torchlip.utils.lconv_norm import compute_lconv_coef
    except ImportError:
        return {}

    def torchlip(weight: Tensor) -> float:
        sigma = spectral_normalization(weight.flatten(1), None, eps=1e-9, maxiter=1000)[2]
        return float(sigma) / float(compute_lconv_coef(tuple(weight.shape[2:])))

    return {"deel-torchlip": torchlip}


def _number(bound: Callable[[Tensor], Any], weight: Tensor) -> float:
    return float(bound(weight))


def methods() -> dict[str, Method]:
    """Every method that is available here, as a function of a kernel."""
    ours: dict[str, Method] = {
        "pnp_lip, gap 1e-3": lambda w: convolution_norm(w).upper,
        "pnp_lip, gap 1e-6": lambda w: convolution_norm(w, gap=1e-6).upper,
        "pnp_lip grid_norm, N = 32": lambda w: grid_norm(w).item(),
    }
    formulas: dict[str, Method] = {
        "torch spectral_norm": torch_spectral_norm,
        "FFT on 32 x 32 (Sedghi)": sedghi,
        "LipGrid (Araujo)": lipgrid,
    }
    return ours | formulas | by_orthogonium() | by_torchlip()
