"""Small random programs of torch, and their constants measured: no proved bound may be below."""

from benchmarks.programs.draw import STEPS, Draw
from benchmarks.programs.program import RandomProgram
from benchmarks.programs.truth import Verdict, judged

__all__ = ["STEPS", "Draw", "RandomProgram", "Verdict", "judged"]
