"""Parts that stay whole, ways of calling a network, and the sizes that a confirmed statement holds for."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pnp_lip import LipschitzDenoiser, Relaxed, certify
from pnp_lip.checker import CertificateRejected, check_certificate
from pnp_lip.checker.comparison import conditions_over
from pnp_lip.checker.export import exported
from pnp_lip.checker.file import Layer
from pnp_lip.checker.graph_file import Graph, Node
from pnp_lip.checker.ledger import Ledger
from pnp_lip.norms import convolution_norm

pytest.importorskip("flint", reason="checking a certificate needs python-flint")

Data = dict[str, Any]


def _made(network: nn.Module, *sides: int) -> Data:
    images = torch.rand(*sides, generator=torch.Generator().manual_seed(1))
    found: Data = json.loads(json.dumps(certify(network.eval(), images=images).to_dict()))
    return found


def test_a_bound_is_proved_again_for_every_weight_and_every_step_that_uses_it() -> None:
    weight = torch.randn(2, 2, 3, 3)
    bound = json.loads(json.dumps(convolution_norm(weight).to_json()))
    ledger = Ledger([Layer("conv", 1.0, None, bound, None)], progress=False)
    for _ in range(2):
        assert ledger.norm(ledger.layers[0], weight, stride=1) == bound["upper"]
    assert len(ledger.proved) == 1
    for other, stride in ((2 * weight, 1), (weight, 2), (weight.view(2, 2, 9, 1), 1)):
        with pytest.raises(CertificateRejected, match="layer 'conv': "):
            ledger.norm(ledger.layers[0], other, stride=stride)
    with pytest.raises(CertificateRejected, match="layer 'relu' has no bound of its weight"):
        ledger.norm(Layer("relu", 1.0, None, None, None), weight)


def test_layers_are_taken_once_by_their_names() -> None:
    first, second = (Layer(name, 1.0, None, None, None) for name in ("first", "second"))
    ledger = Ledger([first, second], progress=False)
    places = [1, 0]
    assert ledger.take("second", places) is second
    with pytest.raises(CertificateRejected, match="expected layer 'third', found 'first'"):
        ledger.take("third", list(places))
    with pytest.raises(CertificateRejected, match="a layer 'first', the network has not"):
        ledger.close()
    assert ledger.take(None, places) is first
    ledger.close()
    with pytest.raises(CertificateRejected, match="ends before layer 'fourth'"):
        ledger.take("fourth", places)


@pytest.mark.parametrize(
    ("several", "whole"),
    [
        ([("B >= 2", "H >= 4"), ("B == 1", "H >= 4")], ("H >= 4",)),
        ([("B == 1", "H >= 4")], ("B == 1", "H >= 4")),
        ([("B >= 2", "C >= 2"), ("B == 1", "C >= 2")], ("C >= 2",)),
        ([("B >= 2", "C >= 2"), ("B >= 2", "C == 1")], ("B >= 2",)),
        ([("B >= 2", "H >= 4"), ("B >= 2", "W <= 9")], ("B >= 2", "H >= 4", "W <= 9")),
        ([("H == 1",), ("H >= 2",)], ("H == 1", "H >= 2")),
        ([("B == 1",), ("B == 3",)], ("B == 1", "B == 3")),
    ],
)
def test_one_and_several_images_cover_all_numbers_of_them(
    several: list[tuple[str, ...]], whole: tuple[str, ...]
) -> None:
    """Likewise channels; of other sizes every condition counts."""
    assert conditions_over(several) == whole


class _Level(nn.Module):
    """A denoiser of ours, called in one of several ways."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part, self.more = part, {}  # type: ignore[var-annotated]

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x, x.new_full((x.shape[0],), 0.1), **self.more)


def _small() -> LipschitzDenoiser:
    torch.manual_seed(0)
    return LipschitzDenoiser(1, depth=1, nf=2, kernel_size=3, pretrained=None)


def test_a_part_whose_theorem_holds_for_all_sizes_is_called_on_several() -> None:
    network = _Level(Relaxed(_small(), 0.5))
    data = _made(network, 1, 1, 8, 8)
    assert check_certificate(data, network).assumed == ()
    assert data["upper"] == 1.0
    less = copy.deepcopy(data)
    less["upper"] = 0.999
    with pytest.raises(CertificateRejected, match="below what its layers prove"):
        check_certificate(less, network)


def _whole(path: str) -> Graph:
    """With a node that says that this part stays whole."""
    return Graph(
        "", (1, 1, 8, 8), None, "none", (Node("whole", f"{path}, #0", "", None, None, ()),)
    )


def test_a_part_stays_whole_only_as_its_class_computes_it() -> None:
    network = _Level(_small()).eval()
    assert {path for path, _ in exported(network, _whole("part")).parts.values()} == {"part"}
    assert "forward" not in vars(network.part)
    with pytest.raises(CertificateRejected, match="the network has no part 'other'"):
        exported(network, _whole("other"))
    replaced = copy.deepcopy(network)
    replaced.part.forward = lambda x, sigma: x
    with pytest.raises(CertificateRejected, match="'part' has its own 'forward'"):
        exported(replaced, _whole("part"))


def test_a_part_is_called_with_no_argument_that_its_theorem_does_not_know() -> None:
    network = _Level(Relaxed(_small(), 0.5)).eval()
    exported(network, _whole("part"))
    network.more = {"strength": 2.0}
    with pytest.raises(
        CertificateRejected, match=r"'part' is called with \['sigma', .*excludes that"
    ):
        exported(network, _whole("part"))


def test_exporting_again_leaves_logging_as_it_was() -> None:
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        exported(nn.ReLU(), Graph("", (1, 1, 4, 4), None, "none", ()))
        assert logging.root.manager.disable == logging.INFO
    finally:
        logging.disable(before)


CONDITIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "even": lambda x: functional.pixel_unshuffle(x, 2),
    "at least five": lambda x: functional.conv2d(x, torch.ones(1, 1, 5, 1) / 5),
    "square": lambda x: x + x.mT,
    "twelve": lambda x: x.view(-1, 1, 3, 4, 12).flatten(2, 3),
}


class _Conditioned(nn.Module):
    def __init__(self, computed: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.computed = computed

    def forward(self, x: Tensor) -> Tensor:
        return self.computed(x)


@pytest.mark.parametrize("name", CONDITIONS)
def test_what_the_exporter_assumes_about_sizes_stands_in_the_certificate(name: str) -> None:
    """Each condition that is taken out is missed."""
    network = _Conditioned(CONDITIONS[name])
    data = _made(network, 1, 1, 12, 12)
    assert check_certificate(data, network).conditions == tuple(data["conditions"])
    assert len(data["conditions"]) > 1
    for condition in data["conditions"]:
        less = copy.deepcopy(data)
        less["conditions"].remove(condition)
        with pytest.raises(CertificateRejected, match="the statement holds only for"):
            check_certificate(less, network)
