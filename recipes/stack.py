"""The pages of a stack, restored one by one: one image file, one report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["Result", "Stack"]


class Result(Protocol):
    """What the recipes return."""

    @property
    def image(self) -> Tensor:
        """The restored image ``[N, C, H, W]``."""

    def to_dict(self) -> dict[str, Any]:
        """The report, as plain numbers and strings."""

    def summary(self) -> str:
        """The report for a person."""

    def draw(self, path: Path) -> None:
        """Write the figure."""


class Stack:
    """Results of the pages as one result; the figure shows the page in the middle.

    Parameters
    ----------
    pages
        the results, in the order of the pages.
    join
        makes the pages of the file ``[N, C, H, W]`` of their images; one after the other without it.
    noun
        what they are called.
    """

    def __init__(
        self,
        pages: Sequence[Result],
        join: Callable[[Sequence[Tensor]], Tensor] | None = None,
        noun: str = "pages",
    ) -> None:
        self.pages = tuple(pages)
        self._join = join or (lambda images: torch.cat(list(images)))
        self._noun = noun

    @property
    def image(self) -> Tensor:
        """The restored pages ``[N, C, H, W]``."""
        return self._join([page.image for page in self.pages])

    def to_dict(self) -> dict[str, Any]:
        """The reports of all pages."""
        reports = [page.to_dict() for page in self.pages]
        if len(reports) == 1:
            return reports[0]
        return {"task": reports[0]["task"], "status": self._ends(), "pages": reports}

    def summary(self) -> str:
        """The page in the middle, for a person, and how the others ended."""
        middle = self._middle.summary()
        if len(self.pages) == 1:
            return middle
        return f"{len(self.pages)} {self._noun}: {self._ends()}; the one in the middle:\n{middle}"

    def _ends(self) -> str:
        """How many pages ended how."""
        ends: dict[str, int] = {}
        for page in self.pages:
            status = str(page.to_dict()["status"])
            ends[status] = ends.get(status, 0) + 1
        return ", ".join(f"{count} {status}" for status, count in ends.items())

    def draw(self, path: Path) -> None:
        """Write the figure of the page in the middle."""
        self._middle.draw(path)

    @property
    def _middle(self) -> Result:
        return self.pages[len(self.pages) // 2]
