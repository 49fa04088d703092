"""How often a padded image holds one of its samples: counted from the definition of the modes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from pnp_lip.checker.composition import root_up

__all__ = ["copies_of"]


def copies_of(
    mode: str, pairs: Sequence[tuple[int, int]], reach: Sequence[int], steps: Sequence[int]
) -> Fraction:
    r"""The norm of a padding in what a convolution reads: :math:`\sqrt{c}` for ``c`` copies of a sample.

    Over all sides of the image that the mode allows: beyond ``left + right + reach + 2 step`` only the
    distance from the border counts. A circular padding whose step divides the side makes a
    block-circulant matrix, in which a row occurs once for every turn of the windows.

    Parameters
    ----------
    mode
        ``circular``, ``reflect`` or ``replicate``.
    pairs
        samples added before and after, for every axis.
    reach
        of the kernel, its first to its last tap.
    steps
        of the convolution.
    """
    copies = 1
    for (left, right), far, step in zip(pairs, reach, steps, strict=True):
        least = {"reflect": max(left, right) + 1, "circular": max(left, right, 1)}.get(mode, 1)
        last = max(least, left + right + 2) + far + 2 * step
        copies *= max(_most(mode, n, left, right, far, step) for n in range(least, last + 1))
    return root_up(Fraction(copies))


def _most(mode: str, n: int, left: int, right: int, far: int, step: int) -> int:
    outputs = (n + left + right - far - 1) // step + 1
    if outputs <= 0:
        return 1
    places = range(-left, -left + (outputs - 1) * step + far + 1)
    most = max(Counter(_sample(mode, place, n) for place in places).values())
    return min(most, -(-outputs * step // n)) if mode == "circular" and n % step == 0 else most


def _sample(mode: str, place: int, n: int) -> int:
    """Which sample of ``n`` stands at a place of the padded one."""
    if mode == "circular":
        return place % n
    if 0 <= place < n:
        return place
    if mode == "replicate":
        return 0 if place < 0 else n - 1
    return -place if place < 0 else 2 * (n - 1) - place
