"""The independent checker accepts what was proved and names what was tampered with."""

from __future__ import annotations

import copy
import json
import math
import sys
from collections import Counter
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from norm_oracles import CONVOLUTIONS, dense_norm
from torch import Tensor
from torch.nn import functional

from pnp_lip.checker.balls import positive_definite, taylor_holds
from pnp_lip.checker.exact_gram import ExactGram
from pnp_lip.checker.layer import CertificateRejected, check_layer
from pnp_lip.checker.padding import copies_of
from pnp_lip.norms import convolution_norm, matrix_norm

flint = pytest.importorskip("flint")

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


@pytest.mark.parametrize("shape", [(3, 2, 3, 3), (2, 3, 5), (2, 2, 2, 2, 2)])
def test_every_removed_cell_is_noticed(shape: tuple[int, ...]) -> None:
    weight = random_weight(shape)
    bound = stored(weight, 1e-2 if len(shape) == 5 else 1e-3)
    for level, cells in bound["cover"]["cells"].items():
        for index in range(0, len(cells), max(1, len(cells) // 3)):
            short = copy.deepcopy(bound)
            del short["cover"]["cells"][level][index]
            with pytest.raises(CertificateRejected, match="no cell of group 0 covers"):
                check_layer(weight, short)


def _balls(matrix: Any) -> Any:
    entries = [flint.acb(z.real, z.imag) for z in matrix.flatten().tolist()]
    return flint.acb_mat(*matrix.shape, entries)


def _midpoints(matrix: Any) -> Any:
    values = [complex(float(z.real.mid()), float(z.imag.mid())) for z in matrix.entries()]
    return np.array(values).reshape(matrix.nrows(), matrix.ncols())


@pytest.mark.parametrize("order", [1, 2, 5, 6, 7, 13])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_matrix_is_proved_definite_up_to_its_extreme_eigenvalue(order: int, sign: int) -> None:
    """Above six rows by Schur complements, below by pivots."""
    chance = np.random.default_rng(order)
    half = chance.normal(size=(order, order)) + 1j * chance.normal(size=(order, order))
    matrix = half + half.conj().T
    values = np.linalg.eigvalsh(matrix)
    edge = float(values[0] if sign > 0 else values[-1])
    assert positive_definite(_balls(matrix), flint.arb(edge - sign * 1e-9), sign)
    assert not positive_definite(_balls(matrix), flint.arb(edge + sign * 1e-9), sign)


@pytest.mark.parametrize(
    ("sizes", "holds"),
    [
        ([0.0, 0.9], True),
        ([0.0, -0.9], True),
        ([0.0, 1.0], False),
        ([0.0, -1.0], False),
        ([0.0, 0.0, 1.9], True),
        ([0.0, 0.0, 2.0], False),
        ([0.0, 0.5, 0.9], True),
        ([0.0, 0.5, 1.0], False),
        ([0.0, 0.0, 0.0, 5.9], True),
        ([0.0, 0.0, 0.0, -6.0], False),
        ([0.5, 0.45], True),
        ([0.5, 0.5], False),
        ([1.0, 0.0], False),
        ([1.1, 0.0], False),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_taylor_model_stays_below_its_level_as_long_as_its_terms_sum_to_less_than_one(
    sizes: list[float], holds: bool, scale: float
) -> None:
    """Terms ``|B_j| / (tau - B_0) / j!``; of several of one order the largest."""
    for pattern in ([1.0], [0.1, 1.0, -0.2]):
        terms = [
            [_balls(np.array([[scale * size * one]])) for one in (pattern if order else [1.0])]
            for order, size in enumerate(sizes)
        ]
        assert taylor_holds(terms, flint.arb(scale)) is holds


@pytest.mark.parametrize(
    ("shape", "stride", "dilation", "groups"),
    [
        ((3, 2, 3), 1, 1, 1),
        ((2, 4, 4), 2, 1, 1),
        ((4, 2, 3), 1, 3, 2),
        ((2, 3, 4), 2, 2, 1),
        ((3, 2, 5), 4, 2, 1),
        ((2, 3, 2, 3), (2, 1), (1, 3), 1),
        ((4, 1, 3, 2), (1, 2), 1, 2),
        ((2, 1, 2, 1, 3), (1, 1, 2), 1, 1),
    ],
)
def test_symbols_on_a_grid_have_the_norm_of_the_layer_on_a_torus(
    shape: tuple[int, ...], stride: Any, dilation: Any, groups: int
) -> None:
    """A torus of ``4 s`` samples, of which the layer keeps every ``s``-th: four frequencies an axis."""
    weight = random_weight(shape)
    axes = len(shape) - 2
    steps, spacings = ((v,) * axes if isinstance(v, int) else v for v in (stride, dilation))
    gram = ExactGram.of(weight, stride, dilation, groups)
    points = list(product(range(4), repeat=len(gram.size)))
    largest = max(
        np.linalg.eigvalsh(_midpoints(matrix))[-1]
        for group in range(groups)
        for matrix in gram.at(group, points, [2] * len(gram.size))
    )

    def layer(images: Tensor) -> Tensor:
        reach = [d * (k - 1) for d, k in zip(spacings, shape[2:], strict=True)]
        for axis, far in enumerate(reach):
            turns = -(-far // images.shape[2 + axis])
            wide = torch.cat([images] * (1 + turns), 2 + axis)
            images = wide.narrow(2 + axis, 0, images.shape[2 + axis] + far)
        return CONVOLUTIONS[axes](images, weight.double(), None, steps, 0, spacings, groups)

    dense = dense_norm(layer, (shape[1] * groups, *[4 * step for step in steps]))
    assert math.sqrt(largest) == pytest.approx(dense, rel=1e-12)


@pytest.mark.parametrize("shape", [(3, 2, 3), (2, 3, 2, 3)])
def test_derivatives_of_a_symbol_are_those_of_its_trigonometric_polynomial(
    shape: tuple[int, ...],
) -> None:
    weight = random_weight(shape).double().numpy()
    tall = weight if shape[0] >= shape[1] else weight.swapaxes(0, 1)
    taps = list(product(*(range(k) for k in shape[2:])))
    blocks = {tap: np.moveaxis(tall, (0, 1), (-2, -1))[tap] for tap in taps}
    axes, bits = len(shape) - 2, [3, 5][: len(shape) - 2]
    point = (3, 7)[:axes]
    omega = [2 * math.pi * t / 2**b for t, b in zip(point, bits, strict=True)]
    steps = [2 * math.pi / 2**b for b in bits]
    found = ExactGram.of(torch.from_numpy(weight).float(), 1, 1, 1).derivatives(0, point, bits)
    assert len(found) == 6
    for order, matrices in enumerate(found):
        indices = [a for a in product(range(order + 1), repeat=axes) if sum(a) == order]
        for index, matrix in zip(indices, matrices, strict=True):
            wanted = np.zeros(matrix.nrows() ** 2, dtype=complex).reshape(matrix.nrows(), -1)
            for one, other in product(taps, taps):
                lag = [b - a for a, b in zip(one, other, strict=True)]
                wave = np.exp(1j * sum(a * w for a, w in zip(lag, omega, strict=True)))
                for a, n, h in zip(lag, index, steps, strict=True):
                    wave *= (1j * a * h) ** n
                wanted += wave * blocks[one].T @ blocks[other]
            np.testing.assert_allclose(_midpoints(matrix), wanted, atol=1e-12)


def _most_copies(mode: str, n: int, pads: tuple[int, int], far: int, step: int) -> int:
    """Counted in torch's padding of ``0, 1, .., n - 1``, where the windows of a kernel read."""
    padded = functional.pad(torch.arange(float(n))[None, None], pads, mode=mode)[0, 0]
    if len(padded) <= far:
        return 1
    last = (len(padded) - far - 1) // step * step + far
    return max(Counter(padded[: last + 1].tolist()).values())


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
@pytest.mark.parametrize("pads", [(0, 0), (1, 1), (2, 2), (0, 2), (2, 1)])
@pytest.mark.parametrize(("far", "step"), [(0, 1), (2, 1), (4, 1), (2, 2), (1, 3)])
def test_copies_of_a_sample_are_those_of_the_worst_side(
    mode: str, pads: tuple[int, int], far: int, step: int
) -> None:
    """Circular windows that close up are turns of one torus, whose norm a row more costs nothing."""
    least = {"reflect": max(pads) + 1, "circular": max(*pads, 1)}.get(mode, 1)
    worst = 1
    for n in range(least, 20):
        most = _most_copies(mode, n, pads, far, step)
        outputs = (n + sum(pads) - far - 1) // step + 1
        if mode == "circular" and n % step == 0:
            most = min(most, max(1, math.ceil(outputs * step / n)))
        worst = max(worst, most)
    square = copies_of(mode, [pads], [far], [step]) ** 2
    assert 0 <= square - worst < Fraction(1, 2**100)
    both = copies_of(mode, [pads, (0, 0)], [far, 0], [step, 1]) ** 2
    assert 0 <= both - worst < Fraction(1, 2**100)


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
