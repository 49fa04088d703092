"""Mutants: small changes of the code that a test should notice."""

from benchmarks.mutants.mutant import Mutant
from benchmarks.mutants.run import Session

__all__ = ["Mutant", "Session"]
