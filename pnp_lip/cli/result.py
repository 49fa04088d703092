"""Write what a command found, and tell about it."""

from __future__ import annotations

from collections.abc import Sequence

from pnp_lip.cli.door import Given
from pnp_lip.recipes.stack import Result, Stack

__all__ = ["write"]


def write(source: Given, results: Sequence[Result]) -> None:
    """Write image, figure and report of one image or of all pages of a stack, and print the report."""
    result = results[0] if len(results) == 1 else Stack(results)
    written = source.outputs.write(
        result.image, source.image.storage, result.draw, result.to_dict()
    )
    print(result.summary())
    print("wrote " + ", ".join(str(path) for path in written))
