"""The benchmark of inverse problems: strengths are never at an edge, and rows grow by images."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import problem_peers
from benchmarks.choice import best_inside
from benchmarks.peer_models import RidgeDescent
from benchmarks.problem_methods import Ours, Restored
from benchmarks.problem_peers import ridge, variation, variation_by_gradients
from benchmarks.problem_ridge import Regulariser, minimise
from benchmarks.problem_tables import kernels_table, levin_design, levin_line, problems_table
from benchmarks.problems import grown
from benchmarks.protocols import KERNELS
from benchmarks.record import Key, Row
from pnp_lip.recipes import deblur
from pnp_lip.recipes.problem import Problem


@pytest.mark.parametrize("best", [0.07, 0.5, 1.3, 12.0])
def test_the_best_of_what_was_tried_is_neither_first_nor_last(best: float) -> None:
    found = best_inside(lambda x: -abs(x - best), [0.5, 1.0, 1.5])
    values, scores = list(found), list(found.values())
    chosen = scores.index(max(scores))
    assert values == sorted(values)
    assert 0 < chosen < len(values) - 1
    assert values[chosen - 1] <= best <= values[chosen + 1]


def test_a_score_that_never_falls_is_refused() -> None:
    with pytest.raises(ValueError, match="still at an end"):
        best_inside(lambda x: x, [1.0, 2.0])


def test_a_row_that_grows_holds_the_means_and_every_psnr() -> None:
    row: Any = None
    for number, (psnr, seconds, converged) in enumerate(
        [(20, 1, True), (22, 2, False), (27, 6, True)]
    ):
        row = grown(row, number, psnr, {"seconds": seconds, "converged": converged})
    assert row["psnr"] == {"0": 20, "1": 22, "2": 27}
    assert row["seconds"] == pytest.approx(3)
    assert row["converged"] is False


def row(psnr: dict[str, float], **other: Any) -> dict[str, Any]:
    return {
        "psnr": psnr,
        "iterations": 9,
        "seconds": 1.0,
        "proved": True,
        "converged": True,
        **other,
    }


def test_means_are_over_the_images_that_all_methods_have() -> None:
    rows: dict[Key, Row] = {
        ("deblurring", "12.75", "k1", "plain"): row({"0": 20.0, "8": 30.0}),
        ("deblurring", "12.75", "k1", "guided"): row({"0": 21.0}),
        ("deblurring", "12.75", "k2", "plain"): row({"0": 23.0}),
        ("deblurring", "12.75", "k2", "guided"): row({"0": 25.0}, converged=False),
    }
    (line,) = problems_table(rows).splitlines()[2:]
    assert "| 1 x 2 kernels | 21.50 | 23.00 |" in line
    assert line.endswith("not all |")
    plain, guided = kernels_table("deblurring")(rows).splitlines()[2:]
    assert plain == "| 12.75 | plain | 1 x 2 kernels | 20.00 | 23.00 | 21.50 |"
    assert guided == "| 12.75 | guided | 1 x 2 kernels | 21.00 | 25.00 | 23.00 |"


def test_a_line_counts_every_image_with_its_kernel_in_turn() -> None:
    rows: dict[Key, Row] = {}
    for index, name in enumerate(KERNELS):
        for method, psnr in (("plain", 20.0), ("guided", 30.0), ("Tikhonov", 10.0)):
            # Image n has its turn with kernel n; another image is in the row as well, and easier.
            other = str((index + 1) % 8)
            values = {str(index): psnr + index, other: 50.0}
            rows["deblurring", "12.75", name, method] = row(values)
    line = "23.50 dB, with a guide 33.50 (8 images, each with one kernel)"
    assert levin_line(rows) == line
    assert levin_design(rows) == "13.50 dB instead of 31.75"


def test_the_plain_result_of_a_guided_solve_is_the_plain_solve() -> None:
    generator = torch.Generator().manual_seed(0)
    truth: Tensor = torch.rand(1, 1, 32, 32, generator=generator)
    problem: Problem = deblur.simulated(truth, torch.ones(1, 1, 3, 3) / 9, 0.03, 0)
    staged = Ours("forward-backward")
    staged.guided(problem, 0.02)
    kept, kept_row = staged.plain(problem, 0.02)
    alone, alone_row = Ours("forward-backward").plain(problem, 0.02)
    torch.testing.assert_close(kept, alone, rtol=0, atol=1e-4)
    assert abs(kept_row["iterations"] - alone_row["iterations"]) <= 1


@pytest.mark.parametrize("solve", [variation, variation_by_gradients])
def test_total_variation_is_minimised(solve: Callable[[Problem, float], Restored]) -> None:
    """No image on segments to the observation, the truth or a random one has a smaller cost.

    Up to 0.2 %: the iteration ends at a residual of 1e-4.
    """
    generator = torch.Generator().manual_seed(0)
    truth = torch.zeros(1, 1, 24, 24)
    truth[..., 6:18, 4:12] = 0.6
    kernel = torch.tensor([[[[0.1, 0.2, 0.1], [0.0, 0.5, 0.1], [0.0, 0.0, 0.0]]]])
    problem = deblur.simulated(truth + 0.2, kernel, noise=0.05, seed=0)
    weight = 0.03

    def cost(x: Tensor) -> float:
        rows, columns = x.diff(dim=-2), x.diff(dim=-1)
        squares = torch.zeros_like(x)
        squares[..., :-1, :] += rows**2
        squares[..., :-1] += columns**2
        fit = (problem.physics.A(x) - problem.y).square().sum() / 2
        return float(fit + weight * squares.sqrt().sum())

    found, _ = solve(problem, weight)
    others = [problem.y, truth + 0.2, torch.rand(truth.shape, generator=generator)]
    for other in others:
        for share in (0.003, 0.03, 0.3, 1.0):
            assert cost(found) < 1.002 * cost(found + share * (other - found))


def published(folder: Path) -> RidgeDescent:
    """A regulariser with the shapes of the published one and smaller numbers, saved as its authors do."""
    generator = torch.Generator().manual_seed(3)
    knots = torch.linspace(-0.1, 0.1, 21)
    kernels = {
        f"conv_layer.conv_layers.{index}.parametrizations.weight.original": 0.3
        * torch.randn(shape, generator=generator)
        for index, shape in enumerate([(2, 1, 3, 3), (4, 2, 3, 3)])
    }
    slopes = torch.tensor([0.5, 1.0, 1.5, 2.0])[:, None]
    splines = (slopes * knots).clamp(-0.06, 0.06).reshape(-1, 1)
    path = folder / "convex_ridge_regularizers" / "trained_models" / "Sigma_25_t_10"
    (path / "checkpoints").mkdir(parents=True)
    weights = kernels | {
        "activation.coefficients_vect": splines,
        "lmbd": torch.tensor(4.0),
        "mu": torch.tensor(0.9),
    }
    torch.save({"state_dict": weights}, path / "checkpoints" / "checkpoint_10.pth")
    return RidgeDescent(folder, 25, 10)


def price(model: RidgeDescent, x: Tensor, s: float) -> Tensor:
    """``s^2 R(x / s)`` with every spline as a sum of ramps, whose integrals are known."""
    ridge, grid = model.ridge, model.ridge.get_buffer("grid").double()
    values = model.ridge.get_buffer("values").double()
    slopes = functional.pad(values.diff(dim=1) / grid.diff(), (1, 1))
    bends = slopes.diff(dim=1)
    z = x.reshape(-1, 1, *x.shape[-2:]) * model.scale / s
    for kernel in ridge.kernels:
        z = functional.conv2d(z, kernel.double(), padding=1)
    ramps = (z[..., None] - grid).clamp(min=0).square() / 2
    total = (z * values[:, :1, None]).sum() + torch.einsum("bchwk,ck->", ramps, bends)
    return s**2 * model.strength / model.scale * total


def test_the_gradient_of_the_ridge_regulariser_is_that_of_its_integral(tmp_path: Path) -> None:
    model = published(tmp_path)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(1, 3, 9, 12, generator=generator)
    slow = x.double().requires_grad_()
    (gradient,) = torch.autograd.grad(price(model, slow, 0.6), slow)
    quick = Regulariser(model).gradient(x, 0.6)
    torch.testing.assert_close(quick, gradient.float(), rtol=0, atol=1e-5)
    looked_up = model.ridge.gradient(x.transpose(0, 1) * (model.scale / 0.6)).transpose(0, 1)
    torch.testing.assert_close(quick, 0.6 * model.strength * looked_up, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.01, 0.04])
def test_the_ridge_regulariser_is_minimised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sigma: float
) -> None:
    """The gradient of the whole cost, a convex one, is zero up to the tolerance."""
    model = published(tmp_path)
    monkeypatch.setattr(problem_peers, "PEERS", tmp_path)
    monkeypatch.setattr(
        problem_peers, "_regulariser", cache(problem_peers._regulariser.__wrapped__)
    )
    generator = torch.Generator().manual_seed(0)
    truth = 0.3 + 0.4 * torch.rand(1, 3, 18, 21, generator=generator)
    kernel = torch.tensor([[[[0.1, 0.2, 0.1], [0.0, 0.5, 0.1], [0.0, 0.0, 0.0]]]])
    problem = deblur.simulated(truth, kernel, noise=0.03, seed=0)

    def slope(x: Tensor) -> float:
        x = x.double().requires_grad_()
        fit = (problem.physics.A(x.float()).double() - problem.y).square().sum() / 2
        (gradient,) = torch.autograd.grad(fit + price(model, x, 255 * sigma / 25), x)
        return float(gradient.norm() / x.detach().norm())

    found, row = ridge(problem, sigma)
    assert row["converged"]
    assert row["iterations"] < 200
    assert slope(problem.start) > 1e-2
    assert slope(found) < 1.5e-4
    closer, _, met = minimise(problem, Regulariser(model), sigma, tolerance=2e-6)
    assert met
    assert slope(closer) < 3e-6


def test_the_bound_of_each_frequency_is_that_of_the_steepest_splines(tmp_path: Path) -> None:
    """Where borders play no part; and no step of the gradient is longer than the steepest splines say."""
    regulariser = Regulariser(published(tmp_path))
    generator = torch.Generator().manual_seed(2)
    x = torch.zeros(1, 1, 20, 23)
    x[..., 8:12, 9:14] = torch.rand(4, 5, generator=generator)
    steepest = regulariser.steepest(x)
    filtered = torch.fft.irfft2(regulariser.symbol(20, 23) * torch.fft.rfft2(x), s=(20, 23))
    torch.testing.assert_close(filtered, steepest, rtol=0, atol=1e-5 * float(steepest.abs().max()))
    y = torch.rand(x.shape, generator=generator)
    shares = []
    for size in (1e-3, 0.1, 1.0):
        turned = regulariser.gradient(y + size * x, 0.5) - regulariser.gradient(y, 0.5)
        shares.append(float((turned * x).sum() / (size * steepest * x).sum()))
    assert 0.05 < min(shares) < max(shares) < 1
    # Near zero every spline but the flat ends has its largest slope.
    tiny = regulariser.gradient(1e-3 * x, 0.5) / 1e-3
    torch.testing.assert_close(tiny, steepest, rtol=0, atol=1e-3 * float(steepest.abs().max()))
