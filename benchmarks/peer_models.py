"""Published denoisers, rebuilt here from the weights in their public repositories.

Clone the repositories into one folder; nothing of them is part of this project, and of their files
only the tensors are read (``torch.load(weights_only=True)``):

    git clone https://github.com/axgoujon/convex_ridge_regularizers
    git clone https://github.com/axgoujon/weakly_convex_ridge_regularizer
    git clone https://github.com/uclaopt/Provable_Plug_and_Play
    git clone https://github.com/cszn/KAIR
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "AveragedNetwork",
    "RidgeDescent",
    "RidgeProx",
    "folded_residual",
    "plain_residual",
]

_Weights = dict[str, Any]


def _load(path: Path) -> _Weights:
    weights = torch.load(path, map_location="cpu", weights_only=True)
    return dict(weights.get("state_dict", weights))


class _Ridge(nn.Module):
    r"""Gradient of a convex ridge regulariser, :math:`W^\top\varphi(Wx)`, ``W`` a composition of
    zero-padded convolutions whose first kernels have mean zero."""

    def __init__(self, kernels: list[Tensor], grid: Tensor, values: Tensor) -> None:
        super().__init__()
        for index, kernel in enumerate(kernels):
            self.register_buffer(f"kernel{index}", kernel)
        self.count = len(kernels)
        self.register_buffer("grid", grid)
        self.register_buffer("values", values)

    @property
    def kernels(self) -> list[Tensor]:
        return [self.get_buffer(f"kernel{index}") for index in range(self.count)]

    def analyse(self, x: Tensor) -> Tensor:
        for kernel in self.kernels:
            x = functional.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
        return x

    def synthesise(self, z: Tensor) -> Tensor:
        for kernel in reversed(self.kernels):
            z = functional.conv_transpose2d(z, kernel, padding=kernel.shape[-1] // 2)
        return z

    def spline(self, z: Tensor) -> Tensor:
        """The piecewise linear function of every channel; constant outside the grid."""
        grid, values = self.get_buffer("grid"), self.get_buffer("values")
        position = ((z - grid[0]) / (grid[1] - grid[0])).clamp(0, len(grid) - 1.001)
        left = position.floor().long()
        table = values.expand(z.shape[1], -1)
        lower, upper = (
            torch.gather(table[None, :, None].expand(len(z), -1, z.shape[2], -1), 3, left + step)
            for step in (0, 1)
        )
        return torch.lerp(lower, upper, position - left)

    def gradient(self, x: Tensor) -> Tensor:
        return self.synthesise(self.spline(self.analyse(x)))


def _zero_mean(kernel: Tensor) -> Tensor:
    return kernel - kernel.mean(dim=(1, 2, 3), keepdim=True)


def _monotone(values: Tensor) -> Tensor:
    """Values at the knots with slopes made nonnegative, constant at both ends, 0 in the middle."""
    slopes = values.diff(dim=1).clamp(min=0)
    slopes[:, 0] = slopes[:, -1] = 0
    summed = functional.pad(slopes.cumsum(dim=1), (1, 0))
    return summed - summed[:, summed.shape[1] // 2, None]


class RidgeDescent(nn.Module):
    """CRR-NN unrolled: a few gradient steps (Goujon et al. 2023); one network a noise level."""

    def __init__(self, folder: Path, level: int, steps: int) -> None:
        super().__init__()
        name = f"Sigma_{level}_t_{steps}/checkpoints/checkpoint_10.pth"
        weights = _load(folder / "convex_ridge_regularizers" / "trained_models" / name)
        prefix = "conv_layer.conv_layers.{}.parametrizations.weight.original"
        kernels = [_zero_mean(weights[prefix.format(index)]) for index in range(2)]
        values = _monotone(weights["activation.coefficients_vect"].view(len(kernels[1]), -1))
        knots = values.shape[1]
        spacing = 0.2 / (knots - 1)
        grid = spacing * (torch.arange(knots) - knots // 2)
        self.ridge, self.steps = _Ridge(kernels, grid, values), steps
        self.strength, self.scale = float(weights["lmbd"]), float(weights["mu"])
        self.bound = float(self._power(values.diff(dim=1).amax(1) / spacing))

    @torch.no_grad()
    def _power(self, slopes: Tensor) -> Tensor:
        """The norm of the Hessian where all slopes are largest, as its authors find it."""
        u = torch.rand(1, 1, 200, 200, generator=torch.Generator().manual_seed(0))
        for _ in range(200):
            u = u / torch.linalg.vector_norm(u)
            u = self.ridge.synthesise(slopes[:, None, None] * self.ridge.analyse(u))
        return torch.linalg.vector_norm(u)

    @property
    def smoothness(self) -> float:
        """Of the regulariser, at every level."""
        return self.bound * self.strength * self.scale

    def forward(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        x = y - 2 / (self.bound * self.scale) * self.ridge.gradient(self.scale * y)
        size = 2 / (1 + self.smoothness)
        for _ in range(self.steps - 1):
            step = x - y + self.strength * self.ridge.gradient(self.scale * x)
            x = x - size * step
        return x


class RidgeProx(nn.Module):
    """CRR-NN as a proximity operator for every noise level, by FISTA with restarts, or its weakly
    convex variant WCRR-NN (Goujon, Neumayer, Unser 2024)."""

    def __init__(self, folder: Path, *, weakly: bool = False, tolerance: float = 1e-4) -> None:
        super().__init__()
        name = "WCRR-CNN" if weakly else "CRR-CNN"
        path = folder / "weakly_convex_ridge_regularizer" / "trained_models" / name
        weights = _load(path / "checkpoints" / "checkpoint_6000.pth")
        kernels = [_zero_mean(weights["conv_layer.conv_layers.0.parametrizations.weight.original"])]
        kernels += [weights[f"conv_layer.conv_layers.{index}.weight"] for index in (1, 2)]
        kernels[0] = kernels[0] / math.sqrt(_largest_symbol(kernels))
        self.steepness = float(weights["mu_"].exp())
        values = self.steepness * _odd_spline(weights["activation_cvx.coefficients"])
        if weakly:
            values = values - _odd_spline(weights["activation_ccv.coefficients"])
        self.ridge = _Ridge(kernels, torch.linspace(-0.1, 0.1, values.shape[1]), values)
        self.scalings = weights["spline_scaling.coefficients"]
        self.tolerance = tolerance

    def _gradient(self, x: Tensor, scaling: Tensor) -> Tensor:
        return self.ridge.synthesise(self.ridge.spline(self.ridge.analyse(x) * scaling) / scaling)

    def forward(self, y: Tensor, sigma: float) -> Tensor:
        level = 255 * float(sigma)
        position = min(level / 3, 9.999)
        left = int(position)
        table = self.scalings[:, left : left + 2]
        logarithm = torch.lerp(table[:, 0], table[:, 1], position - left)
        scaling = (logarithm.exp() / (level + 1e-5))[:, None, None]
        x, z, t = y, y, 1.0
        for _ in range(500):
            gradient = (z - y + self._gradient(z, scaling)) / (1 + self.steepness)
            new = z - gradient
            moved = new - x
            restart = float((gradient * moved).sum()) > 0
            following = 1.0 if restart else (1 + math.sqrt(1 + 4 * t * t)) / 2
            z = new if restart else new + (t - 1) / following * moved
            x, t = new, following
            if float(moved.norm() / x.norm()) < self.tolerance:
                break
        return x


def _odd_spline(values: Tensor) -> Tensor:
    """Values at the knots on [-0.1, 0.1] with slopes in [0, 1], constant at both ends, odd."""
    spacing = 0.2 / (values.shape[1] - 1)
    slopes = (values.diff(dim=1) / spacing).clamp(0, 1)
    slopes[:, 0] = slopes[:, -1] = 0
    summed = functional.pad(slopes.cumsum(dim=1) * spacing, (1, 0))
    return (summed - summed.flip(1)) / 2


def _largest_symbol(kernels: list[Tensor]) -> float:
    """The largest squared modulus of the symbol of a composition, on a grid of 256 x 256."""
    reach = sum(kernel.shape[-1] // 2 for kernel in kernels)
    impulse = torch.zeros(1, 1, 2 * reach + 1, 2 * reach + 1)
    impulse[..., reach, reach] = 1
    for kernel in kernels:
        impulse = functional.conv2d(impulse, kernel, padding=kernel.shape[-1] // 2)
    return float(torch.fft.fft2(impulse, s=(256, 256)).abs().square().sum(dim=1).max())


def plain_residual(folder: Path, name: str, level: int) -> nn.Module:
    """``y - net(y)`` of Ryu et al. 2019: ``DnCNN``, ``SimpleCNN`` or ``RealSN_SimpleCNN``."""
    path = folder / "Provable_Plug_and_Play" / "Pretrained_models" / f"{name}_noise{level}.pth"
    weights = {key.removeprefix("module."): value for key, value in _load(path).items()}
    layers: list[nn.Module] = []
    for index in sorted({int(key.split(".")[1]) for key in weights}):
        part = {k.split(".")[2]: v for k, v in weights.items() if k.split(".")[1] == str(index)}
        if "running_mean" in part:
            layers[-1] = _normalisation(part)
            layers.append(nn.ReLU())
        else:
            layers += [_convolution(part["weight"]), nn.ReLU()]
    return _Residual(nn.Sequential(*layers[:-1]))


def folded_residual(folder: Path, level: int) -> nn.Module:
    """``y - net(y)`` of Zhang et al. 2017, with normalisations folded into the 17 convolutions."""
    weights = _load(folder / "KAIR" / "model_zoo" / f"dncnn_{level}.pth")
    layers: list[nn.Module] = []
    for index in sorted({int(key.split(".")[1]) for key in weights}):
        part = {name: weights[f"model.{index}.{name}"] for name in ("weight", "bias")}
        layers += [_convolution(part["weight"], part["bias"]), nn.ReLU()]
    return _Residual(nn.Sequential(*layers[:-1]))


class _Residual(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        return y - self.net(y)


def _convolution(weight: Tensor, bias: Tensor | None = None) -> nn.Conv2d:
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, bias=bias is not None)
    layer.weight.data = weight
    if bias is not None and layer.bias is not None:
        layer.bias.data = bias
    return layer


def _normalisation(weights: _Weights) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(len(weights["weight"]))
    layer.load_state_dict(weights)
    return layer.eval()


class AveragedNetwork(nn.Module):
    """``(y + net(y)) / 2`` with normalised convolutions (released with CRR-NN)."""

    def __init__(self, folder: Path, level: int) -> None:
        super().__init__()
        name = f"sigma_{level}/checkpoints/checkpoint_best_epoch.pth"
        path = folder / "convex_ridge_regularizers" / "others" / "averaged_cnn"
        weights = _load(path / "pretrained_models" / name)
        layers: list[nn.Module] = []
        for index in range(9):
            key = f"layers.{2 * index}"
            layers.append(_convolution(weights[f"{key}.lipschitz_weight"], weights[f"{key}.bias"]))
            if index < 8:
                slopes = weights[f"layers.{2 * index + 1}.weight"].clamp(-1, 1)
                layers.append(nn.PReLU(len(slopes)))
                layers[-1].load_state_dict({"weight": slopes})
        self.net = nn.Sequential(*layers)

    def forward(self, y: Tensor, sigma: float | Tensor | None = None) -> Tensor:
        return (y + self.net(y)) / 2
