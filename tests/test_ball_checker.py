"""The independent checker accepts what was proved and names what was tampered with."""

from __future__ import annotations

import copy
import json
import math
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from pnp_lip.checker.layer import CertificateRejected, check_layer
from pnp_lip.norms import convolution_norm, matrix_norm

pytest.importorskip("flint")

LAYERS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "plain": ((3, 4, 3, 3), {}),
    "even": ((2, 2, 2, 4), {}),
    "strided and dilated": ((3, 2, 3, 3), {"stride": (2, 1), "dilation": (1, 3)}),
    "grouped": ((6, 1, 3, 3), {"groups": 3}),
    "one axis": ((2, 3, 5), {}),
    "three axes": ((2, 2, 2, 2, 2), {}),
    "one by one": ((4, 3, 1, 1), {}),
    "matrix": ((9, 12), {}),
}


def stored(weight: Tensor, gap: float = 1e-3, **layer: Any) -> dict[str, Any]:
    """A bound as it comes back from a file."""
    norm = matrix_norm if weight.ndim == 2 else convolution_norm
    bound = norm(weight, gap=gap, **layer)
    return json.loads(json.dumps(bound.to_json()))


def random_weight(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def flat_frame() -> Tensor:
    """The 3 x 3 patches' DCT: a tight frame, whose bound rests on a floor."""
    n = torch.arange(3, dtype=torch.float64)
    rows = torch.cos(math.pi * (n + 0.5) * n[:, None] / 3)
    rows = rows / rows.norm(dim=1, keepdim=True)
    return torch.einsum("ai,bj->abij", rows, rows).reshape(9, 1, 3, 3) / 3


@pytest.fixture
def plain() -> tuple[Tensor, dict[str, Any]]:
    weight = random_weight((3, 2, 3, 3))
    return weight, stored(weight)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("gap", [1e-3, 1e-6])
def test_a_proved_bound_is_accepted(name: str, gap: float) -> None:
    shape, layer = LAYERS[name]
    weight = random_weight(shape)
    check_layer(weight, stored(weight, gap, **layer), **layer)


@pytest.mark.parametrize("scale", [1e-200, 1e-6, 1e6, 1e200])
def test_scaled_weights_are_accepted(scale: float) -> None:
    weight = random_weight((2, 2, 3, 3)).double() * scale
    check_layer(weight, stored(weight))


def test_a_flat_symbol_is_accepted_with_its_floor_and_refused_with_a_higher_one() -> None:
    weight = flat_frame()
    bound = stored(weight, 1e-6)
    check_layer(weight, bound)
    (_, low) = bound["cover"]["floors"][0]
    assert low > 0.9 * bound["cover"]["target"] ** 2
    raised = copy.deepcopy(bound)
    raised["cover"]["floors"][0][1] = bound["cover"]["floors"][0][0] * (1 - 1e-15)
    with pytest.raises(CertificateRejected, match=r"the (ceiling|floor) of group 0"):
        check_layer(weight, raised)
    lowered = copy.deepcopy(bound)
    lowered["cover"]["floors"][0][0] = low * (1 + 1e-12)
    with pytest.raises(CertificateRejected, match="the ceiling of group 0 fails"):
        check_layer(weight, lowered)


@pytest.mark.parametrize("scale", [1.0, 1e-200])
def test_a_plateau_is_accepted_by_its_taylor_models(scale: float) -> None:
    weight = flat_frame()[1:] * scale
    bound = stored(weight, 1e-4)
    check_layer(weight, bound)
    bound["cover"]["target"] *= bound["lower"] / bound["upper"] * (1 - 1e-6)
    bound["upper"] = math.ldexp(bound["cover"]["target"], bound["cover"]["exponent"])
    bound["lower"] = 0.0
    with pytest.raises(CertificateRejected, match="the inequality fails on the cell"):
        check_layer(weight, bound)


def test_zero_weights_are_accepted_without_a_cover() -> None:
    zero = torch.zeros(2, 2, 3, 3)
    check_layer(zero, stored(zero))
    with pytest.raises(CertificateRejected, match="no cover is stored"):
        check_layer(zero + 1, stored(zero))


def test_a_tampered_weight_is_rejected(plain: tuple[Tensor, dict[str, Any]]) -> None:
    weight, bound = plain
    changed = weight.clone()
    changed[0, 0, 0, 0] *= 1 + 2**-20
    with pytest.raises(CertificateRejected, match="the weight is not the one"):
        check_layer(changed, bound)
    with pytest.raises(CertificateRejected, match="the weight is not the one"):
        check_layer(weight.transpose(0, 1), bound)


@pytest.mark.parametrize("change", [-1e-9, -1e-4, 1e-9])
def test_a_changed_bound_is_rejected(plain: tuple[Tensor, dict[str, Any]], change: float) -> None:
    weight, bound = plain
    bound["upper"] *= 1 + change
    with pytest.raises(CertificateRejected, match=r"claimed upper bound .* the target"):
        check_layer(weight, bound)


def test_a_bound_below_the_norm_is_rejected_even_with_its_target_and_digest(
    plain: tuple[Tensor, dict[str, Any]],
) -> None:
    weight, bound = plain
    bound["cover"]["target"] *= (bound["lower"] / bound["upper"]) * (1 - 1e-9)
    bound["upper"] = math.ldexp(bound["cover"]["target"], bound["cover"]["exponent"])
    bound["lower"] = bound["upper"] / 2
    with pytest.raises(CertificateRejected, match="the inequality fails on the cell"):
        check_layer(weight, bound)


def test_a_raised_lower_bound_is_rejected(plain: tuple[Tensor, dict[str, Any]]) -> None:
    weight, bound = plain
    bound["lower"] *= 1 + 1e-9
    with pytest.raises(CertificateRejected, match=r"the lower bound .* is not attained"):
        check_layer(weight, bound)


def test_every_removed_cell_is_noticed(plain: tuple[Tensor, dict[str, Any]]) -> None:
    weight, bound = plain
    for level, cells in bound["cover"]["cells"].items():
        for index in range(0, len(cells), max(1, len(cells) // 3)):
            short = copy.deepcopy(bound)
            del short["cover"]["cells"][level][index]
            with pytest.raises(CertificateRejected, match="no cell of group 0 covers"):
                check_layer(weight, short)


def test_cells_too_large_for_the_local_bound_are_rejected() -> None:
    weight = random_weight((2, 2, 5, 5))
    bound = stored(weight)
    bound["cover"]["bits"] = [2, 2]
    bound["cover"]["cells"] = {"0": [[0, i, j] for i in range(4) for j in range(i % 2, 4, 2)]}
    with pytest.raises(CertificateRejected, match="too large for the local bound"):
        check_layer(weight, bound)


def test_another_layer_s_stride_is_rejected() -> None:
    weight = random_weight((2, 2, 3, 3))
    with pytest.raises(CertificateRejected):
        check_layer(weight, stored(weight, stride=2), stride=1)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("target", "high", "expected a positive target"),
        ("bits", [4], "expected 2 root bits"),
        ("floors", [], "expected 1 floors"),
        ("cells", {"99": [[0, 1, 2]]}, "expected levels from 0 to 60"),
        ("cells", {"0": [[0, 1]]}, "expected cells with a group and 2 coordinates"),
        ("cells", None, "the cover cannot be read"),
    ],
)
def test_a_malformed_cover_is_rejected(
    plain: tuple[Tensor, dict[str, Any]], field: str, value: Any, message: str
) -> None:
    weight, bound = plain
    bound["cover"][field] = value
    with pytest.raises(CertificateRejected, match=message):
        check_layer(weight, bound)


def test_a_bound_that_is_not_a_number_is_rejected() -> None:
    with pytest.raises(CertificateRejected, match="the bound cannot be read"):
        check_layer(torch.ones(1, 1, 1), {"upper": 1.0})
    with pytest.raises(CertificateRejected, match="expected 0 <= lower <= upper"):
        check_layer(torch.ones(1, 1, 1), {"upper": 1.0, "lower": 2.0, "cover": None})


def test_without_python_flint_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(ImportError, match=r'pip install "pnp-lip\[check\]"'):
        check_layer(torch.ones(1, 1, 1), {})
