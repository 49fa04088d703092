"""The benchmark of inverse problems: strengths are never at an edge, and rows grow by images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.choice import best_inside
from benchmarks.problem_methods import Ours
from benchmarks.problem_peers import variation
from benchmarks.problem_tables import kernels_table, problems_table
from benchmarks.problems import grown
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


def test_total_variation_is_minimised() -> None:
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

    found, _ = variation(problem, weight)
    others = [problem.y, truth + 0.2, torch.rand(truth.shape, generator=generator)]
    for other in others:
        for share in (0.003, 0.03, 0.3, 1.0):
            assert cost(found) < 1.002 * cost(found + share * (other - found))
