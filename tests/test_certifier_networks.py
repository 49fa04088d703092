"""Networks that are not what they claim, each exposed by a pair of inputs; and honest ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from deepinv.models import DnCNN
from torch import Tensor, nn

from pnp_lip import LipschitzDenoiser, certify
from pnp_lip.certifier import Certificate, Refusal, find_witness, gain, prove
from pnp_lip.certifier.examples import measure
from pnp_lip.layers import ConvGradientStep
from pnp_lip.norms import convolution_norm


def _require_exposed(network: nn.Module, claim: float, certificate: Certificate) -> None:
    """The witness contradicts ``claim`` by itself, and the proved bound is above it."""
    witness = certificate.witness
    assert witness is not None
    again = (witness.x, witness.y)
    exact = network.double()
    level = [] if witness.sigma is None else [witness.sigma]
    assert gain(lambda x: exact(x, *level), *again) == pytest.approx(witness.gain, rel=1e-9)
    assert claim < certificate.lower <= certificate.upper


def test_a_random_dncnn_is_exposed_as_expansive() -> None:
    torch.manual_seed(0)
    network = DnCNN(1, 1, depth=4, nf=8, pretrained=None)
    _require_exposed(network, 1.0, certify(network, sigma=(0.1,)))


def test_spectral_norm_of_torch_is_exposed_on_a_convolution() -> None:
    """The norm of the reshaped kernel is below that of the convolution."""
    torch.manual_seed(0)
    layer = nn.utils.parametrizations.spectral_norm(
        nn.Conv2d(3, 8, 3, padding=1), n_power_iterations=100
    ).eval()
    weight = torch.as_tensor(layer.weight)
    reshaped = torch.linalg.matrix_norm(weight.flatten(1).detach(), 2)
    assert float(reshaped) == pytest.approx(1.0, abs=1e-3)
    certificate = certify(layer)
    _require_exposed(layer, 1.2, certificate)


def test_the_old_spectral_norm_of_torch_is_refused_for_the_weight_it_replaces() -> None:
    layer = nn.utils.spectral_norm(nn.Conv2d(1, 1, 3)).eval()
    before = layer.weight
    with pytest.raises(Refusal, match="changes attributes of its own"):
        prove(layer)
    assert layer.weight is before


class StoppedEarly(nn.Module):
    """``x - tau W^T relu(W x)`` with ``tau = 2 / s^2``, ``s`` from one step of the power method."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        v = torch.randn(1, weight.shape[1], 16, 16)
        w = nn.functional.conv2d(v / v.norm(), weight, padding=1)
        self.step = ConvGradientStep(weight, tau=2 / float(w.norm()) ** 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.step(x)
        return out


def test_a_step_length_from_one_power_step_is_exposed() -> None:
    torch.manual_seed(0)
    network = StoppedEarly(torch.randn(4, 1, 3, 3))
    certificate = certify(network)
    assert certificate.averagedness is None
    _require_exposed(network, 1.0, certificate)


class Backbone(nn.Module):
    """Layers in a dictionary, used through their names: a scan of known children finds none."""

    tail: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({"head": nn.Conv2d(1, 4, 3, padding=1, bias=False)})
        self.tail = nn.Parameter(torch.randn(1, 4, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        features = torch.relu(self.parts["head"](x))
        return nn.functional.conv2d(features, self.tail, padding=1)


def test_no_convolution_is_dropped_however_it_is_called() -> None:
    torch.manual_seed(0)
    network = Backbone()
    certificate = certify(network)
    head = convolution_norm(network.get_parameter("parts.head.weight").detach())
    tail = convolution_norm(network.tail.detach())
    assert certificate.upper == pytest.approx(head.upper * tail.upper, rel=1e-12)
    _require_exposed(network, 1.0, certificate)


def test_zero_padded_convolutions_are_not_bounded_by_the_product_of_their_symbols() -> None:
    """First differences, then sums of five: the product symbol is 1 - z^5, of norm 2; at the
    border the zeros come between the two layers and the norm is larger."""
    difference = nn.Conv1d(1, 1, 2, padding=1, bias=False)
    box = nn.Conv1d(1, 1, 5, padding=4, bias=False)
    with torch.no_grad():
        difference.weight.copy_(torch.tensor([[[1.0, -1.0]]]))
        box.weight.fill_(1.0)
    valid = nn.Conv1d(1, 1, 2, bias=False)
    same = nn.Conv1d(1, 1, 5, padding=2, bias=False)
    valid.weight, same.weight = difference.weight, box.weight
    network = nn.Sequential(nn.ZeroPad2d((1, 0, 0, 0)), valid, same)
    dense = network.double()(torch.eye(24, dtype=torch.float64)[:, None])[:, 0]
    true = float(torch.linalg.matrix_norm(dense.detach(), 2))
    assert true == pytest.approx(2.121, abs=2e-3)
    assert prove(network).upper >= true


def test_the_witness_of_a_linear_network_is_tight() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.Conv2d(3, 1, 3, padding=1, bias=False)
    ).double()
    basis = torch.eye(144, dtype=torch.float64).reshape(144, 1, 12, 12)
    true = float(torch.linalg.matrix_norm(network(basis).detach().flatten(1), 2))
    witness = find_witness(network, torch.rand(1, 1, 12, 12, dtype=torch.float64), climbs=40)
    assert 0.999 * true <= witness.gain <= true * (1 + 1e-9)


def test_ascent_in_the_input_finds_what_a_fixed_input_hides() -> None:
    """``relu(3 x - 9)`` is constant around 0: only a pair that moves away from it shows the slope."""

    def network(x: Tensor) -> Tensor:
        return nn.functional.softplus(3 * x - 9)

    x = torch.full((1, 4), 1.0, dtype=torch.float64)
    fixed = find_witness(network, x, radii=(1e-3,), climbs=0)
    free = find_witness(network, x, radii=(1e-3,))
    assert fixed.gain < 0.01
    assert free.gain > 2.9


def test_a_gain_is_not_counted_where_it_is_not_a_number() -> None:
    witness = find_witness(lambda x: x * float("nan"), torch.ones(1, 2, dtype=torch.float64))
    assert witness.gain == 0.0


def test_measuring_never_exceeds_the_proof_on_an_honest_denoiser(
    small_denoiser: LipschitzDenoiser,
) -> None:
    certificate = certify(small_denoiser)
    assert 0.9 < certificate.lower <= certificate.upper == 1.0
    assert certificate.witness is not None
    assert certificate.witness.sigma in (0.02, 0.1)


def test_no_witness_is_claimed_where_no_input_fits() -> None:
    assert certify(nn.ReLU()).witness is None
    assert measure(nn.Linear(3, 3), [torch.rand(1, 5)], ()) is None


def test_a_counterexample_is_written_as_arrays_and_pictures(tmp_path: Path) -> None:
    network = nn.Conv2d(1, 1, 3, padding=1)
    witness = certify(network).witness
    assert witness is not None
    paths = witness.save(tmp_path)
    assert {path.name for path in paths} == {
        f"counterexample_{letter}.{suffix}" for letter in "xy" for suffix in ("npy", "png")
    }
    assert np.array_equal(np.load(tmp_path / "counterexample_x.npy"), witness.x.numpy())


def test_a_network_of_single_images_is_measured_as_well() -> None:
    class Single(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(x.reshape(1, 8, 72))

    certificate = certify(Single(), images=torch.rand(1, 1, 24, 24))
    assert "B == 1" in certificate.statement.conditions
    assert 0.5 < certificate.lower <= certificate.upper <= 1.0
