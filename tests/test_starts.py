"""Where a solve begins: A*y, the pseudo-inverse, an image, or the end of another solve."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from deepinv.optim.data_fidelity import L2
from deepinv.physics import Inpainting, LinearPhysics, Tomography
from torch import Tensor

from pnp_lip import LipschitzDenoiser
from pnp_lip.solvers import ADMM, ForwardBackward, ObservationError, PlugAndPlay, PrimalDual

KINDS: list[tuple[type[PlugAndPlay], dict[str, Any]]] = [
    (ForwardBackward, {}),
    (ADMM, {}),
    (PrimalDual, {"data_fidelity": L2()}),
]


def masked(image: Tensor) -> tuple[Inpainting, Tensor]:
    draw = torch.Generator().manual_seed(1)
    mask = (torch.rand(image.shape[1:], generator=draw) > 0.4).float()
    physics = Inpainting(tuple(image.shape[1:]), mask=mask)
    return physics, physics.A(image)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_solution_continues_where_it_ended(
    kind: type[PlugAndPlay],
    options: dict[str, Any],
    small_denoiser: LipschitzDenoiser,
    image: Tensor,
) -> None:
    physics, y = masked(image)
    options = options | {"scheme": "krasnoselskii-mann"}
    short = kind(small_denoiser, 0.05, max_iter=6, tol=1e-9, **options).solve(y, physics)
    more = kind(small_denoiser, 0.05, max_iter=5, tol=1e-9, **options).solve(y, physics, init=short)
    whole = kind(small_denoiser, 0.05, max_iter=11, tol=1e-9, **options).solve(y, physics)
    torch.testing.assert_close(more.variable, whole.variable, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(more.x, whole.x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_a_solve_from_a_solution_ends_at_once(
    kind: type[PlugAndPlay],
    options: dict[str, Any],
    small_denoiser: LipschitzDenoiser,
    image: Tensor,
) -> None:
    physics, y = masked(image)
    solver = kind(small_denoiser, 0.05, tol=1e-4, **options)
    assert solver.solve(y, physics, init=solver.solve(y, physics)).iterations <= 2


def test_an_anchored_solve_continues_with_the_same_anchor(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics, y = masked(image)
    solver = ForwardBackward(small_denoiser, 0.05, anchor=0.1, tol=1e-6)
    first = solver.solve(y, physics)
    again = solver.solve(y, physics, init=first)
    torch.testing.assert_close(again.x, first.x, rtol=1e-4, atol=1e-5)


def test_the_solution_of_another_method_is_refused(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    physics, y = masked(image)
    found = ForwardBackward(small_denoiser, 0.05, max_iter=3).solve(y, physics)
    with pytest.raises(ObservationError, match=r"by the same method.*init=solution\.x"):
        PrimalDual(small_denoiser, 0.05, data_fidelity=L2()).solve(y, physics, init=found)


def test_the_pseudo_inverse_is_a_better_start_for_projections_of_any_scale(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    x = image[..., :24, :24].contiguous()
    physics = Tomography(img_width=24, angles=20, normalize=False)
    y = physics.A(x)
    solver = ForwardBackward(small_denoiser, 0.0, max_iter=1)
    far, near = (solver.solve(y, physics, init=init).x for init in (None, "dagger"))
    assert float((near - x).norm()) < 0.7 * float((far - x).norm())


def test_the_solver_of_the_physics_stays_as_it_was(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    x = image[..., :24, :24].contiguous()
    physics = Tomography(img_width=24, angles=12, normalize=True, solver="lsqr")
    before = physics.solver
    ForwardBackward(small_denoiser, 0.01, max_iter=2).solve(physics.A(x), physics, init="dagger")
    assert physics.solver == before == "lsqr"


def test_a_start_with_another_name_or_without_pseudo_inverse_is_refused(
    small_denoiser: LipschitzDenoiser, image: Tensor
) -> None:
    class NoInverse(Inpainting):
        def A_dagger(self, y: Tensor, **kwargs: Any) -> Tensor:
            raise NotImplementedError("none")

    physics, y = masked(image)
    solver = ForwardBackward(small_denoiser, 0.01, max_iter=2)
    with pytest.raises(ObservationError, match="'dagger' or a solution, got 'zero'"):
        solver.solve(y, physics, init="zero")  # type: ignore[arg-type]
    other: LinearPhysics = NoInverse(tuple(image.shape[1:]), mask=physics.mask)
    with pytest.raises(ObservationError, match=r"pseudo-inverse of this physics fails \(none\)"):
        solver.solve(y, other, init="dagger", norm=1.0)
