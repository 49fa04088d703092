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
    occurrence
        among the mutants of the function that are written the same, from 1.
    """

    path: str
    number: int
    function: str
    line: int
    before: str
    after: str
    occurrence: int = 1

    @property
    def name(self) -> str:
        """What is changed into what, the same after changes elsewhere in the file."""
        which = f" (occurrence {self.occurrence})" if self.occurrence > 1 else ""
        return f"{self.path}::{self.function}: {self.before} -> {self.after}{which}"
