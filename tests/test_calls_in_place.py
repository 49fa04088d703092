"""Calls in place are bounded as the functions they are, wherever something else reads the same memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.export import export

from pnp_lip import certify
from pnp_lip.certifier import prove
from pnp_lip.certifier.program import made_functional
from pnp_lip.checker import check_certificate
from pnp_lip.checker.functional import written_as_functions


class Written(nn.Module):
    """A function of the doubled input, so that a call in place finds memory of its own."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.twice = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.constant_(self.twice.weight, 2.0)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.twice(x))


def _changed(y: Tensor) -> Tensor:
    return y.mul_(3.0).neg_().add_(1.0)


def _read_before(y: Tensor) -> Tensor:
    z = y + 1
    y.mul_(3.0)
    return z + y


def _read_after(y: Tensor) -> Tensor:
    y.mul_(3.0)
    return y + y.mul_(2.0)


def _viewed(y: Tensor) -> Tensor:
    v = y.flatten(1)
    y.mul_(3.0)
    return v


def _half(y: Tensor) -> Tensor:
    y[..., ::2].mul_(3.0)
    return y


def _wider(y: Tensor) -> Tensor:
    return y.add_(y.double())


#: With the constant of every one.
FUNCTIONS = {
    "changed": (_changed, 6.0),
    "read before": (_read_before, 8.0),
    "read after": (_read_after, 24.0),
    "viewed": (_viewed, 6.0),
    "half": (_half, 6.0),
    "wider": (_wider, 4.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_else_reads_the_changed_memory_counts(name: str) -> None:
    function, constant = FUNCTIONS[name]
    assert (
        constant <= prove(Written(function), example=torch.rand(1, 1, 6, 4)).upper <= 1.1 * constant
    )


@pytest.mark.parametrize("written", [made_functional, written_as_functions])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_only_memory_that_nothing_else_reads_is_taken_for_a_function_of(
    name: str, written: Callable[..., bool]
) -> None:
    program = export(Written(FUNCTIONS[name][0]), (torch.rand(1, 1, 6, 4),), strict=False)
    before = str(program.graph)
    alone = name in ("changed", "read after")
    assert written(program) == alone
    assert (str(program.graph) == before) != alone
    if alone:
        x = torch.rand(1, 1, 6, 4)
        assert torch.equal(program.module()(x), Written(FUNCTIONS[name][0])(x))


def test_both_programs_write_calls_in_place_alike() -> None:
    pytest.importorskip("flint", reason="checking a certificate needs python-flint")
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.LeakyReLU(0.1, inplace=True),
        nn.Conv2d(3, 1, 3, padding=1), nn.Hardtanh(inplace=True),
    ).eval()  # fmt: skip
    wrapped = Written(network)
    wrapped.part = network
    certificate = certify(wrapped.eval())
    assert not check_certificate(certificate, wrapped).assumed
