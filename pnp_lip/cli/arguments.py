"""Numbers as people type them on the command line, checked as they are read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

__all__ = [
    "at_least",
    "noise_level",
    "noise_level_or_auto",
    "nonnegative",
    "positive",
    "positive_or_auto",
    "positive_share",
    "seed",
    "share",
    "strengths",
]

_LARGEST_SEED = 2**63 - 1


def noise_level(text: str) -> float:
    """A standard deviation in units of the full range, ``0 <= value < 1``."""
    value = _number(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(
            f"{text} is not in [0, 1), where 1 is white: for 8-bit numbers divide by 255, "
            f"{value / 255:.4g}"
        )
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative: a noise level lies in [0, 1)")
    return value


def noise_level_or_auto(text: str) -> float | str:
    """A noise level, or the word ``auto``: then it is estimated."""
    return text if text == "auto" else noise_level(text)


def share(text: str) -> float:
    """A part of the whole, ``0 <= value < 1``."""
    value = _number(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(
            f"{text} is no share in [0, 1): 0.3 hides 30 % of the pixels"
        )
    return value


def positive_share(text: str) -> float:
    """A part of the whole or all of it, ``0 < value <= 1``."""
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share in (0, 1]")
    return value


def nonnegative(text: str) -> float:
    """A number from 0 on."""
    value = _number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def positive(text: str) -> float:
    """A number above 0."""
    value = _number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def positive_or_auto(text: str) -> float | str:
    """A number above 0, or the word ``auto``: then it is chosen."""
    return text if text == "auto" else positive(text)


def strengths(text: str) -> tuple[float, ...]:
    """Positive numbers with commas between them."""
    return tuple(positive(part) for part in text.split(","))


def at_least(smallest: int) -> Callable[[str], int]:
    """Whole numbers from ``smallest`` on."""

    def whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None
        if value < smallest:
            raise argparse.ArgumentTypeError(f"{text} is less than {smallest}")
        return value

    return whole


def seed(text: str) -> int:
    """A seed of the random numbers."""
    value = at_least(0)(text)
    if value > _LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{text} is larger than {_LARGEST_SEED}")
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        comma = ": write a decimal point" if "," in text else ""
        raise argparse.ArgumentTypeError(f"'{text}' is not a number{comma}") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number")
    return value
