r"""The operator :math:`|A|` of absolute values of the entries, in float64, class by class.

Each function below rests on how its class computes ``A``: a composition of sums of products whose signed
factors are all stored (kernels, masks, mixing matrices), and of operations with entries 0 and 1 (padding,
cropping, sampling, replication). Replacing the stored factors by their absolute values then gives an
operator without negative entries that dominates :math:`|A|` entry by entry, so
:math:`\|A\| \le \||A|\| \le` its norm; for nonnegative factors it is ``A`` itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
from deepinv.physics import (
    Blur,
    BlurFFT,
    ComposedLinearPhysics,
    CompressiveSpectralImaging,
    Decolorize,
    Demosaicing,
    Denoising,
    Downsampling,
    HyperSpectralUnmixing,
    Inpainting,
    LinearPhysics,
    LinearPhysicsMultiScaler,
    Pansharpen,
    PhysicsCropper,
    SpaceVaryingBlur,
    StackedLinearPhysics,
    TiledSpaceVaryingBlur,
    Upsampling,
)
from deepinv.physics import functional as dF
from torch import Tensor

from pnp_lip.solvers.local_kernels import LocalKernels
from pnp_lip.solvers.stock import is_stock

__all__ = ["Forward", "absolute_operator"]

Forward = Callable[[Tensor], Any]


def absolute_operator(physics: LinearPhysics) -> Forward | None:
    """:math:`|A|` on images in float64.

    ``None`` where a part is of a class without an entry here, or one of its functions was replaced.
    """
    build = _FORWARDS.get(type(physics))
    return None if build is None or not is_stock(physics) else build(physics)


def _size(stored: Any) -> Tensor:
    """The absolute values of stored factors in float64."""
    return torch.as_tensor(stored).double().abs()


def _mask(physics: Any) -> Forward:
    mask = _size(physics.mask)
    return lambda x: mask * x


def _blur(physics: Any) -> Forward:
    kernel, dims = _size(physics.filter), physics.filter.ndim - 2
    convolve = dF.conv2d if dims == 2 else dF.conv3d
    padding = getattr(physics, "padding", "circular")
    return lambda x: convolve(x, kernel, padding=padding)


def _sampled(physics: Any) -> Forward:
    factor = physics.factor
    if physics.filter is None:
        return lambda x: x[..., ::factor, ::factor]
    blur = _blur(physics)
    return lambda x: blur(x)[..., ::factor, ::factor]


def _upsampled(physics: Any) -> Forward:
    factor = physics.factor

    def forward(x: Tensor) -> Tensor:
        size = (*x.shape[:2], x.shape[2] * factor, x.shape[3] * factor)
        fine = torch.zeros(size, dtype=x.dtype, device=x.device)
        fine = torch.slice_scatter(fine, _widened(x, fine, factor), 2, 0, None, factor)
        if physics.filter is None:
            return fine
        return dF.conv_transpose2d(fine, _size(physics.filter), padding=physics.padding)

    return forward


def _widened(x: Tensor, fine: Tensor, factor: int) -> Tensor:
    """The columns of ``x`` between columns of zeros."""
    rows = torch.zeros((*x.shape[:3], fine.shape[3]), dtype=x.dtype, device=x.device)
    return torch.slice_scatter(rows, x, 3, 0, None, factor)


def _space_varying(physics: Any) -> Forward:
    """The moduli of the local kernels, or of their factors where the kernels are too many to store."""
    local = LocalKernels.of(physics)
    if local is not None:
        return local
    weights, kernels = _size(physics.multipliers), _size(physics.filters)
    options = {"padding": physics.padding, "use_fft": False, "mask_first": physics.mask_first}
    return lambda x: dF.product_convolution2d(x, weights, kernels, **options)


def _tiled(physics: Any) -> Forward | None:
    twin = copy.deepcopy(physics).double()
    twin.filters = twin.filters.abs()
    twin.use_fft, twin.conv2d_fn = False, dF.conv2d

    def forward(x: Tensor) -> Tensor:
        image: Tensor = twin.A(x)
        if bool((twin.multipliers < 0).any()):
            raise ValueError("expected windows without negative entries")
        return image

    return forward


def _unmixing(physics: Any) -> Forward:
    matrix = _size(physics.M)
    return lambda x: torch.einsum("ec,behw->bchw", matrix, x)


def _grey(physics: Any) -> Forward:
    response = _size(physics.srf)
    return lambda x: (x * response).sum(dim=1, keepdim=True)


def _snapshot(physics: Any) -> Forward:
    twin = copy.deepcopy(physics).double()
    twin.mask = twin.mask.abs()
    return cast(Forward, twin.A)


def _cropped(physics: Any) -> Forward | None:
    inner = absolute_operator(physics.base)
    return None if inner is None else lambda x: inner(physics.remove_pad(x))


def _scaled(physics: Any) -> Forward | None:
    inner = absolute_operator(physics.base)
    if inner is None or physics.scale == 0:
        return inner
    finer = absolute_operator(physics.upsamplings[physics.scale - 1])
    return None if finer is None else lambda x: inner(finer(x))


def _composed(physics: Any) -> Forward | None:
    parts = [absolute_operator(part) for part in physics.physics_list]
    if any(part is None for part in parts):
        return None

    def forward(x: Tensor) -> Tensor:
        for part in cast("list[Forward]", parts):
            x = part(x)
        return x

    return forward


def _stacked(physics: Any) -> Forward | None:
    parts = [absolute_operator(part) for part in physics.physics_list]
    if any(part is None for part in parts):
        return None
    return lambda x: [part(x) for part in cast("list[Forward]", parts)]


_FORWARDS: dict[type, Callable[[Any], Forward | None]] = {
    Denoising: _mask,
    Inpainting: _mask,
    Demosaicing: _mask,
    Blur: _blur,
    BlurFFT: _blur,
    Downsampling: _sampled,
    Upsampling: _upsampled,
    SpaceVaryingBlur: _space_varying,
    TiledSpaceVaryingBlur: _tiled,
    HyperSpectralUnmixing: _unmixing,
    Decolorize: _grey,
    CompressiveSpectralImaging: _snapshot,
    PhysicsCropper: _cropped,
    LinearPhysicsMultiScaler: _scaled,
    ComposedLinearPhysics: _composed,
    StackedLinearPhysics: _stacked,
    Pansharpen: _stacked,
}
