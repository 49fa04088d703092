"""Where a file can be mutated, with the operators of mutmut.

Left out by definition: docstrings, annotations, decorators, defaults of parameters, ``raise`` and refusals
with their sentences, assertions (``assert``, and ``strict`` of ``zip``), texts anywhere (names of rules,
messages), and constants outside of functions, which are bound when the module is imported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation.mutators import mutation_operators, operator_string

from benchmarks.mutants.mutant import Mutant

__all__ = ["mutants_of", "mutated"]

_TEXTS = (cst.SimpleString, cst.FormattedString, cst.ConcatenatedString)
_SKIPPED = (
    cst.Annotation,
    cst.Decorator,
    cst.Parameters,
    cst.Raise,
    cst.FormattedString,
    cst.Assert,
)
#: Calls that only make a sentence.
_SENTENCES = {"refuse", "refusal", "Refusal", "cast"}


def mutants_of(root: Path, path: str) -> list[Mutant]:
    """All mutants of a file."""
    return [mutant for mutant, _, _, _ in _sites(root, path)]


def mutated(root: Path, mutant: Mutant) -> str:
    """The text of the file with one mutant."""
    for found, module, node, new in _sites(root, mutant.path):
        if found.number == mutant.number:
            changed = module.deep_replace(node, new)
            assert isinstance(changed, cst.Module)
            return changed.code
    raise KeyError(mutant.name)


def _sites(root: Path, path: str) -> Iterator[tuple[Mutant, cst.Module, cst.CSTNode, cst.CSTNode]]:
    wrapper = MetadataWrapper(cst.parse_module((root / path).read_text(encoding="utf-8")))
    parents = wrapper.resolve(ParentNodeProvider)
    positions = wrapper.resolve(PositionProvider)
    module, number = wrapper.module, 0
    occurrences: Counter[tuple[str, ...]] = Counter()
    for node in sorted(
        positions, key=lambda n: (positions[n].start.line, positions[n].start.column)
    ):
        function = _function(node, parents)
        if function is None:
            continue
        for new in _changed(node):
            before, after = (
                " ".join(module.code_for_node(one).split())[:120] for one in (node, new)
            )
            occurrences[function, before, after] += 1
            line, which = positions[node].start.line, occurrences[function, before, after]
            yield Mutant(path, number, function, line, before, after, which), module, node, new
            number += 1


def _changed(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    for kind, operator in mutation_operators:
        if operator is operator_string or not isinstance(node, kind):
            continue
        for new in operator(node):
            if not (isinstance(node, cst.Call) and _left_out(node, new)):
                yield new


def _left_out(call: cst.Call, new: cst.CSTNode) -> bool:
    """Whether a text was made ``None``, or ``strict`` changed."""
    if not isinstance(new, cst.Call):
        return False
    if [arg for arg in call.args if _strict(arg)] != [arg for arg in new.args if _strict(arg)]:
        return True
    if len(new.args) != len(call.args):
        return False
    changed = [
        one.value for one, other in zip(call.args, new.args, strict=True) if one is not other
    ]
    return any(isinstance(value, _TEXTS) for value in changed)


def _function(node: cst.CSTNode, parents: Mapping[cst.CSTNode, cst.CSTNode]) -> str | None:
    """The qualified name of the function around a node, ``None`` where nothing is to be mutated."""
    names: list[str] = []
    inside = False
    one: cst.CSTNode | None = node
    while one is not None:
        if isinstance(one, _SKIPPED) or _sentence(one) or _strict(one):
            return None
        if isinstance(one, cst.FunctionDef | cst.ClassDef):
            names.append(one.name.value)
        inside = inside or (one is not node and isinstance(one, cst.FunctionDef | cst.Lambda))
        one = parents.get(one)
    return ".".join(reversed(names)) if inside else None


def _strict(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.Arg) and node.keyword is not None and node.keyword.value == "strict"


def _sentence(call: cst.CSTNode) -> bool:
    if not isinstance(call, cst.Call):
        return False
    name = call.func.attr if isinstance(call.func, cst.Attribute) else call.func
    return isinstance(name, cst.Name) and name.value in _SENTENCES
