"""A change of the code that a test should notice."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Mutant"]


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes
    ----------
    path
        of the file, from the root.
    number
        among the mutants of the file.
    function
        qualified name of the function that it is in, empty for a lambda of a table.
    line
        where.
    before, after
        the code of the node.
    """

    path: str
    number: int
    function: str
    line: int
    before: str
    after: str

    @property
    def name(self) -> str:
        return f"{self.path}::{self.function}: {self.before} -> {self.after}"
