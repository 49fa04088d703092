"""The ways in which a network may be called: how many images, and which kind of noise level.

A function of Python may take another way for a number than for a tensor, and for one image than for
several. So a network is exported once for each of them, and bounded by the worst.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from deepinv.models import Denoiser
from torch import Tensor, nn

from pnp_lip.denoisers import VolumeDenoiser
from pnp_lip.plain_modules import Refusal

__all__ = ["NUMBERS", "Call", "Called", "calls_of", "likely_shapes"]

#: Noise levels that are tried as numbers; all must give the same graph, but for constants. A branch at a
#: threshold, also of a number that was made from the level, takes the two ways at the first and the last.
NUMBERS = (0.1, 0.0, 50.0)
#: Names under which denoisers take a noise level.
_LEVELS = ("sigma", "noise_level", "noise", "level", "sigma_denoiser")


@dataclass(frozen=True)
class Call:
    """One way of calling a network.

    Attributes
    ----------
    shape
        of the images ``[B, C, ...]``.
    place
        name of the argument that is the noise level, ``None`` if none is passed.
    number
        the noise level, where it is a number; otherwise it is a tensor ``[B]``.
    like
        a tensor of the type of the images, on their device.
    """

    shape: tuple[int, ...]
    place: str | None = None
    number: float | None = None
    like: Tensor = field(default_factory=lambda: torch.zeros(()), compare=False, repr=False)

    @property
    def kind(self) -> str:
        """Of the noise level: ``none``, ``tensor``, ``number``."""
        return "none" if self.place is None else "tensor" if self.number is None else "number"

    @property
    def what(self) -> str:
        """For messages."""
        level = "" if self.place is None else f" and a {self.kind} for '{self.place}'"
        return f"images {list(self.shape)}{level}"

    def blank(self) -> tuple[Tensor, ...]:
        """Arguments without values: the image, and the levels if they are a tensor."""
        given = (self.shape, self.shape[:1])[: 1 + (self.kind == "tensor")]
        return tuple(map(self.like.new_zeros, given))

    def example(self, seed: int = 0, amplitude: float = 1.0) -> tuple[Tensor, ...]:
        """Random arguments: entries in ``[-amplitude, amplitude]``, levels in [0, 1]."""
        generator = torch.Generator().manual_seed(seed)
        x, *level = (torch.rand(blank.shape, generator=generator) for blank in self.blank())
        return tuple(one.to(self.like) for one in ((2 * x - 1) * amplitude, *level))


class Called(nn.Module):
    """The network as a function of tensors alone, under the name ``inner``."""

    def __init__(self, inner: nn.Module, call: Call) -> None:
        super().__init__()
        self.inner, self.place, self.number = inner, call.place, call.number
        self.training = inner.training

    def forward(self, x: Tensor, level: Tensor | None = None) -> Any:
        given = level if self.number is None else Level(self.number)
        # The exporter is not to be seen by what it runs.
        with patch.multiple(torch.compiler, _is_compiling_flag=False, _is_exporting_flag=False):
            found = self.inner(x, **({} if self.place is None else {self.place: given}))
        if not isinstance(found, Tensor):
            raise Refusal(f"returns a {type(found).__name__}: expected one tensor")
        return found


class Level(float):
    """A noise level that refuses to be compared or looked up, so that no branch can depend on it."""

    def _refuse(self, *args: Any) -> Any:
        raise Refusal("decides by the value of its noise level: prove it at one level")

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __bool__ = __int__ = __round__ = _refuse
    __trunc__ = __floor__ = __ceil__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _refuse
    __hash__ = __str__ = __repr__ = __format__ = _refuse


_CARRIED = "add radd sub rsub mul rmul truediv rtruediv pow neg abs"


def _carried(name: str) -> Any:
    def operation(self: Level, *args: Any) -> Any:
        found = getattr(float, name)(self, *args)
        return found if found is NotImplemented else Level(found)

    return operation


for _name in _CARRIED.split():
    setattr(Level, f"__{_name}__", _carried(f"__{_name}__"))


def calls_of(network: nn.Module, shape: tuple[int, ...], like: Tensor) -> Iterator[Call]:
    """Every way to call ``network`` on images of a shape; those of one kind of level in a row.

    Yields
    ------
    Call
        on images of this shape and of the type of ``like``.

    Raises
    ------
    Refusal
        ``forward`` needs arguments besides the image and a noise level.
    """
    place, optional = _level_of(network)
    if place is not None:
        yield from (Call(shape, place, number, like) for number in (None, *NUMBERS))
    if optional:
        yield Call(shape, like=like)


def _level_of(network: nn.Module) -> tuple[str | None, bool]:
    """The argument that is the noise level, and whether it may be left out."""
    parameters = list(inspect.signature(network.forward).parameters.values())[1:]
    named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    needed = [p for p in named if p.default is p.empty]
    levels = [p for p in named if p.name in _LEVELS]
    if not levels and (named[:1] == needed[:1] or isinstance(network, Denoiser)):
        levels = named[:1]
    wrong = [p.name for p in needed if p not in levels] or [p.name for p in levels[1:]]
    if wrong:
        raise Refusal(f"needs the arguments {wrong}: expected an image and at most a noise level")
    return (levels[0].name, levels[0] not in needed) if levels else (None, True)


def likely_shapes(network: nn.Module, seen: tuple[int, ...] | None) -> list[tuple[int, ...]]:
    """Shapes of images that ``network`` may take, the likeliest first.

    Parameters
    ----------
    network
        any module.
    seen
        shape of what it was given on an example.
    """
    if seen:
        # Several images, if it takes them.
        return [(3, *seen[1:]), seen] if seen[0] == 1 else [seen]
    axes, channels = _first_layer(network) or (2, None)
    own = getattr(network, "in_channels", None)
    shapes: list[tuple[int, ...]] = [] if axes or own or channels is None else [(3, channels)]
    first = own or (channels if axes else None)
    counts = [first] + [p.shape[1] for p in network.parameters() if p.ndim > 2]
    likely = dict.fromkeys(c for c in (*counts, 12, 3, 1, 2, 4) if isinstance(c, int))
    shapes += [(3, c, *(64, 96, 32)[: axes or 2]) for c in likely]
    shapes += [(3, p.shape[1]) for p in network.parameters() if p.ndim == 2][:1]
    # What ends in a dense layer takes images of one size only, often small ones such as digits.
    return shapes + [(3, c, *[side] * (axes or 2)) for side in (28, 32, 16, 8) for c in (1, 3)]


def _first_layer(network: nn.Module) -> tuple[int, int] | None:
    """How many axes images have, none for vectors, and channels, by the first layer that says so."""
    for part in network.modules():
        if isinstance(part, VolumeDenoiser):
            return 3, getattr(part.denoiser, "in_channels", None) or 1
        weight, kernel = getattr(part, "weight", None), getattr(part, "kernel_size", None)
        if isinstance(weight, Tensor) and isinstance(kernel or part, (tuple, nn.Linear)):
            return weight.ndim - 2, getattr(part, "in_channels", weight.shape[1])
    return None
