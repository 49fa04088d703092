"""Tables in Markdown, and numbers as people read them: bounds are rounded outward."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

__all__ = ["down", "fixed", "seconds", "table", "up"]

_MISSING = "–"


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with one line a row."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def fixed(value: float | None, digits: int) -> str:
    """A measured number to the nearest of ``digits`` decimals, a dash where there is none."""
    return _MISSING if value is None else f"{value:.{digits}f}"


def up(value: float | None, digits: int) -> str:
    """An upper bound: decimals that are not below it."""
    return _rounded(value, digits, ROUND_CEILING)


def down(value: float | None, digits: int) -> str:
    """A lower bound: decimals that are not above it."""
    return _rounded(value, digits, ROUND_FLOOR)


def seconds(value: float | None) -> str:
    """Seconds with two decimals; less than a hundredth is said so."""
    return "< 0.01" if value is not None and value < 0.005 else fixed(value, 2)


def _rounded(value: float | None, digits: int, direction: str) -> str:
    if value is None:
        return _MISSING
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding=direction))
