"""Entries of a certificate, asked for by name, type and range."""

from __future__ import annotations

import math
from typing import Any

from pnp_lip.checker.rejection import CertificateRejected

__all__ = ["Entries", "short"]


class Entries:
    """A dictionary whose entries are asked for by name and type."""

    def __init__(self, data: Any, what: str) -> None:
        if not isinstance(data, dict):
            raise CertificateRejected(f"expected {what} as entries with names, got {short(data)}")
        self.data, self.what = data, what

    def require(self, keys: set[str]) -> None:
        missing = sorted(keys - self.data.keys())
        unknown = sorted(map(str, self.data.keys() - keys))
        if missing or unknown:
            raise CertificateRejected(
                f"{self.what} has "
                + (f"no entry {missing}" if missing else f"unknown entries {unknown}")
            )

    def get(self, key: str, kind: Any) -> Any:
        if key not in self.data:
            raise CertificateRejected(f"{self.what} has no entry '{key}'")
        value = self.data[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise CertificateRejected(f"{self.what} has {short(value)} as its '{key}'")
        return value

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float:
        value = self.get(key, (float, int))
        if not isinstance(value, float) or not math.isfinite(value) or not low <= value <= high:
            raise CertificateRejected(
                f"{self.what} has {short(value)} as its '{key}': expected a finite number, written as "
                f"a decimal fraction, from {low:g} to {high:g}"
            )
        return value

    def optional(self, key: str, low: float = 0.0, high: float = math.inf) -> float | None:
        return None if self.get(key, object) is None else self.number(key, low, high)

    def shape(self, key: str, entries: int) -> tuple[int, ...]:
        """Positive sides with at most ``entries`` entries in all."""
        sides = self.get(key, list)
        whole = all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in sides)
        if not sides or not whole or math.prod(sides) > entries:
            raise CertificateRejected(f"{self.what} has the shape {short(sides)}")
        return tuple(sides)


def short(value: Any) -> str:
    """A value for a message, cut at 80 characters."""
    text = repr(value) if not isinstance(value, str) else value
    return text if len(text) <= 80 else text[:77] + "..."
