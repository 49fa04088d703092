"""Shrinking groups of responses is the gradient of a convex function, and cheap to believe."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import jacrev

from pnp_lip import LipschitzDenoiser
from pnp_lip.certifier import certify, check_certificate
from pnp_lip.layers import NoiseClip, NoiseGroupClip, group_clip, project

KNOTS = (0.01, 0.05, 0.2)
SIGMA = torch.tensor([0.1], dtype=torch.float64)


def scrambled(channels: int, neighbourhood: int, seed: int) -> NoiseGroupClip:
    torch.manual_seed(seed)
    activation = NoiseGroupClip(channels, KNOTS, (6.0, 2.0), neighbourhood).double()
    for parameter in activation.parameters():
        parameter.data += torch.randn(parameter.shape)
    return activation


def spectrum(activation: NoiseGroupClip, t: Tensor) -> tuple[Tensor, Tensor]:
    """The eigenvalues of the Jacobian at ``t``, and how far it is from symmetric."""
    jacobian = jacrev(lambda v: activation(v, SIGMA))(t).reshape(t.numel(), t.numel())
    return torch.linalg.eigvalsh((jacobian + jacobian.T) / 2), (jacobian - jacobian.T).abs().max()


@settings(max_examples=30, deadline=None)
@given(
    channels=st.integers(1, 4),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    neighbourhood=st.sampled_from([1, 3, 5]),
    seed=st.integers(0, 10_000),
)
def test_the_jacobian_is_symmetric_with_its_spectrum_between_zero_and_one(
    channels: int, height: int, width: int, neighbourhood: int, seed: int
) -> None:
    activation = scrambled(channels, neighbourhood, seed)
    t = torch.randn(1, channels, height, width, dtype=torch.float64)
    values, asymmetry = spectrum(activation, t)
    assert asymmetry < 1e-9
    assert values.min() > -1e-9
    assert values.max() < 1 + 1e-9


def test_groups_that_count_a_response_twice_expand(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = group_clip._mix
    monkeypatch.setattr(group_clip, "_mix", lambda mixing, values: 2 * honest(mixing, values))
    activation = scrambled(3, 3, 0)
    values, _ = spectrum(activation, 0.1 * torch.randn(1, 3, 4, 4, dtype=torch.float64))
    assert values.max() > 1.5


def test_groups_of_one_response_are_entrywise_clips() -> None:
    groups = NoiseGroupClip(3, KNOTS, (3.0, 0.7), neighbourhood=1).double()
    groups.mixing.data = 1e3 * torch.eye(3, dtype=torch.float64)
    alone = NoiseClip(3, KNOTS, (3.0, 0.7)).double()
    t = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    sigma = torch.tensor([0.02, 0.3], dtype=torch.float64)
    assert torch.allclose(groups(t, sigma), alone(t, sigma), atol=1e-6)


def test_it_vanishes_without_noise() -> None:
    t = torch.randn(1, 4, 5, 5, dtype=torch.float64)
    assert float(scrambled(4, 3, 1)(t, 0 * SIGMA).detach().abs().max()) == 0.0


@pytest.fixture
def denoiser() -> LipschitzDenoiser:
    torch.manual_seed(3)
    sizes = {"depth": 2, "nf": 8, "kernel_size": 3, "neighbourhood": 3}
    made = LipschitzDenoiser(1, **sizes, pretrained=None)  # type: ignore[arg-type]
    for name, parameter in made.named_parameters():
        if "activation" in name:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    project(made, averagedness=0.9)
    return made.eval()


def test_a_network_with_groups_is_certified_and_the_certificate_is_checked_again(
    denoiser: LipschitzDenoiser,
) -> None:
    certificate = certify(denoiser)
    assert certificate.upper == 1.0
    assert certificate.averagedness is not None
    assert certificate.averagedness < 0.95
    check_certificate(certificate, denoiser)
    check_certificate(certificate, denoiser.state_dict())


def test_the_stated_execution_error_covers_float32(denoiser: LipschitzDenoiser) -> None:
    error = certify(denoiser).execution
    assert error is not None
    x = torch.rand(1, 1, 24, 24)
    with torch.no_grad():
        found = denoiser(x, 0.1).double()
        reference = denoiser.double()(x.double(), 0.1)
    difference = float(torch.linalg.vector_norm(found - reference))
    assert 0 < difference <= error.error(float(torch.linalg.vector_norm(x.double())), x.numel())


@pytest.mark.parametrize("neighbourhood", [0, 2, -1])
def test_a_window_without_a_centre_is_refused(neighbourhood: int) -> None:
    with pytest.raises(ValueError, match="neighbourhood must be odd"):
        NoiseGroupClip(2, KNOTS, neighbourhood=neighbourhood)


def test_responses_of_the_wrong_shape_or_without_noise_level_are_named() -> None:
    activation = NoiseGroupClip(2, KNOTS)
    with pytest.raises(ValueError, match=r"\[B, K, H, W\]"):
        activation(torch.zeros(3, 2), SIGMA)
    with pytest.raises(TypeError, match="noise level"):
        activation(torch.zeros(1, 2, 3, 3))
