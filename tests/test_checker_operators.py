"""Every operator that the checker knows is bounded again, and nothing less can be claimed of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from checker_walks import claims_that_could_be_less
from test_certifier_operators import CASES, Case, _held
from torch import Tensor, nn
from torch.nn import functional

from pnp_lip import certify
from pnp_lip.certifier.operators import OPERATORS
from pnp_lip.checker import CertificateRejected, check_certificate
from pnp_lip.checker import rules as checker

pytest.importorskip("flint", reason="checking a certificate needs python-flint")

#: How many cases make one network.
_TOGETHER = 8
#: Cases about which the checker has no theorem: factors that are not whole, aligned corners, windows of
#: averages with divisors of their own at the border.
_ASSUMED: dict[str, tuple[int, ...]] = {
    "_upsample_nearest_exact1d.vec": (0, 1, 2),
    "_upsample_nearest_exact2d.vec": (0, 1),
    "_upsample_nearest_exact3d.vec": (2,),
    "avg_pool1d.default": (0, 1, 2),
    "avg_pool2d.default": (1, 2),
    "avg_pool3d.default": (1, 2),
    "upsample_linear1d.vec": (0,),
    "upsample_bilinear2d.vec": (0, 2),
    "upsample_trilinear3d.vec": (1,),
    "upsample_nearest1d.vec": (1, 2),
    "upsample_nearest2d.vec": (0, 2),
    "upsample_nearest3d.vec": (0, 1, 2),
}


class _Network(nn.Module):
    """For images of one size."""

    def __init__(self, computed: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.computed = computed

    def forward(self, x: Tensor) -> Tensor:
        if not all(type(side) is int for side in x.shape):
            raise TypeError("expected whole numbers")
        return self.computed(x)


def _beside(cases: list[tuple[Any, Case]]) -> nn.Module:
    """The results of several operators beside each other."""
    return _Network(
        lambda x: torch.cat([computed(op, x).flatten() for op, (_, computed) in cases])[None]
    )


def _known() -> dict[str, list[Case]]:
    """Cases of the operators that the checker has a rule for, by their names."""
    names = [str(operator).removeprefix("aten.") for operator in OPERATORS]
    return {
        name: CASES.get(name, CASES.get(name.split(".")[0], []))
        for name in sorted(names)
        if name in checker._RULES
    }


def _operator(name: str) -> Any:
    packet, overload = name.split(".")
    return getattr(getattr(torch.ops.aten, packet), overload)


def _networks() -> dict[str, tuple[tuple[int, ...], nn.Module]]:
    """All cases, some in each network, by the shape of their images."""
    by_shape: dict[tuple[int, ...], list[tuple[str, Any, Case]]] = {}
    for name, cases in _known().items():
        for index, case in enumerate(cases):
            if index not in _ASSUMED.get(name, ()):
                by_shape.setdefault(case[0], []).append((name, _operator(name), case))
    found = {}
    for shape, several in by_shape.items():
        for start in range(0, len(several), _TOGETHER):
            part = several[start : start + _TOGETHER]
            network = _beside([(operator, case) for _, operator, case in part])
            found[f"{part[0][0]} to {part[-1][0]}"] = shape, network
    return found


_NETWORKS = _networks()


def test_the_checker_has_a_case_for_every_rule() -> None:
    assert set(_known()) == set(checker._RULES)
    assert all(_known().values())


def _certified(network: nn.Module, shape: tuple[int, ...]) -> dict[str, Any]:
    images = torch.randn(1, *shape)
    found: dict[str, Any] = json.loads(json.dumps(certify(network.eval(), images=images).to_dict()))
    return found


@pytest.mark.parametrize("name", _NETWORKS)
def test_operators_are_bounded_as_by_the_prover_and_not_below(name: str) -> None:
    """The prover's bounds are above dense matrices; for ``elu`` the checker's interval is smaller."""
    shape, network = _NETWORKS[name]
    data = _certified(network, shape)
    assert check_certificate(data, network).assumed == ()
    less = claims_that_could_be_less(network, data)
    assert [one for one in less if not re.search(r"\belu(_\d+)?(\.|$)", one)] == []


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_resizing_without_a_theorem_is_named_as_assumed(axes: int) -> None:
    cases = [
        (_operator(name), _known()[name][index])
        for name, indices in _ASSUMED.items()
        for index in indices
        if f"{axes}d" in name
    ]
    network = _beside(cases)
    confirmed = check_certificate(_certified(network, cases[0][1][0]), network)
    assert len(confirmed.assumed) == len(cases)


class _Computed(nn.Module):
    """For images of every size."""

    def __init__(self, computed: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.computed = computed

    def forward(self, x: Tensor) -> Tensor:
        return self.computed(x)


def _pooled(x: Tensor) -> Tensor:
    h, w = x.shape[2:]
    wide = functional.interpolate(x, (2 * h, 3 * w))
    halves = functional.adaptive_avg_pool2d(wide, (h, w))
    halves = 0.5 * halves - functional.adaptive_max_pool2d(wide, (h, w))
    return functional.adaptive_avg_pool2d(halves, (h, 1)).mean(3)


def _interpolated(x: Tensor) -> Tensor:
    h, w = x.shape[2:]
    wide = functional.interpolate(x, (2 * h, 3 * w), mode="bilinear")
    return wide + functional.interpolate(x, (2 * h, 3 * w), mode="bicubic")


def _factors(x: Tensor) -> Tensor:
    small = functional.interpolate(x, scale_factor=0.25, mode="bicubic")
    return functional.interpolate(small, scale_factor=1.5, mode="bicubic")


def _padded(mode: Any, padding: int, stride: int = 1) -> nn.Module:
    return nn.Conv2d(1, 2, 3, stride, padding, padding_mode=mode)


def _shared(mode: str) -> Callable[[Tensor], Tensor]:
    """A padding that a convolution reads, and something else."""
    kernel = _held(1, 1, 3, 3)

    def computed(x: Tensor) -> Tensor:
        wide = functional.pad(x, (1, 1, 1, 1), mode=mode)
        return functional.conv2d(wide, kernel) + wide[:, :, 1:-1, 1:-1]

    return computed


class _Stacked(nn.Module):
    """Matrices for parts of the image, joined and repeated: ``[B, 2, H, 4]``."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.several = nn.Parameter(_held(4, 4)), nn.Parameter(_held(2, 4, 3))
        self.left = nn.Parameter(_held(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.matmul(x @ self.one, self.several)
        y = torch.einsum("bchw,cwv->bchv", y, self.several.mT)
        y = torch.einsum("bchw,c->bwhc", y, self.several[:, 0, 0])
        z = torch.matmul(self.left, y[:, :3].reshape(-1, 3, y.shape[2] * 2))
        return z.expand(2, *z.shape) * torch.tensor([[[0.5]], [[-2.0]]])[..., None]


_SQUARE = _held(1, 1, 3, 3)
#: Networks for images of every size, with channels and sides of one.
OF_EVERY_SIZE: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "pooled": (lambda: _Computed(_pooled), (1, 4, 8)),
    "interpolated": (lambda: _Computed(_interpolated), (1, 4, 8)),
    "cubic": (lambda: _Computed(_factors), (1, 4, 8)),
    "stacked": (_Stacked, (2, 5, 4)),
    "reflected": (lambda: _padded("reflect", 1), (1, 6, 8)),
    "replicated": (lambda: _padded("replicate", 1, 2), (1, 6, 8)),
    "circular": (lambda: _padded("circular", 1), (1, 6, 8)),
    "circular, strided": (lambda: _padded("circular", 2, 2), (1, 6, 8)),
    "shared padding": (lambda: _Computed(_shared("reflect")), (1, 6, 8)),
    "uneven padding": (
        lambda: _Computed(
            lambda x: functional.conv2d(functional.pad(x, (1, 2, 0, 1), mode="replicate"), _SQUARE)
        ),
        (1, 6, 8),
    ),
    "padded twice": (
        lambda: _Computed(
            lambda x: functional.conv2d(
                functional.pad(x, (1, 1, 1, 1), mode="circular"), _SQUARE, padding=1
            )
        ),
        (1, 6, 8),
    ),
}


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("sides", [(7, 5), (2, 8), (1, 1)])
def test_cubic_interpolation_to_given_sides_is_bounded_as_by_the_prover(
    corners: bool, sides: tuple[int, int]
) -> None:
    """Of images of one size, whose corners may be aligned."""
    network = _Network(
        lambda x: functional.interpolate(x, sides, mode="bicubic", align_corners=corners)
    )
    data = _certified(network, (1, 4, 4))
    assert check_certificate(data, network).assumed == ()
    assert claims_that_could_be_less(network, data) == []


def test_an_averaged_map_is_relaxed_beyond_one_and_stays_averaged() -> None:
    """``x + 1.2 (T x - x)`` for two halves in turn: 1.2 times their 2/3."""
    network = _Network(lambda x: x + 1.2 * (torch.tanh(torch.relu(x)) - x))
    data = _certified(network, (1, 3, 4))
    assert data["averagedness"] == pytest.approx(0.8)
    assert check_certificate(data, network).averagedness == data["averagedness"]
    assert claims_that_could_be_less(network, data) == []
    data["graphs"][0]["nodes"][-1][4] = 0.79
    with pytest.raises(CertificateRejected, match=r"of 'the network' on images \[1, 1, 3, 4\] is"):
        check_certificate(data, network)


@pytest.mark.parametrize("name", OF_EVERY_SIZE)
def test_for_images_of_every_size_no_less_can_be_claimed(name: str) -> None:
    network, shape = OF_EVERY_SIZE[name]
    made = network()
    data = _certified(made, shape)
    assert check_certificate(data, made).assumed == ()
    assert claims_that_could_be_less(made, data) == []
