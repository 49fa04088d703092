"""How the shapes inside a network follow from that of its input, for every input size at once.

Adding two tensors is Lipschitz with the sum of the constants only if neither is repeated to fit the
other: broadcasting multiplies a norm by the square root of the number of copies. So a sum needs a
proof that its terms have the same shape. A shape is kept as channels (axis 1), features (last axis)
and the list of maps by which its sides came from those of the input; sides are nondecreasing in the
input's, so that two lists that differ need to be compared only until both sides exceed 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from pnp_lip.certifier.rules import keeps_shape
from pnp_lip.plain_modules import plain_type

__all__ = ["Shape", "Source", "after_module", "beside", "fits", "rearranged", "same_shape"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_PADS = (nn.ZeroPad2d, nn.CircularPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d)
_LIMIT = 4096


@dataclass(frozen=True)
class _Window:
    """One axis: ``n -> (n + extra - reach) // stride + 1``, or ``(n - 1) stride + reach + extra``."""

    reach: int
    stride: int
    extra: int
    transposed: bool = False

    def __call__(self, n: int) -> int:
        if self.transposed:
            return (n - 1) * self.stride + self.reach + self.extra
        return (n + self.extra - self.reach) // self.stride + 1

    @property
    def is_identity(self) -> bool:
        return self.stride == 1 and self.extra == (
            1 - self.reach if self.transposed else self.reach - 1
        )


@dataclass(frozen=True)
class _Divide:
    """One axis: ``n -> n / factor``, an error unless it divides."""

    factor: int

    def __call__(self, n: int) -> int:
        return n // self.factor if n % self.factor == 0 else 0

    is_identity = False


@dataclass
class Source:
    """What the modules that read the input say about it."""

    channels: int | None = None
    features: int | None = None
    axes: int | None = None


@dataclass(frozen=True)
class Shape:
    """``channels`` and ``features`` are ``None`` where they are those of the input."""

    channels: int | str | None = None
    features: int | str | None = None
    steps: tuple[Any, ...] = ()


def rearranged(shape: Shape, label: str) -> Shape:
    """A shape of which only this is known: equal labels on equal shapes give equal shapes."""
    return Shape(label, label, (*shape.steps, shape.channels, shape.features, label))


def after_module(module: nn.Module, shape: Shape, source: Source, label: str) -> Shape:
    """The shape of ``module``'s output; ``label`` stands for it where nothing is known."""
    kind = plain_type(module)
    layer: Any = module
    if kind in _CONVOLUTIONS or kind in _TRANSPOSED:
        if shape.channels is None:
            source.channels, source.axes = layer.in_channels, len(layer.kernel_size)
        steps = _convolution_steps(layer, kind in _TRANSPOSED)
        return _stepped(replace(shape, channels=layer.out_channels), steps)
    if kind is nn.Linear:
        if shape.features is None and not shape.steps:
            source.features = layer.in_features
        kept = layer.in_features == layer.out_features
        return shape if kept else replace(shape, features=layer.out_features)
    if kind in (nn.PixelShuffle, nn.PixelUnshuffle) and isinstance(shape.channels, int):
        return _shuffled(layer, shape, kind is nn.PixelShuffle)
    if kind in _POOLS and not layer.ceil_mode:
        return _stepped(shape, _pool_steps(layer, int(kind.__name__[-2])))
    if kind in (nn.Upsample, nn.UpsamplingNearest2d) and source.axes is not None:
        return _stepped(shape, _upsample_steps(layer.scale_factor, source.axes))
    if kind in _PADS:
        pad = layer.padding
        return _stepped(shape, (_Window(1, 1, pad[2] + pad[3]), _Window(1, 1, pad[0] + pad[1])))
    if keeps_shape(module):
        return shape
    return rearranged(shape, label)


def beside(shapes: list[Shape], source: Source, label: str) -> Shape:
    """The shape of tensors concatenated along the channels."""
    counts = [source.channels if s.channels is None else s.channels for s in shapes]
    first = shapes[0]
    alike = all((s.features, s.steps) == (first.features, first.steps) for s in shapes)
    known = [count for count in counts if isinstance(count, int)]
    if alike and len(known) == len(counts) and source.axes is not None:
        return replace(first, channels=sum(known))
    return rearranged(Shape(), label)


