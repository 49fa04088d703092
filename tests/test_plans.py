"""The plan of a run names its map, step and theorem, and every hypothesis with its numbers."""

from __future__ import annotations

import re
from typing import Any

import deepinv as dinv
import pytest
import torch
from deepinv.physics import MRI, Blur, Denoising, Downsampling, LinearPhysics, Tomography

from pnp_lip import LipschitzDenoiser
from pnp_lip.solvers import ADMM, ForwardBackward, Plan, PlugAndPlay, PrimalDual
from pnp_lip.solvers.grounds import about_denoiser

N = 16
LEVEL = 0.05


def physics(name: str) -> LinearPhysics:
    mask = (torch.rand(N, N, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    made: dict[str, LinearPhysics] = {
        "CT": Tomography(img_width=N, angles=9, normalize=False),
        "MRI": MRI(mask=mask, img_size=(2, N, N)),
        "super-resolution": Downsampling((1, N, N), filter="bicubic", factor=2, padding="reflect"),
        "Poisson": Blur(torch.ones(1, 1, 3, 3) / 9, padding="circular"),
        "denoising": Denoising(),
    }
    return made[name]


def plan(solver: PlugAndPlay, name: str) -> Plan:
    operator = physics(name)
    x = torch.rand(1, 2 if name == "MRI" else 1, N, N)
    data = solver.data_term(operator.A(x), operator)
    return solver.plan(data, data.adjoint_of_y)


@pytest.mark.parametrize("name", ["CT", "MRI", "super-resolution"])
def test_forward_backward_states_map_step_theorem_and_hypotheses(
    name: str, small_denoiser: LipschitzDenoiser
) -> None:
    found = plan(ForwardBackward(small_denoiser, LEVEL, box=(0, 1)), name)
    text = found.summary()
    assert found.guaranteed
    assert "Anderson steps of P_[0, 1] D(x - gamma A*(A x - y))" in text
    assert "Krasnosel'skii-Mann theorem for averaged maps" in text
    assert "which exists, because the images are kept in a box" in text
    assert re.search(r"because D is averaged with alpha <= 0\.\d+ \(proved\); ", text)
    step, limit = map(
        float, re.findall(r"gamma = (\S+) < 2/L with L = \|A\|\^2, 2/L >= (\S+);", text)[0]
    )
    assert step == pytest.approx(found.stepsize, rel=1e-5)
    assert step < limit <= 2 / found.norm.upper**2
    assert "A is linear, A* its adjoint and |A| below its bound (tried on seeded vectors)" in text


@pytest.mark.parametrize("name", ["CT", "MRI", "super-resolution"])
def test_admm_states_the_inclusion_that_it_solves(
    name: str, small_denoiser: LipschitzDenoiser
) -> None:
    found = plan(ADMM(small_denoiser, LEVEL), name)
    text = found.summary()
    assert found.guaranteed
    assert "Anderson steps of w + prox_(gamma f)(2 D(w) - w) - D(w)" in text
    assert "a solution of 0 in (D^-1 - I)x + gamma grad f(x), if there is one" in text
    assert "because D, applied as (1 - lambda) I + lambda D with lambda = 0.5" in text
    assert "is firmly nonexpansive (proved); f(x) = |A x - y|^2 / 2 is convex; gamma = " in text
    assert ("conjugate gradients" in text) == (name != "MRI")


def test_the_primal_dual_method_states_the_data_term_and_the_product_of_its_steps(
    small_denoiser: LipschitzDenoiser,
) -> None:
    fidelity = dinv.optim.PoissonLikelihood(gain=0.01)
    found = plan(PrimalDual(small_denoiser, LEVEL, data_fidelity=fidelity), "Poisson")
    text = found.summary()
    assert (
        "Anderson steps of x+ = D(x - tau A*u), u+ = prox_(sigma g*)(u + sigma A(2 x+ - x))" in text
    )
    assert "Condat-Vu" in text
    assert "g is convex with a known proximity operator: PoissonLikelihood" in text
    assert float(re.findall(r"tau sigma \|A\|\^2 <= (\S+) < 1", text)[0]) >= 0.9


def test_a_contraction_states_its_factor_or_by_how_little_it_contracts(
    small_denoiser: LipschitzDenoiser,
) -> None:
    strong = plan(ForwardBackward(small_denoiser, LEVEL, stepsize=0.5), "denoising")
    assert strong.contraction is not None
    assert float(re.findall(r"q <= (\S+),", strong.summary())[0]) >= strong.contraction
    anchored = plan(ADMM(small_denoiser, LEVEL, anchor=0.25), "MRI").summary()
    assert (
        "Anderson steps of (1 - rho) [w + prox_(gamma f)(2 D(w) - w) - D(w)] + rho x_ref, rho = 0.25"
        in anchored
    )
    assert "q <= 0.75" in anchored
    kernel = torch.zeros(1, 1, 1, 3)
    kernel[..., 0], kernel[..., 1] = 0.499999, 0.500001
    operator = dinv.physics.BlurFFT((1, N, N), filter=kernel)
    solver = ForwardBackward(small_denoiser, LEVEL)
    data = solver.data_term(torch.rand(1, 1, N, N), operator)
    weak = solver.plan(data, data.adjoint_of_y).summary()
    assert re.search(
        r"only fixed point \(the map contracts, but with 1 - q = \de-1\d too weakly", weak
    )


def test_a_refusal_claims_no_hypothesis_in_text_or_report(
    small_denoiser: LipschitzDenoiser,
) -> None:
    solver: Any = ForwardBackward(small_denoiser, LEVEL, stepsize=5.0, unproved=True)
    found = plan(solver, "denoising")
    assert "NO GUARANTEE: the stepsize must be below 2/L" in found.summary()
    assert "because" not in found.summary()
    assert found.to_dict()["hypotheses"] == []
    kept = plan(ForwardBackward(small_denoiser, LEVEL), "denoising").to_dict()
    assert len(kept["hypotheses"]) == 3
    assert kept["iteration"] == "D(x - gamma A*(A x - y))"


def test_what_is_not_proved_of_a_denoiser_is_said() -> None:
    assert about_denoiser(None, 1.0) == "nothing is proved of the denoiser"
