"""What comes in and where the result goes, checked before anything is computed."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pnp_lip.data.cells import cells
from pnp_lip.data.images import Image, ImageFileError, read_stack
from pnp_lip.data.photographs import PHOTOGRAPHS, photograph
from pnp_lip.data.volumes import DepthAxis, depth_axis
from pnp_lip.errors import InputError
from pnp_lip.formats.raster import Storage
from pnp_lip.formats.writing import require_storable
from pnp_lip.recipes.noise import estimated_noise
from pnp_lip.recipes.outputs import Outputs, digest

#: Options that do not change the result.
_ELSEWHERE = (
    *("image", "images", "output", "force", "traceback", "run", "resume"),
    *("kernel", "psf", "mask", "report"),
)

__all__ = ["Given", "alpha_note", "given", "noise_levels", "options_of", "require_device", "say"]


@dataclass(frozen=True)
class Given:
    """An image on its way through a command.

    Attributes
    ----------
    image
        the pages.
    simulate
        whether they are clean and to be degraded first.
    outputs
        where the result goes.
    origin
        the command and the hashes of what it read, for the report.
    depth
        the axis along which the pages are volumes; without it they are images.
    """

    image: Image
    simulate: bool
    outputs: Outputs
    origin: dict[str, Any]
    depth: DepthAxis | None = None

    def earlier(self) -> dict[str, Any] | None:
        """The report of the same command on the same files, if its result still lies there."""
        report = self.outputs.earlier()
        same = report is not None and all(
            report.get(key) == self.origin[key] for key in self.origin
        )
        return report if same else None

    @property
    def pages(self) -> tuple[Tensor, ...]:
        """The pages one by one, ``[1, C, H, W]``, or the volumes, ``[1, C, D, H, W]``."""
        if self.depth is not None:
            return tuple(self.depth.volumes(self.image.pixels))
        return self.image.pixels.split(1)

    def in_depth(self, axis: str | None) -> Given:
        """The pages as volumes along the axis called ``axis``, or along the one that says it is depth."""
        return replace(self, depth=depth_axis(self.image, axis))


def given(options: argparse.Namespace, *others: str | None) -> Given:
    """Read the image of a command and check its output.

    Parameters
    ----------
    options
        of the command line.
    others
        further files that are read: a kernel, a mask.

    Raises
    ------
    InputError
        a device, a file or a place that cannot be used.
    """
    require_device(options.device)
    image, simulate = _image(options)
    several = bool(image.storage.axes)
    output = options.output or f"{options.command}.{'tif' if several else 'png'}"
    outputs = Outputs(Path(output), options.force, options.report)
    require_storable(outputs.image, len(image.pixels), _size(image), several)
    inputs = [Path(name) for name in (options.image, *others) if name]
    outputs.require_free(inputs)
    return Given(image, simulate, outputs, _origin(options, inputs))


def require_device(name: str) -> None:
    """Raise :class:`InputError` unless torch can compute on the device ``name``."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device '{name}' cannot be used: {reason}") from error


def noise_levels(pages: Sequence[Tensor], stated: float | str, simulate: bool) -> list[float]:
    """The noise level of each page: as stated, or estimated and said.

    Raises
    ------
    InputError
        ``"auto"`` for a clean image that is to be degraded, or a page that is too small.
    """
    if not isinstance(stated, str):
        return [stated] * len(pages)
    if simulate:
        raise InputError("the noise to add to a clean image needs a number, not 'auto'")
    levels = [estimated_noise(x if x.ndim == 4 else x[:, :, x.shape[2] // 2]) for x in pages]
    found = " to ".join(dict.fromkeys(f"{level:.4f}" for level in (min(levels), max(levels))))
    say(f"noise estimated: {found} ({255 * max(levels):.1f} of 255); fine texture counts as noise")
    return levels


def alpha_note(image: Image) -> tuple[str, ...]:
    """What becomes of an alpha channel that is not used."""
    if image.alpha is None:
        return ()
    share = 100 * float((image.alpha < 1).double().mean())
    seen = "all of it opaque" if share == 0 else f"{share:.1f} % of the pixels not opaque"
    return (f"its alpha channel ({seen}) is dropped: the result has none",)


def say(*sentences: str) -> None:
    """Print each sentence once."""
    for sentence in dict.fromkeys(sentences):
        print(sentence if sentence.startswith("warning") else f"note: {sentence}")


def _image(options: argparse.Namespace) -> tuple[Image, bool]:
    name = options.image
    if name is None:
        name = "cells" if options.command == "deconvolve" else "camera"
    if name == "cells" and not Path(name).exists():
        pages = cells()[0].movedim(1, 0)
        return Image(
            pages, Storage(np.dtype(np.uint16), 65535.0, axes="Z", shape=(len(pages),))
        ), True
    if name in PHOTOGRAPHS and not Path(name).exists():
        storage = Storage(np.dtype(np.uint8), 255.0)
        return Image(photograph(name), storage), True
    if not Path(name).exists() and (close := difflib.get_close_matches(name, PHOTOGRAPHS, n=1)):
        raise ImageFileError(
            f"no such file: {name} (did you mean the packaged photograph {close[0]}?)"
        )
    image = read_stack(name, white_level=options.white_level)
    return (image if options.page is None else _page(image, options.page)), options.simulate


def _page(image: Image, number: int) -> Image:
    """One page, counted from 1 as ImageJ does."""
    count = len(image.pixels)
    if number > count:
        raise InputError(f"there is no page {number}: the pages are 1 to {count}")
    only = image.page(number - 1)
    return replace(only, notes=(*only.notes, f"page {number} of {count}"))


def _origin(options: argparse.Namespace, inputs: list[Path]) -> dict[str, Any]:
    """What decides the result: options and contents of files, whatever their place."""
    hashes = {path.name: digest(path) for path in inputs if path.is_file()}
    return {"command": options_of(options), "inputs": hashes}


def options_of(options: argparse.Namespace) -> dict[str, Any]:
    """The options that decide a result, as a report keeps them."""
    command = {key: value for key, value in vars(options).items() if key not in _ELSEWHERE}
    return {key: list(v) if isinstance(v, tuple) else v for key, v in command.items()}


def _size(image: Image) -> tuple[int, int]:
    height, width = image.pixels.shape[-2:]
    return int(height), int(width)