def same_shape(a: Shape, b: Shape, source: Source) -> bool:
    """Whether tensors of these shapes have the same shape whenever they can be added."""
    for one, other, of_input in (
        (a.channels, b.channels, source.channels),
        (a.features, b.features, source.features),
    ):
        if one != other and (of_input if one is None else one) != (
            of_input if other is None else other
        ):
            return False
    return a.steps == b.steps or _never_broadcast(a.steps, b.steps)


def fits(constant: Tensor, shape: Shape, source: Source) -> bool:
    """Whether adding or multiplying with ``constant`` leaves a tensor of this shape unrepeated."""
    if constant.ndim == 0:
        return True
    sizes = list(constant.shape)
    channels = source.channels if shape.channels is None else shape.channels
    features = source.features if shape.features is None else shape.features
    if source.axes is None:
        return sizes == [features]
    while len(sizes) > source.axes + 1 and sizes[0] == 1:
        sizes = sizes[1:]
    ones = [1] * source.axes
    inside = len(sizes) <= source.axes and set(sizes) == {1}
    return inside or sizes == [1, *ones] or sizes == [channels, *ones]


def _stepped(shape: Shape, step: tuple[Any, ...]) -> Shape:
    if all(axis.is_identity for axis in step):
        return shape
    # A step changes the last axis, too: what a linear layer said about it is no longer comparable.
    features = None if shape.features is None else f"{shape.features} then {step}"
    return replace(shape, features=features, steps=(*shape.steps, step))


def _convolution_steps(layer: Any, transposed: bool) -> tuple[_Window, ...]:
    axes = range(len(layer.kernel_size))
    reach = [layer.dilation[i] * (layer.kernel_size[i] - 1) + 1 for i in axes]
    if layer.padding == "same":
        extra = [reach[i] - 1 for i in axes]
    elif layer.padding == "valid":
        extra = [0 for _ in axes]
    else:
        extra = [2 * layer.padding[i] for i in axes]
    if transposed:
        extra = [layer.output_padding[i] - extra[i] for i in axes]
    return tuple(_Window(reach[i], layer.stride[i], extra[i], transposed) for i in axes)


def _pool_steps(layer: Any, axes: int) -> tuple[_Window, ...]:
    def at(value: int | tuple[int, ...], axis: int) -> int:
        return value if isinstance(value, int) else value[axis]

    dilation = getattr(layer, "dilation", 1)
    return tuple(
        _Window(
            at(dilation, i) * (at(layer.kernel_size, i) - 1) + 1,
            at(layer.stride, i),
            2 * at(layer.padding, i),
        )
        for i in range(axes)
    )


def _upsample_steps(factor: Any, axes: int) -> tuple[_Window, ...]:
    factors = factor if isinstance(factor, tuple) else (factor,) * axes
    return tuple(_Window(int(f), int(f), 0, True) for f in factors)


def _shuffled(layer: Any, shape: Shape, up: bool) -> Shape:
    assert isinstance(shape.channels, int)
    factor = layer.upscale_factor if up else layer.downscale_factor
    if up:
        step: tuple[Any, ...] = (_Window(factor, factor, 0, True),) * 2
        return replace(_stepped(shape, step), channels=shape.channels // factor**2)
    return replace(_stepped(shape, (_Divide(factor),) * 2), channels=shape.channels * factor**2)


def _never_broadcast(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """No side for which exactly one of the two is 1."""
    steps = (*a, *b)
    if not steps or not all(isinstance(step, tuple) for step in steps):
        return False
    axes = len(steps[0])
    if any(len(step) != axes for step in steps):
        return False
    return all(_sides_agree([s[i] for s in a], [s[i] for s in b]) for i in range(axes))


def _sides_agree(a: list[Any], b: list[Any]) -> bool:
    for n in range(1, _LIMIT):
        one, other = _side(a, n), _side(b, n)
        if one < 1 or other < 1:
            continue  # torch refuses such an input
        if one > 1 and other > 1:
            return True
        if one != other:
            return False
    return False


def _side(maps: list[Any], n: int) -> int:
    for step in maps:
        n = step(n)
        if n < 1:
            return 0
    return n
