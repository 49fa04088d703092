"""Write what a command found, and tell about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pnp_lip.cli.door import Given
from pnp_lip.recipes.stack import Result, Stack

__all__ = ["write", "written_before"]


def write(source: Given, results: Sequence[Result], exit_code: int = 0) -> dict[str, Any]:
    """Write image, figure and report of one image or of a stack, and print the report.

    Returns
    -------
    dict[str, Any]
        What was written as the report.
    """
    result: Result
    if source.depth is not None:
        result = Stack(results, source.depth.pages, "volumes")
    else:
        result = results[0] if len(results) == 1 else Stack(results)
    report = {**result.to_dict(), **source.origin, "exit_code": exit_code}
    written = source.outputs.write(result.image, source.image.storage, result.draw, report)
    print(result.summary())
    print("wrote " + ", ".join(str(path) for path in written))
    return report


def written_before(source: Given) -> dict[str, Any] | None:
    """The report of an earlier run of the same command on the same files, which is not repeated."""
    report = source.earlier()
    if report is not None:
        print(f"done before: {source.outputs.image}")
    return report
