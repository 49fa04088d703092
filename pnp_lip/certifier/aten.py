"""Operators of aten, by their names."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["named"]


def named(names: str) -> tuple[Any, ...]:
    """Several in one text; the overload is ``default`` where none is named."""
    pairs = [name.partition(".") for name in names.split()]
    return tuple(getattr(getattr(torch.ops.aten, a), b or "default") for a, _, b in pairs)
