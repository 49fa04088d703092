"""Replace the code of live functions: every object that holds a function then runs the new code."""

from __future__ import annotations

import ast
import builtins
import gc
import types
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["Functions", "NotReplaceable"]

_HIT = "__function_was_entered__"


class NotReplaceable(Exception):
    """A mutant needs other free variables than the live function has."""


class Functions:
    """The live functions of some files.

    Args:
        root: of the project.
        paths: of the files, from the root.
    """

    def __init__(self, root: Path, paths: list[str]) -> None:
        self._root = root
        self._codes = {path: _functions(_compiled(root / path)) for path in paths}
        wanted = {code for codes in self._codes.values() for _, code in codes}
        self._live: dict[types.CodeType, list[types.FunctionType]] = {}
        for one in gc.get_objects():
            if type(one) is types.FunctionType and one.__code__ in wanted:
                self._live.setdefault(one.__code__, []).append(one)

    def replace(self, path: str, text: str, *, same: bool = False) -> int:
        """Run the functions of another text of a file from now on.

        Args:
            path: of the file.
            text: what the file would say.
            same: replace the functions that do the same as before, too.

        Returns:
            How many live functions changed.

        Raises:
            NotReplaceable: the new code does not fit a live function.
        """
        old = self._codes[path]
        new = _functions(compile(text, path, "exec", dont_inherit=True))
        if [name for name, _ in old] != [name for name, _ in new]:
            raise NotReplaceable("other functions are defined")
        changed = 0
        for (_, before), (_, after) in zip(old, new, strict=True):
            wanted = same or _code(before) != _code(after)
            for function in self._live.get(before, []) if wanted else []:
                try:
                    function.__code__ = after
                except ValueError as error:
                    raise NotReplaceable(str(error)) from error
                changed += 1
        return changed

    def record(self, entered: Callable[[str], None]) -> None:
        """Call ``entered("path::function")`` whenever a function is entered, from now on."""
        setattr(builtins, _HIT, entered)
        for path in self._codes:
            tree = ast.parse((self._root / path).read_text(encoding="utf-8"))
            _Marking(path).visit(tree)
            text = compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)
            for (_, before), (_, after) in zip(self._codes[path], _functions(text), strict=True):
                for function in self._live.get(before, []):
                    function.__code__ = after


class _Marking(ast.NodeTransformer):
    """Functions say their outermost name first."""

    def __init__(self, path: str) -> None:
        self._path, self._names = path, []  # type: ignore[var-annotated]

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self._names.append(node.name)
        self.generic_visit(node)
        self._names.pop()
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._names.append(node.name)
        self.generic_visit(node)
        name = f"{self._path}::{'.'.join(self._names)}"
        self._names.pop()
        call = ast.Call(ast.Name(_HIT, ast.Load()), [ast.Constant(name)], [])
        first = 1 if ast.get_docstring(node, clean=False) is not None else 0
        node.body.insert(first, ast.Expr(call))
        return node


def _compiled(path: Path) -> types.CodeType:
    return compile(path.read_text(encoding="utf-8"), str(path), "exec", dont_inherit=True)


def _functions(code: types.CodeType) -> list[tuple[str, types.CodeType]]:
    """All code objects below a module's, in order, with their names."""

    def below(one: types.CodeType) -> Iterator[tuple[str, types.CodeType]]:
        for constant in one.co_consts:
            if isinstance(constant, types.CodeType):
                if not constant.co_name.startswith("<") or constant.co_name == "<lambda>":
                    yield constant.co_qualname, constant
                yield from below(constant)

    return list(below(code))


def _code(code: types.CodeType) -> tuple[object, ...]:
    """What a code does, without where it stands."""
    constants = tuple(
        _code(one) if isinstance(one, types.CodeType) else (type(one), repr(one))
        for one in code.co_consts
    )
    return (
        code.co_code,
        constants,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
    )
