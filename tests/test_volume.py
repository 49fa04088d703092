"""The average over three families of planes: what it computes, what is proved, and what is refused."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from deepinv.optim.data_fidelity import PoissonLikelihood
from deepinv.physics import Blur
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pnp_lip import (
    Certificate,
    CertificateRejected,
    LipschitzDenoiser,
    Refusal,
    Relaxed,
    VolumeDenoiser,
    certify,
    check_certificate,
)
from pnp_lip.certifier import local_rules, prove
from pnp_lip.certifier.rules import register_rule
from pnp_lip.certifier.statement import Statement, lipschitz
from pnp_lip.denoisers.frozen import Frozen
from pnp_lip.denoisers.tiled import receptive_radius
from pnp_lip.solvers import ADMM, ForwardBackward, PrimalDual, Status
from pnp_lip.solvers.execution import folded, unfolded


def images(channels: int = 1) -> LipschitzDenoiser:
    torch.manual_seed(3)
    network = LipschitzDenoiser(channels, depth=2, nf=6, kernel_size=3, pretrained=None)
    return network.requires_grad_(False).double().eval()


@functools.cache
def certified() -> Certificate:
    """Of the average with equal weights."""
    return certify(VolumeDenoiser(images()))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plane_by_plane(D: nn.Module, x: Tensor, sigma: float, weights: tuple[float, ...]) -> Tensor:
    """The definition, one plane of one channel or colour at a time."""
    total = torch.zeros_like(x)
    for axis, weight in zip((2, 3, 4), weights, strict=True):
        for index in range(x.shape[axis]):
            plane = x.select(axis, index)
            if D.in_channels == 1:
                parts = [D(plane[:, c : c + 1], sigma) for c in range(x.shape[1])]
                clean = torch.cat(parts, dim=1)
            else:
                clean = D(plane, sigma)
            total.select(axis, index).add_(weight / sum(weights) * clean)
    return total


@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 7), st.integers(1, 9), st.integers(1, 8)),
    channels=st.sampled_from([1, 2, 3]),
    colour=st.booleans(),
    weights=st.tuples(*[st.floats(0.01, 5)] * 3),
    zero=st.integers(0, 3),
)
@settings(max_examples=30, deadline=None)
def test_it_is_the_average_of_the_denoised_planes(
    shape: tuple[int, ...],
    channels: int,
    colour: bool,
    weights: tuple[float, ...],
    zero: int,
) -> None:
    D = images(3 if colour and channels == 3 else 1)
    weights = tuple(0.0 if index == zero else w for index, w in enumerate(weights))
    x = noise(shape[0], channels, *shape[1:])
    expected = plane_by_plane(D, x, 0.1, weights)
    torch.testing.assert_close(VolumeDenoiser(D, weights)(x, 0.1), expected, rtol=0, atol=1e-12)


def test_many_planes_in_parts_are_the_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    D, x = VolumeDenoiser(images()), noise(2, 1, 5, 6, 7)
    levels = torch.tensor([0.05, 0.2], dtype=torch.float64)
    whole = D(x, levels)
    monkeypatch.setattr("pnp_lip.denoisers.volume._PIXELS", 90)
    torch.testing.assert_close(D(x, levels), whole, rtol=0, atol=1e-13)
    for index, level in enumerate(levels.tolist()):
        alone = D(x[index : index + 1], level)
        torch.testing.assert_close(whole[index : index + 1], alone, rtol=0, atol=1e-13)


def test_its_certificate_is_that_of_the_denoiser_and_can_be_checked() -> None:
    D = images()
    plain, certificate = prove(D), certify(VolumeDenoiser(D, (1, 2, 4)))
    assert certificate.upper == plain.upper
    assert certificate.averagedness == plain.averagedness
    assert 0.9 < certificate.lower <= certificate.upper
    assert certificate.witness is not None
    assert certificate.witness.x.ndim == 5
    assert certificate.execution is None
    found = check_certificate(certificate, VolumeDenoiser(D, (1, 2, 4)))
    assert found.upper == plain.upper


def test_an_execution_error_of_the_average_is_not_believed() -> None:
    D = images()
    data = certified().to_dict()
    data["execution"] = {"relative": 1e-6, "offset": 0.0, "growth": 1.0, "shift": 0.0}
    with pytest.raises(CertificateRejected, match="execution error, of which nothing is proved"):
        check_certificate(data, VolumeDenoiser(D))


def test_a_relaxed_average_has_the_statement_of_the_relaxed_denoiser() -> None:
    D = images()
    one, other = prove(Relaxed(VolumeDenoiser(D), 0.5)), prove(VolumeDenoiser(Relaxed(D, 0.5)))
    plain = prove(Relaxed(D, 0.5))
    assert one.averagedness == other.averagedness == plain.averagedness


class Doubled(nn.Module):
    """Expansive, and said so."""

    def forward(self, x: Tensor, sigma: float = 0.0) -> Tensor:
        return 2 * x


def test_an_expansive_denoiser_makes_an_expansive_average() -> None:
    with local_rules():

        @register_rule(Doubled, keeps_shape=True)
        def _doubled(module: nn.Module, name: str, settings: Any) -> Statement:
            return lipschitz("twice", 2.0)

        statement = prove(VolumeDenoiser(Doubled(), (1, 1, 1)))
    assert statement.upper == 2
    assert statement.averagedness is None


def test_a_denoiser_of_some_sizes_only_is_refused() -> None:
    with local_rules():

        @register_rule(Doubled, keeps_shape=True)
        def _even(module: nn.Module, name: str, settings: Any) -> Statement:
            return Statement("even", 1.0, 0.5, conditions=("H % 2 == 0",))

        with pytest.raises(Refusal, match="H % 2 == 0, which planes of a volume need not meet"):
            prove(VolumeDenoiser(Doubled()))


def test_a_denoiser_that_may_change_the_size_is_refused() -> None:
    with local_rules():

        @register_rule(Doubled)
        def _any(module: nn.Module, name: str, settings: Any) -> Statement:
            return lipschitz("any", 1.0)

        with pytest.raises(Refusal, match="gives images of the size it takes"):
            prove(VolumeDenoiser(Doubled()))


@pytest.mark.parametrize(
    "weights", [(1, -1, 1), (0, 0, 0), (1, 1), (1, float("nan"), 1), (1, float("inf"), 1)]
)
def test_weights_that_are_no_average_are_refused_early_and_late(weights: Any) -> None:
    with pytest.raises(ValueError, match="three weights >= 0 with a positive sum"):
        VolumeDenoiser(images(), weights)
    volume = VolumeDenoiser(images())
    volume.weights = weights
    with pytest.raises(Refusal, match="three weights >= 0 with a positive sum"):
        prove(volume)
    with pytest.raises(CertificateRejected, match="averages planes with the weights"):
        check_certificate(certified(), volume)


@given(seed=st.integers(0, 100), size=st.floats(1e-3, 1))
@settings(max_examples=20, deadline=None)
def test_pairs_of_volumes_come_no_farther_apart(seed: int, size: float) -> None:
    D, upper = VolumeDenoiser(images(), (1, 0.5, 2)), certified().upper
    x, step = noise(1, 1, 5, 6, 7, seed=seed), size * noise(1, 1, 5, 6, 7, seed=seed + 1)
    moved = torch.linalg.vector_norm(D(x + step, 0.2) - D(x, 0.2))
    assert float(moved) <= upper * float(torch.linalg.vector_norm(step)) * (1 + 1e-12)


def test_an_image_is_no_volume() -> None:
    with pytest.raises(ValueError, match=r"volumes \[B, C, D, H, W\], got \(1, 1, 8, 8\)"):
        VolumeDenoiser(images())(noise(1, 1, 8, 8), 0.1)
    with pytest.raises(ValueError, match=r"volumes \[B, 3, D, H, W\], got \(1, 2, 4, 8, 8\)"):
        VolumeDenoiser(images(3))(noise(1, 2, 4, 8, 8), 0.1)


def test_the_receptive_radius_is_that_of_the_planes() -> None:
    D = VolumeDenoiser(images())
    assert receptive_radius(D) == receptive_radius(D.denoiser)
    assert receptive_radius(Relaxed(D, 0.5)) == receptive_radius(D.denoiser)


def test_a_solver_folds_the_denoiser_inside() -> None:
    D = VolumeDenoiser(images().float(), (2, 1, 1))
    inside = folded(Relaxed(D, 0.5), 0.1, None)
    assert isinstance(inside.denoiser, VolumeDenoiser)
    assert isinstance(inside.denoiser.denoiser, Frozen)
    assert inside.denoiser.weights == D.weights
    x = noise(1, 1, 5, 8, 9).float()
    torch.testing.assert_close(inside(x, 0.1), Relaxed(D, 0.5)(x, 0.1), rtol=0, atol=1e-6)
    again = unfolded(inside)
    assert isinstance(again, Relaxed)
    assert again.denoiser.denoiser is D.denoiser


def blurred() -> tuple[Tensor, Tensor, Blur]:
    """Two bright bars and their blur by a nonnegative kernel that is no product."""
    x = torch.full((1, 1, 9, 20, 22), 0.1)
    x[..., 3:6, 5:15, 6:9] = 0.9
    x[..., 2:4, 12:15, 10:19] = 0.7
    kernel = noise(1, 1, 3, 5, 5, seed=4).float() + 0.1
    physics = Blur(kernel / kernel.sum(), padding="circular")
    y: Tensor = physics.A(x)
    return x, y + 0.02 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0)), physics


def error(x: Tensor, truth: Tensor) -> float:
    return float((x - truth).square().mean().sqrt())


@pytest.mark.parametrize("method", [ForwardBackward, ADMM])
def test_volumes_are_deblurred_under_a_theorem(method: Any) -> None:
    x, y, physics = blurred()
    D = VolumeDenoiser(LipschitzDenoiser(1).requires_grad_(False))
    solution = method(D, 0.015, tol=1e-4, max_iter=60).solve(y, physics)
    assert solution.plan.guaranteed
    assert solution.plan.norm.upper == pytest.approx(1, abs=1e-5)
    assert solution.status is Status.CONVERGED
    assert error(solution.x, x) < 0.8 * error(y, x)


def test_photons_of_volumes_are_deconvolved_under_a_theorem() -> None:
    x, _, physics = blurred()
    gain = 1 / 50
    y = gain * torch.poisson(physics.A(x) / gain, generator=torch.Generator().manual_seed(1))
    D = VolumeDenoiser(LipschitzDenoiser(1).requires_grad_(False))
    fidelity = PoissonLikelihood(gain=gain, denormalize=True)
    solver = PrimalDual(D, 0.05, data_fidelity=fidelity, tol=1e-3, max_iter=60)
    solution = solver.solve(y, physics)
    assert solution.plan.guaranteed
    assert solution.status is Status.CONVERGED
    assert error(solution.x, x) < 0.8 * error(y, x)
