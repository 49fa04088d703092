"""On which images a statement holds: the type of numbers, and what the exporter assumed about sides."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch.export import ExportedProgram

__all__ = ["admits", "axis_letters", "conditions_of", "of_sizes", "of_type"]


def of_type(dtype: torch.dtype) -> str:
    """The condition that images have this type: a module may decide by it."""
    return f"dtype == {str(dtype).removeprefix('torch.')}"


def of_sizes(conditions: Sequence[str]) -> tuple[str, ...]:
    """Those that are not about the type."""
    return tuple(one for one in conditions if not one.startswith("dtype == "))


def admits(
    conditions: Sequence[str], shape: Sequence[int], dtype: torch.dtype = torch.float32
) -> bool:
    """Whether images of a shape and type meet the conditions of a statement.

    Parameters
    ----------
    conditions
        texts such as ``"H % 4 == 0"`` or ``"dtype == float32"``.
    shape
        of the images, ``[B, C, ...]``.
    dtype
        of the images.

    Raises
    ------
    ValueError
        a text that is no comparison of sizes.
    """
    known: dict[str, Any] = dict(zip(axis_letters(len(shape)), map(int, shape), strict=True))
    known |= {"torch": torch, "math": math, "dtype": str(dtype).removeprefix("torch.")}
    known |= {name: name for name in ("float16", "bfloat16", "float32", "float64")}
    for text in conditions:
        tree = ast.parse(text, mode="eval")
        for part in ast.walk(tree):
            foreign = isinstance(part, ast.Name) and part.id not in known
            foreign |= isinstance(part, ast.Attribute) and part.attr not in _FUNCTIONS
            if foreign or not isinstance(part, _COMPARISON):
                raise ValueError(f"expected a comparison of sizes, got {text!r}")
        if not eval(compile(tree, "<condition>", "eval"), {"__builtins__": {}}, known):
            return False
    return True


def axis_letters(ndim: int) -> str:
    """How the axes of images are called in conditions."""
    return {1: "F", 2: "BF", 3: "BCL", 4: "BCHW", 5: "BCDHW"}.get(ndim, "ABCDEFGHIJ"[:ndim])


_FUNCTIONS = ("sym_max", "sym_min", "sym_float", "sym_int", "sym_not", "trunc", "floor", "ceil")
_COMPARISON = (
    *(ast.Expression, ast.Compare, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Name, ast.Load),
    *(ast.Constant, ast.Call, ast.Attribute, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)


def conditions_of(programs: Sequence[ExportedProgram], image: str) -> tuple[str, ...]:
    """What was assumed, in the letters of the axes."""
    last = programs[-1]
    value = next(n for n in last.graph.nodes if n.name == image).meta["val"]
    letters = axis_letters(value.ndim)
    found: list[str] = []
    for letter, size in zip(letters, value.shape, strict=True):
        if isinstance(size, int):
            found.append(f"{letter} == {size}")
            continue
        limits = last.range_constraints.get(size.node.expr)
        if limits is not None:
            found.append(f"{letter} >= {int(limits.lower)}")
            if "oo" not in str(limits.upper):
                found.append(f"{letter} <= {int(limits.upper)}")
    for program in programs:
        for text in program._guards_code or []:
            text = text.replace("L['level'].size()[0]", letters[0])  # one level for each image
            text = re.sub(r"L\['x'\]\.size\(\)\[(\d)\]", lambda m: letters[int(m[1])], text)
            text = re.sub(r"^\((\d+) \+ ([A-Z])\) == (\d+)$", _solved, text)
            if text != f"{letters[0]} == {letters[0]}":
                found.append(text)
    return tuple(dict.fromkeys(found))


def _solved(match: re.Match[str]) -> str:
    """``(1 + C) == 3`` as ``C == 2``."""
    return f"{match[2]} == {int(match[3]) - int(match[1])}"
