"""The graph of a network, exported again and compared with the one in a certificate, node by node.

Written for checking: nothing of the code that made the certificate is used, only the exporter of torch.
"""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from pnp_lip.checker.found import Exported, in_common
from pnp_lip.checker.functional import written_as_functions
from pnp_lip.checker.graph_file import Graph
from pnp_lip.checker.kept_parts import CALLS, keep_whole
from pnp_lip.checker.rejection import CertificateRejected

__all__ = ["exported"]

#: Noise levels at which a graph for numbers is exported.
_LEVELS = (0.06, 0.31, 0.5)
_AGREEMENT = 1e-4


class _Caller(nn.Module):
    """A network as a function of tensors alone."""

    def __init__(self, inner: nn.Module, level: str | None, number: float | None) -> None:
        super().__init__()
        self.inner, self.level, self.number = inner, level, number
        self.training = inner.training

    def forward(self, x: Tensor, level: Tensor | None = None) -> Any:
        if self.level is None:
            return self.inner(x)
        return self.inner(x, **{self.level: level if self.number is None else self.number})


def exported(network: nn.Module, graph: Graph) -> Exported:
    """Export ``network`` in the way that ``graph`` was made.

    Raises
    ------
    CertificateRejected
        it cannot be exported so, is no map of its input alone, or computes
        something else than its graph.
    """
    levels: tuple[float | None, ...] = _LEVELS if graph.kind == "number" else (None,)
    inner = _copied(network)
    wholes = {node.arguments.split(", ")[0] for node in graph.nodes if node.operator == "whole"}
    CALLS.clear()
    for path in sorted(wholes):
        keep_whole(inner, path)
    before: list[ExportedProgram] = []
    programs: list[ExportedProgram] = []
    for level in levels:
        caller = _Caller(inner, graph.level, level)
        first, program, given = _export(caller, graph)
        _require_pure(program)
        _require_agreement(caller, program, given)
        before, programs = before or [first], [*programs, program]
    for path in wholes:
        del vars(inner.get_submodule(path))["forward"]
    kept = [(path, part) for path, part, _ in CALLS]
    return in_common(before + programs, kept, 2 if graph.kind == "tensor" else 1)


def _export(caller: _Caller, graph: Graph) -> tuple[ExportedProgram, ExportedProgram, Any]:
    like = next(caller.parameters(), torch.zeros(()))
    x = torch.rand(graph.shape, generator=torch.Generator().manual_seed(3)) * 2 - 1
    given = [x, torch.rand(graph.shape[0])] if graph.kind == "tensor" else [x]
    given = [one.to(like.device, like.dtype) for one in given]
    free = (dict.fromkeys(range(x.ndim), Dim.AUTO), {0: Dim.AUTO})[: len(given)]
    for sizes in (free, None):
        fresh = tuple(one.clone() for one in given)  # free sides stay marked on a tensor
        try:
            with _quiet(), torch.no_grad():
                first = export(caller, fresh, dynamic_shapes=sizes, strict=False)
                if written_as_functions(first):
                    return first, first, given
                return first, first.run_decompositions({}), given
        except CertificateRejected:
            raise
        except Exception as error:
            problem = error
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    raise CertificateRejected(
        f"the network cannot be exported again: {lines[0][:200]}"
    ) from problem


def _require_pure(program: ExportedProgram) -> None:
    signature = program.graph_signature
    if signature.buffers_to_mutate or signature.parameters_to_mutate:
        raise CertificateRejected("the network changes its own tensors when it is called")
    if signature.user_inputs_to_mutate or len(signature.user_outputs) != 1:
        raise CertificateRejected("the network changes its input, or returns several values")


def _require_agreement(caller: _Caller, program: ExportedProgram, given: Any) -> None:
    with torch.no_grad(), _quiet():
        outs = [f(*(one.clone() for one in given)) for f in (caller, caller, program.module())]
    if not all(isinstance(out, Tensor) for out in outs):
        raise CertificateRejected("the network returns no tensor")
    if not torch.equal(outs[0], outs[1]):
        raise CertificateRejected("the network gives two answers for one input")
    scale = torch.linalg.vector_norm(outs[0].double()).clamp_min(1e-300)
    if outs[0].shape != outs[2].shape or not (
        torch.linalg.vector_norm((outs[0] - outs[2]).double()) <= _AGREEMENT * scale
    ):
        raise CertificateRejected("the exported graph computes something else than the network")


def _copied(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except Exception as error:
        raise CertificateRejected(f"the network cannot be copied: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns, logs and prints about what it then raises."""
    before, nowhere = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(nowhere), redirect_stderr(nowhere), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
