"""The digest of a module changes with everything that its function depends on, and with nothing else."""

from __future__ import annotations

import copy
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pnp_lip import LipschitzDenoiser
from pnp_lip.certifier import digest


class _Network(nn.Module):
    """Holds what a function may depend on besides its state dict."""

    gain: Any

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")
        self.act = nn.LeakyReLU(0.1)
        self.drop = nn.Dropout(0.5)
        self.gain = 1.0
        self.plain = torch.ones(2)
        self.listed = [torch.ones(1), {"a": 1}]
        self.register_buffer("hidden", torch.ones(2), persistent=False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * self.drop(self.act(self.conv(x)))


EDITS: dict[str, Callable[[Any], Any]] = {
    "number": lambda m: setattr(m, "gain", 5.0),
    "type of a number": lambda m: setattr(m, "gain", 1),
    "slope": lambda m: setattr(m.act, "negative_slope", 5.0),
    "module": lambda m: setattr(m, "act", nn.ReLU()),
    "module with the same tensors": lambda m: setattr(m, "act", nn.Identity()),
    "hook": lambda m: m.conv.register_forward_hook(lambda module, args, out: 5 * out),
    "forward of the instance": lambda m: setattr(m.act, "forward", lambda x: 5 * x),
    "compiled call": lambda m: setattr(m.act, "_compiled_call_impl", lambda x: 5 * x),
    "mode": lambda m: m.train(),
    "padding mode": lambda m: setattr(m.conv, "padding_mode", "replicate"),
    "padding": lambda m: setattr(m.conv, "_reversed_padding_repeated_twice", [2, 2, 2, 2]),
    "weight": lambda m: m.conv.weight.data.view(-1)[:1].add_(1e-6),
    "plain tensor": lambda m: m.plain.mul_(9),
    "listed tensor": lambda m: m.listed[0].mul_(9),
    "nested number": lambda m: m.listed[1].update(a=2),
    "buffer outside the state dict": lambda m: m.hidden.mul_(9),
    "type of a tensor": lambda m: m.double(),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_changes_the_digest(edit: str) -> None:
    torch.manual_seed(0)
    network = _Network()
    before = digest(network)
    assert digest(network) == before
    assert digest(copy.deepcopy(network)) == before
    EDITS[edit](network)
    assert digest(network) != before


def test_code_of_the_class_and_values_of_closures_count(monkeypatch: pytest.MonkeyPatch) -> None:
    factor = [2.0]

    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return factor[0] * x

    network = Scaled()
    before = digest(network)
    factor[0] = 3.0
    changed = digest(network)
    assert changed != before
    monkeypatch.setattr(Scaled, "forward", lambda self, x: x)
    assert digest(network) not in (before, changed)


FACTORS, NAMED, SIMPLE = [1.0], {"factor": 1.0}, types.SimpleNamespace(factor=1.0)


class _Reads(nn.Module):
    table = (1.0,)

    def forward(self, x: Tensor) -> Tensor:
        return x * FACTORS[0] * NAMED["factor"] * SIMPLE.factor * self.table[0]


@pytest.mark.parametrize(
    "edit",
    [
        lambda patch: patch.setitem(vars(sys.modules[__name__]), "FACTORS", [5.0]),
        lambda patch: patch.setitem(NAMED, "factor", 5.0),
        lambda patch: patch.setattr(SIMPLE, "factor", 5.0),
        lambda patch: patch.setattr(_Reads, "table", (5.0,)),
    ],
)
def test_collections_that_the_code_reads_by_name_count(
    edit: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _Reads()
    before = digest(network)
    assert digest(network) == before
    edit(monkeypatch)
    assert digest(network) != before


def test_names_and_contents_do_not_run_into_each_other() -> None:
    one, two = nn.Module(), nn.Module()
    one.register_buffer("a", torch.zeros(2))
    one.register_buffer("ab", torch.zeros(0))
    two.register_buffer("a", torch.zeros(0))
    two.register_buffer("ab", torch.zeros(2))
    assert digest(one) != digest(two)


def test_what_cannot_be_read_never_gives_the_same_digest_twice() -> None:
    network = nn.Identity()
    network.secret = (number for number in [1])  # type: ignore[assignment]
    assert digest(network) != digest(network)


def test_a_denoiser_loaded_twice_has_one_digest() -> None:
    one = LipschitzDenoiser(1)
    assert digest(one) == digest(LipschitzDenoiser(1))
    with torch.no_grad():
        one(torch.rand(1, 1, 16, 16), 0.1)
    assert digest(one) == digest(LipschitzDenoiser(1))


def test_a_global_hook_changes_the_digest() -> None:
    network = nn.ReLU()
    before = digest(network)
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, out: 5 * out)
    try:
        assert digest(network) != before
    finally:
        handle.remove()
    assert digest(network) == before
