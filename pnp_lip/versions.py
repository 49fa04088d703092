"""Versions of the programs a result depends on."""

from __future__ import annotations

import platform
from importlib.metadata import version

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """Names and versions, for records."""
    names = ("pnp-lip", "torch", "deepinv", "numpy", "scikit-image")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
