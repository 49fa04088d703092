"""The conditions of a statement in a few words: ``H and W multiples of 8, at least 32``.

An exporter writes down every comparison that it made. What they come to is found by trying sizes: all small
ones, and those around every number in the texts, where a bound on a side would show. Words are used only
where they agree with the conditions at all of these; otherwise the conditions are given as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from pnp_lip.certifier import admits
from pnp_lip.certifier.conditions import of_sizes

__all__ = ["sizes_in_words"]

#: Sides that are tried; those beside them; numbers of images.
_LARGER = {96, 127, 128, 192, 255, 256, 320, 509, 512, 1024, 4096, 8191, 65536, 131072}
_SIDES = (*range(1, 67), *sorted(_LARGER))
_BESIDE, _IMAGES = (2, 33, 64, 96, 65536), (1, 3)


def sizes_in_words(conditions: Sequence[str]) -> str:
    """What images must meet, for people.

    Parameters
    ----------
    conditions
        of a :class:`~pnp_lip.certifier.statement.Statement`.

    Returns
    -------
    str
        words, or the conditions themselves where they are not so simple.

    Examples
    --------
    >>> sizes_in_words(("C == 1", "H >= 32", "(H % 8) == 0", "(8*(W // 8)) == W", "W > 31"))
    '1 channel, H and W multiples of 8, at least 32'
    >>> sizes_in_words(("H >= 2", "W >= 2", "C == 3", "dtype == float32"))
    '3 channels, H and W at least 2, float32'
    >>> sizes_in_words(("H == W",))
    'H == W'
    """
    sizes = of_sizes(conditions)
    types = [one.removeprefix("dtype == ") for one in conditions if one not in sizes]
    return ", ".join([*(_words(sizes) or sizes), *types])


def _words(sizes: Sequence[str]) -> list[str] | None:
    """Of conditions that fix the channels, and of each side ask for a multiple, no less than a number."""
    named = set(re.findall(r"\b[A-Z]\b", " ".join(sizes)))
    axes = next((axes for axes in ("HW", "L", "DHW") if named <= {"B", "C", *axes}), "")
    channels = [int(one[5:]) for one in sizes if re.fullmatch(r"C == \d+", one)]
    if not axes or ("C" in named and len(channels) != 1):
        return None
    numbers = {
        int(one) + step for one in re.findall(r"\d+", " ".join(sizes)) for step in (-1, 0, 1)
    }
    tried = sorted({*_SIDES, *(one for one in numbers if one > 0)})

    def admitted(images: int, sides: dict[str, int]) -> bool:
        return admits(sizes, (images, *(channels or [3]), *(sides[axis] for axis in axes)))

    if not all(admitted(images, dict.fromkeys(axes, _BESIDE[-1])) for images in tried):
        return None
    rules = {}
    for axis in axes:
        met = [n for n in tried if admitted(3, dict.fromkeys(axes, _BESIDE[-1]) | {axis: n})]
        rules[axis] = (math.gcd(*met), met[0])
    for images in _IMAGES:
        for axis in axes:
            for beside in _BESIDE:
                for side in tried:
                    sides = dict.fromkeys(axes, beside) | {axis: side}
                    keeps = all(n % rules[a][0] == 0 and n >= rules[a][1] for a, n in sides.items())
                    if admitted(images, sides) != keeps:
                        return None
    told = [f"{channels[0]} channel{'s' * (channels[0] > 1)}"] if channels else []
    for rule in dict.fromkeys(rules.values()):
        factor, least = rule
        alike = [axis for axis in axes if rules[axis] == rule]
        told.append(_of_sides(" and ".join(alike), factor, least, several=len(alike) > 1))
    return [one for one in told if one]


def _of_sides(sides: str, factor: int, least: int, *, several: bool) -> str:
    at_least = f"at least {least}" if least > factor else ""
    if factor == 1:
        return at_least and f"{sides} {at_least}"
    multiple = f"{sides} multiples of {factor}" if several else f"{sides} a multiple of {factor}"
    return ", ".join(filter(None, [multiple, at_least]))
