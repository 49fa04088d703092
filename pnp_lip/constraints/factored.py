r"""Filters that are learned as the composition of two smaller banks, :math:`W = BA`.

With ``A`` of ``M`` filters of side :math:`m` and ``B`` of ``K`` filters of side :math:`m` on the ``M``
responses, the kernel of :math:`BA` is the full convolution of both, of side :math:`2m-1`. Only the
learning is composed: each layer keeps *one* kernel, which acts, is projected, certified and stored.
For that kernel the zero-padded convolution is bounded by the supremum of its own symbol, while two
zero-padded convolutions in sequence would only be bounded by the product of theirs.

Gradient descent on the factors moves whole families of filters together and finds long oriented
filters that it does not find from a frame of cosines (the multi-convolution of Goujon et al.,
*A Neural-Network-Based Convex Regularizer for Inverse Problems*, IEEE TCI 2023).
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from pnp_lip.constraints.projection import project
from pnp_lip.layers.gradient_step import ConvGradientStep
from pnp_lip.norms import grid_norm

__all__ = ["FactoredFilters"]

#: A composition counts as the kernel itself up to this relative error, or up to so many roundings.
_EXACT, _ROUNDINGS = 1e-9, 100
#: Standard deviation of the Gaussian window of the first factors, in units of their side.
_WINDOW = 0.24


class FactoredFilters(nn.Module):
    r"""The factors of all filter banks of a model, whose kernels they replace.

    The optimiser takes ``parameters()`` of this module in the place of the kernels. After
    ``loss.backward()``, :meth:`pull_back` carries the gradients of the kernels to the factors; after
    the step of the optimiser the hook of :meth:`hold` writes the kernels and keeps
    :math:`\tau\|W\|^2 \le 2\alpha`.

    Parameters
    ----------
    model
        its :class:`ConvGradientStep` layers get random smooth filters, of about the norm
        they had (the same grid bound).
    inner_channels
        number ``M`` of filters of ``A``.
    seed
        of the random filters.
    keep
        let the layers keep their kernels: ``A`` is random, ``B`` the smallest bank with
        :math:`BA = W`. For generic ``A`` such a bank exists for every ``W`` as soon as
        :math:`M m^2 \ge C(2m-1)^2` for ``C`` image channels. The kernels change by the rounding
        of :math:`BA`.

    Raises
    ------
    ValueError
        ``inner_channels`` is less than 1, or too small to keep the kernels to within 100
        roundings; or all filters of a layer are zero.
    """

    def __init__(
        self, model: nn.Module, inner_channels: int, seed: int = 0, *, keep: bool = False
    ) -> None:
        super().__init__()
        if inner_channels < 1:
            raise ValueError(
                f"factored filters need at least 1 channel between, got {inner_channels}"
            )
        self._model = [model]  # not a submodule: its parameters are not ours
        if not all(bool(layer.weight.any()) for layer in self._layers()):
            raise ValueError("a layer whose filters are all zero has no factors: leave it out")
        generator = torch.Generator().manual_seed(seed)
        banks = _complete if keep else _random
        self.pairs = nn.ModuleList(
            _Factors(*banks(layer.weight.detach(), inner_channels, generator))
            for layer in self._layers()
        )
        self._write()

    def pull_back(self) -> None:
        r"""Turn the gradient in every kernel :math:`BA` into gradients in ``A`` and ``B``."""
        for layer, pair in zip(self._layers(), self.pairs, strict=True):
            torch.autograd.backward(pair(), layer.weight.grad)
            layer.weight.grad = None

    def hold(self, optimizer: Optimizer, *, averagedness: float = 1.0) -> RemovableHandle:
        """Write the kernels now and after every step of ``optimizer``, inside the constraint.

        Returns
        -------
        RemovableHandle
            A handle whose ``remove()`` ends both.
        """
        self._project(averagedness)
        return optimizer.register_step_post_hook(lambda *_: self._project(averagedness))

    def _layers(self) -> list[ConvGradientStep]:
        return [m for m in self._model[0].modules() if isinstance(m, ConvGradientStep)]

    @torch.no_grad()
    def _write(self) -> None:
        for layer, pair in zip(self._layers(), self.pairs, strict=True):
            layer.weight.copy_(pair())

    @torch.no_grad()
    def _project(self, averagedness: float) -> None:
        self._write()
        before = [torch.linalg.vector_norm(layer.weight) for layer in self._layers()]
        project(self._model[0], averagedness=averagedness)
        for layer, pair, norm in zip(self._layers(), self.pairs, before, strict=True):
            for factor in pair.parameters():
                factor.mul_((torch.linalg.vector_norm(layer.weight) / norm).sqrt())


class _Factors(nn.Module):
    """One pair: ``inner`` ``[M, C, m, m]`` and ``outer`` ``[K, M, m, m]``."""

    def __init__(self, inner: Tensor, outer: Tensor) -> None:
        super().__init__()
        self.inner, self.outer = nn.Parameter(inner), nn.Parameter(outer)

    def forward(self) -> Tensor:
        """The kernel ``[K, C, 2m - 1, 2m - 1]``."""
        return _composition(self.inner, self.outer)


def _random(weight: Tensor, inner_channels: int, generator: Generator) -> list[Tensor]:
    """Smooth filters, the first ones of mean 0, whose composition has about the norm of ``weight``."""
    count, channels, size, _ = weight.shape
    window = _window((size + 1) // 2)
    inner = window * torch.randn(inner_channels, channels, *window.shape, generator=generator)
    inner -= window * inner.sum(dim=(2, 3), keepdim=True) / window.sum()
    outer = window * torch.randn(count, inner_channels, *window.shape, generator=generator)
    pair = [bank / _lengths(bank) for bank in (inner, outer)]
    norms = grid_norm(weight), grid_norm(_composition(*pair).to(weight))
    return [bank.to(weight) * torch.sqrt(norms[0] / norms[1]) for bank in pair]


def _complete(weight: Tensor, inner_channels: int, generator: Generator) -> list[Tensor]:
    """Smooth random ``inner`` and the smallest ``outer`` whose composition is ``weight``.

    Both are scaled to equal mean lengths of their filters.

    Raises
    ------
    ValueError
        no such composition.
    """
    channels, size = weight.shape[1:3]
    window = _window((size + 1) // 2).double()
    inner = (
        window * torch.randn(inner_channels, channels, *window.shape, generator=generator).double()
    )
    inner /= _lengths(inner)
    units = torch.eye(inner_channels * window.numel(), dtype=torch.float64)
    shifted = _composition(inner, units.unflatten(1, (inner_channels, *window.shape))).flatten(1)
    wanted = weight.double().cpu().flatten(1)
    outer = (wanted @ torch.linalg.pinv(shifted, rtol=1e-9)).unflatten(
        1, (inner_channels, *window.shape)
    )
    scale = torch.sqrt(_lengths(outer).mean() / _lengths(inner).mean())
    pair = [bank.to(weight) for bank in (inner * scale, outer / scale)]
    left = torch.linalg.vector_norm(_composition(*pair) - weight)
    limit = max(_EXACT, _ROUNDINGS * torch.finfo(weight.dtype).eps)
    if left > limit * torch.linalg.vector_norm(weight):
        needed = -(-channels * size**2 // window.numel())
        raise ValueError(
            f"{inner_channels} channels between cannot keep these filters of {channels} x {size} x {size}: "
            f"take more, at least {needed}, or start without them"
        )
    return pair


def _lengths(bank: Tensor) -> Tensor:
    """The Euclidean norm of every filter, ``[filters, 1, 1, 1]``."""
    return bank.flatten(1).norm(dim=1)[:, None, None, None]


def _composition(inner: Tensor, outer: Tensor) -> Tensor:
    """Kernel of the correlation with ``inner`` followed by the one with ``outer``."""
    return functional.conv_transpose2d(outer, inner)


def _window(side: int) -> Tensor:
    position = torch.arange(side) - (side - 1) / 2
    profile = torch.exp(-(position**2) / (2 * (_WINDOW * side) ** 2))
    return torch.outer(profile, profile)
