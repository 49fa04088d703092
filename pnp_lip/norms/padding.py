"""``||conv with padding|| <= factor * sup ||P||``: what a padding mode costs.

The padded signal holds each sample a number of times; with at most ``c`` copies among the
positions that the windows read, padding has norm ``sqrt(c)`` and the valid convolution after it at
most ``sup ||P||``. Axes multiply. Two sharper cases:

* zeros: the layer is a compression of the convolution on ``Z^n``: factor 1;
* circular, when the stride divides the side ``n``: the rows are those of a block-circulant matrix
  with ``n / stride`` of them, each occurring ``ceil(outputs stride / n)`` times: factor 1 for at
  most ``n / stride`` outputs. When the stride does not divide ``n`` the windows that wrap around
  are out of phase, and ``sup ||P||`` alone is *not* a bound.

For large images and every padded position read, that is ``sqrt(2)`` per axis for reflect and
``sqrt(1 + p)`` for replicate, hence 2 and ``1 + p`` in two dimensions; small images cost more
(reflect: ``sqrt(3)`` per axis for sides up to ``2 p + 1``).
"""

from __future__ import annotations

import math

from pnp_lip.norms.kernel import per_axis

_WHERE = "padding_factor"
_MODES = ("zeros", "circular", "reflect", "replicate")


def padding_factor(
    mode: str,
    kernel_size: tuple[int, ...],
    padding: int | str | tuple[int, ...],
    dilation: int | tuple[int, ...] = 1,
    *,
    stride: int | tuple[int, ...] = 1,
    size: tuple[int, ...] | None = None,
) -> float:
    """The factor by which a padding mode can exceed `convolution_norm`, rounded up.

    Parameters
    ----------
    mode
        torch's ``padding_mode``: zeros, circular, reflect or replicate.
    kernel_size
        one entry per axis.
    padding
        torch's ``padding``: per axis, one for all, ``"same"`` or ``"valid"``.
    dilation
        per axis, or one for all.
    stride
        per axis, or one for all.
    size
        the sides of the images; every side that the mode allows if not given.

    Returns
    -------
    float
        At least 1.

    Raises
    ------
    ValueError
        an unknown mode, or a size that the mode does not allow.
    """
    if mode not in _MODES:
        raise ValueError(f"{_WHERE}: expected a mode among {', '.join(_MODES)}, got {mode!r}")
    if mode == "zeros":
        return 1.0
    axes = len(kernel_size)
    steps = per_axis(stride, axes, "stride", _WHERE)
    spacings = per_axis(dilation, axes, "dilation", _WHERE)
    if size is not None and len(size) != axes:
        raise ValueError(f"{_WHERE}: expected a size with {axes} entries, got {size!r}")
    copies = 1
    for axis, (left, right) in enumerate(_sides(padding, kernel_size, spacings)):
        reach = spacings[axis] * (kernel_size[axis] - 1)
        smallest = _smallest(mode, left, right)
        if size is None:
            # Beyond this side nothing changes but the remainder modulo the stride.
            sizes = range(smallest, max(smallest, left + right + 2) + reach + 2 * steps[axis] + 1)
        elif size[axis] < smallest:
            raise ValueError(
                f"{_WHERE}: expected a side of at least {smallest} for {mode} padding "
                f"{left, right}, got {size[axis]}"
            )
        else:
            sizes = range(size[axis], size[axis] + 1)
        copies *= max(_copies(mode, n, left, right, reach, steps[axis]) for n in sizes)
    root = math.isqrt(copies)
    return float(root) if root * root == copies else math.nextafter(math.sqrt(copies), math.inf)


def _sides(
    padding: int | str | tuple[int, ...], kernel_size: tuple[int, ...], dilation: tuple[int, ...]
) -> list[tuple[int, int]]:
    """Padding before and after, per axis; torch's "same" puts the odd sample after."""
    if padding == "valid":
        return [(0, 0)] * len(kernel_size)
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel_size, dilation, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    if isinstance(padding, str):
        raise ValueError(f"{_WHERE}: expected padding as ints, 'same' or 'valid', got {padding!r}")
    amounts = (padding,) * len(kernel_size) if isinstance(padding, int) else tuple(padding)
    if len(amounts) != len(kernel_size) or min(amounts, default=0) < 0:
        raise ValueError(
            f"{_WHERE}: expected {len(kernel_size)} nonnegative paddings, got {padding!r}"
        )
    return [(amount, amount) for amount in amounts]


def _smallest(mode: str, left: int, right: int) -> int:
    """The smallest side that torch pads in this mode."""
    widest = max(left, right)
    return max(1, {"reflect": widest + 1, "circular": widest, "replicate": 1}[mode])


def _copies(mode: str, n: int, left: int, right: int, reach: int, step: int) -> int:
    """The largest number of times one of ``n`` samples is read through the padding."""
    outputs = (n + left + right - reach - 1) // step + 1
    if outputs <= 0:
        return 1
    read = range(-left, -left + (outputs - 1) * step + reach + 1)
    counts = [0] * n
    for position in read:
        counts[_source(mode, position, n)] += 1
    if mode == "circular" and n % step == 0:
        return min(max(counts), -(-outputs * step // n))
    return max(1, *counts)


def _source(mode: str, position: int, n: int) -> int:
    """Which sample stands at a position of the padded signal; 0 is the first sample."""
    if mode == "circular":
        return position % n
    if mode == "replicate":
        return min(max(position, 0), n - 1)
    return n - 1 - abs(n - 1 - abs(position))
