"""The pages of a stack as volumes along one of its axes, and back in the order of the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pnp_lip.data.images import Image
from pnp_lip.errors import InputError

__all__ = ["DepthAxis", "depth_axis"]

#: Axes without a meaning in the words of tifffile: a plain stack of pages has one of these.
_UNNAMED = "IQ"


@dataclass(frozen=True)
class DepthAxis:
    """Which axis of the pages of a stack is depth.

    Attributes
    ----------
    shape
        lengths of the axes of the pages, in the order of the file.
    position
        which of them is depth.
    """

    shape: tuple[int, ...]
    position: int

    def volumes(self, pages: Tensor) -> list[Tensor]:
        """``[N, C, H, W]`` as volumes ``[1, C, D, H, W]``: one for every time, channel, ...."""
        whole = pages.reshape(*self.shape, *pages.shape[1:])
        whole = whole.movedim(self.position, -3)  # [..., C, D, H, W]
        return list(whole.reshape(-1, *whole.shape[-4:]).split(1))

    def pages(self, volumes: Sequence[Tensor]) -> Tensor:
        """The inverse of :meth:`volumes`, also where rows and columns have changed."""
        others = [side for axis, side in enumerate(self.shape) if axis != self.position]
        joined = torch.cat(list(volumes))
        whole = joined.reshape(*others, *joined.shape[1:]).movedim(-3, self.position)
        return whole.reshape(-1, *whole.shape[-3:])


def depth_axis(image: Image, name: str | None = None) -> DepthAxis:
    """The axis of a stack that is depth: ``Z``, or the only axis of a stack whose axis has no name.

    Parameters
    ----------
    image
        a stack.
    name
        the letter of another axis that is to be taken for depth.

    Raises
    ------
    InputError
        no stack, no such axis, or none that says it is depth.
    """
    axes, shape = image.storage.axes, image.storage.shape
    if not axes:
        raise InputError("a volume has slices, this is a single image: name a stack")
    if name is not None:
        if name not in axes:
            raise InputError(f"the stack has the axes {axes} besides rows and columns, no {name}")
        return DepthAxis(shape, axes.index(name))
    if "Z" in axes:
        return DepthAxis(shape, axes.index("Z"))
    if len(axes) == 1 and axes in _UNNAMED:
        return DepthAxis(shape, 0)
    raise InputError(
        f"no axis of the stack is called Z, it has {axes}: if one of them is depth, name it "
        f"(--depth-axis {axes[-1]}); otherwise restore its pages one by one"
    )
