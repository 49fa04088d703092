r"""A map on some images of a batch, once the others have ended.

``T`` acts on every image by itself, so that on some of them it is the same map with their observations,
noise levels and kernels alone. Whether what was made for them is that map is tried on the last iterate,
whose images under ``T`` are known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pnp_lip.solvers.growth import norms

__all__ = ["MakePart", "Part", "agreeing"]

#: Units of eps (|w| + |T w|) by which two evaluations of the same map may differ.
_ROUNDINGS = 64


@dataclass(frozen=True)
class Part:
    """A map, and the norm in which it is nonexpansive; the Euclidean one without it."""

    step: Callable[[Tensor], Tensor]
    measure: Callable[[Tensor], Tensor] | None = None


#: Makes the part for the images of these indices; ``None`` where there is none.
MakePart = Callable[[list[int]], Part | None]


def agreeing(make: MakePart, rows: list[int], w: Tensor, image: Tensor) -> Part | None:
    """The part for some images, if it gives of them what the whole map gave.

    Parameters
    ----------
    make
        makes it.
    rows
        indices of the images in the batch.
    w
        their iterates.
    image
        what the whole map made of them.
    """
    try:
        part = make(rows)
        found = None if part is None else part.step(w)
    except (IndexError, RuntimeError, TypeError, ValueError, NotImplementedError):
        return None
    if found is None or found.shape != image.shape:
        return None
    allowed = _ROUNDINGS * torch.finfo(w.dtype).eps * (norms(w) + norms(image))
    return part if bool((norms(found - image) <= allowed).all()) else None
