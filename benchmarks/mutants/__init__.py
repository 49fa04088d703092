"""Mutants: small changes of the code that a test should notice."""

from benchmarks.mutants.run import Session
from benchmarks.mutants.sites import Mutant, mutants_of

__all__ = ["Mutant", "Session", "mutants_of"]
