"""Certificates as files, what is rejected when they are checked again, and execution errors."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pnp_lip import LipschitzDenoiser, certify, firmly_nonexpansive
from pnp_lip.certifier import Certificate, prove, register_slope
from pnp_lip.checker import CertificateRejected, check_certificate
from pnp_lip.denoisers import Guard
from pnp_lip.layers import ConvGradientStep, GradientStep, NoiseClip
from pnp_lip.weights import weight_hash

pytest.importorskip("flint", reason="checking a certificate needs python-flint")

Data = dict[str, Any]


@pytest.fixture
def sequence() -> nn.Sequential:
    """What a user may write: affine layers and activations."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 1, 3, padding=1), nn.Sigmoid()
    )


@pytest.fixture(scope="module")
def certificate() -> tuple[LipschitzDenoiser, Certificate]:
    """A denoiser whose bound is strict, with its certificate; not to be changed."""
    torch.manual_seed(0)
    denoiser = LipschitzDenoiser(1, depth=2, nf=4, kernel_size=3, pretrained=None).eval()
    return denoiser, certify(denoiser)


@pytest.fixture
def certified(
    certificate: tuple[LipschitzDenoiser, Certificate],
) -> tuple[LipschitzDenoiser, Data]:
    """The same, to be tampered with."""
    return copy.deepcopy(certificate[0]), json.loads(json.dumps(certificate[1].to_dict()))


def test_a_certificate_survives_its_file(
    certificate: tuple[LipschitzDenoiser, Certificate], tmp_path: Path
) -> None:
    value = certificate[1]
    value.save(tmp_path / "certificate.json")
    assert Certificate.load(tmp_path / "certificate.json").to_dict() == value.to_dict()


def test_a_file_that_is_not_a_certificate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="expected format"):
        Certificate.load(path)
    path.write_text("not json")
    with pytest.raises(ValueError, match=r"other.json is not a certificate"):
        Certificate.load(path)
    with pytest.raises(CertificateRejected, match="not a certificate"):
        check_certificate(path, nn.ReLU())


def test_the_three_claims_are_kept_apart(
    certificate: tuple[LipschitzDenoiser, Certificate],
) -> None:
    claims = certificate[1].claims
    assert "In real arithmetic" in str(claims["network"])
    assert "rounding errors" in str(claims["computation"])
    assert "float32" in str(claims["execution"])


def test_an_execution_error_that_is_not_known_is_null(sequence: nn.Sequential) -> None:
    certificate = certify(sequence)
    assert certificate.execution is None
    assert certificate.to_dict()["claims"]["execution"] is None


def test_a_certificate_is_confirmed_for_a_network_and_for_its_tensors(
    certificate: tuple[LipschitzDenoiser, Certificate], tmp_path: Path
) -> None:
    path = tmp_path / "certificate.json"
    denoiser, value = certificate
    value.save(path)
    check_certificate(path, denoiser)
    check_certificate(path, denoiser.state_dict())


def test_a_relaxed_and_a_guarded_denoiser_are_confirmed(
    certificate: tuple[LipschitzDenoiser, Certificate],
) -> None:
    firm = Guard(firmly_nonexpansive(certificate[0], 1.0))
    value = certify(firm, sigma=(0.1,))
    assert value.averagedness is not None
    assert value.averagedness <= 0.5
    check_certificate(value, firm)
    relaxed = certify(firm.denoiser, sigma=(0.1,))
    check_certificate(relaxed, firm.denoiser.state_dict())


def test_a_sequence_is_confirmed_only_with_the_network(sequence: nn.Sequential) -> None:
    certificate = certify(sequence)
    check_certificate(certificate, sequence)
    with pytest.raises(CertificateRejected, match="pass the network"):
        check_certificate(certificate, sequence.state_dict())


def _lower(entry: Data, key: str) -> None:
    entry[key] -= 1e-9


def _lower_cover(data: Data) -> None:
    """Lower a layer's bound and everything that must agree with it."""
    layer = data["layers"][0]
    layer["bound"]["upper"] -= 1e-9
    layer["norm_upper"] = layer["bound"]["upper"]
    layer["gap"] = layer["norm_upper"] / layer["norm_lower"] - 1


def _remove_cell(data: Data) -> None:
    cells = data["layers"][0]["bound"]["cover"]["cells"]
    cells[min(cells)].pop()


TAMPERED: dict[str, tuple[Callable[[Data], Any], str]] = {
    "bound": (lambda d: _lower(d, "upper"), "claimed bound .* of the network is below"),
    "averagedness": (
        lambda d: _lower(d, "averagedness"),
        "claimed averagedness .* of the network is below",
    ),
    "layer bound": (
        lambda d: _lower(d["layers"][1], "upper"),
        r"claimed bound .* of layer 'layers.1' is below",
    ),
    "layer averagedness": (
        lambda d: _lower(d["layers"][1], "averagedness"),
        r"claimed averagedness .* of layer 'layers.1' is below",
    ),
    "norm": (_lower_cover, r"layer 'layers.0': the claimed upper bound"),
    "cell": (_remove_cell, r"layer 'layers.0': "),
    "missing layer": (lambda d: d["layers"].pop(), r"ends before layer 'layers.1'"),
    "extra layer": (lambda d: d["layers"].append(d["layers"][0]), "the network has not"),
    "order": (lambda d: d["layers"].reverse(), r"expected layer 'layers.0'"),
    "no proof": (lambda d: d["layers"][0].update(bound=None), "other norms than its bound"),
    "neither norm nor proof": (
        lambda d: d["layers"][0].update(bound=None, norm_upper=None, norm_lower=None, gap=None),
        "has no bound of its weight",
    ),
    "hash": (lambda d: d.update(sha256="0" * 64), "not the ones that were certified"),
    "lower bound": (lambda d: d.update(lower=0.5), "not the gain of the witness"),
    "contradiction": (lambda d: d.update(lower=1.1), "contradicts the upper bound"),
    "no witness": (lambda d: d.update(witness=None), "without a witness"),
    "text": (lambda d: d.update(upper="1"), "has 1 as its 'upper'"),
    "entry": (lambda d: d["layers"][0].pop("upper"), "no entry .*'upper'"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_certificate_that_was_tampered_with_is_rejected(
    name: str, certified: tuple[LipschitzDenoiser, Data]
) -> None:
    denoiser, data = certified
    tamper, reason = TAMPERED[name]
    tamper(data)
    with pytest.raises(CertificateRejected, match=reason):
        check_certificate(data, denoiser)


def test_a_tampered_weight_is_rejected(certified: tuple[LipschitzDenoiser, Data]) -> None:
    denoiser, data = certified
    state = {name: value.clone() for name, value in denoiser.state_dict().items()}
    state["layers.0.weight"].view(-1)[0] += 1e-7
    with pytest.raises(CertificateRejected, match="not the ones that were certified"):
        check_certificate(data, state)


def test_a_tampered_weight_is_rejected_even_with_its_hash(
    certified: tuple[LipschitzDenoiser, Data],
) -> None:
    denoiser, data = certified
    louder = copy.deepcopy(denoiser)
    with torch.no_grad():
        louder.get_parameter("layers.0.weight").mul_(1.5)
    data["sha256"] = weight_hash(louder.state_dict())
    with pytest.raises(CertificateRejected, match="not the one that the bound was proved for"):
        check_certificate(data, louder)


def test_a_false_witness_is_rejected(certified: tuple[LipschitzDenoiser, Data]) -> None:
    denoiser, data = certified
    data["lower"] = data["witness"]["gain"] = 1.0
    with pytest.raises(CertificateRejected, match="the witness has the gain"):
        check_certificate(data, denoiser)


def test_a_parametrised_layer_is_confirmed_with_the_weight_that_acts() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 2, 3, padding=1)).eval()
    check_certificate(certify(layer), layer)


def test_tensors_that_a_denoiser_does_not_have_are_named(
    certified: tuple[LipschitzDenoiser, Data],
) -> None:
    denoiser, data = certified
    state = dict(denoiser.state_dict()) | {"layers.0.bias": torch.ones(8)}
    data["sha256"] = weight_hash(state)
    with pytest.raises(CertificateRejected, match=r"has no tensor 'layers.0.bias'"):
        check_certificate(data, state)


def test_the_file_holds_one_line_a_layer(
    certificate: tuple[LipschitzDenoiser, Certificate], tmp_path: Path
) -> None:
    path = tmp_path / "certificate.json"
    certificate[1].save(path)
    lines = path.read_text().splitlines()
    assert sum(line.startswith('{"name": "layers.') for line in lines) == 2
    assert json.loads("\n".join(lines))["layers"][0]["gap"] <= 1.01e-3


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_float32_stays_within_the_stated_execution_error(bias: bool, seed: int) -> None:
    torch.manual_seed(seed)
    activation = NoiseClip(6, (0.1, 0.5), (1.0, 0.5))
    step = ConvGradientStep(torch.randn(6, 2, 3, 3) / 9, activation, tau=0.7, bias=bias)
    if step.bias is not None:
        nn.init.normal_(step.bias)
    execution = prove(step).execution
    assert execution is not None
    x, sigma = torch.randn(1, 2, 20, 20), torch.tensor([0.2])
    with torch.no_grad():
        exact = copy.deepcopy(step).double()(x.double(), sigma.double())
        error = float(torch.linalg.vector_norm(step(x, sigma).double() - exact))
    assert 0 < error <= execution.error(float(x.norm()), 400)
    assert (execution.offset > 0) == bias
    assert float(exact.norm()) <= execution.growth * float(x.norm()) + execution.shift * 20


@pytest.mark.parametrize(
    "network",
    [
        nn.Conv2d(2, 5, 3, padding=1),
        nn.Conv2d(4, 6, 5, stride=2, groups=2, padding_mode="reflect", padding=2),
        nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1, bias=False)),
        nn.Sequential(nn.Linear(12, 30), nn.ReLU(), nn.Linear(30, 7)),
    ],
    ids=["convolution", "strided, reflected", "sequence", "dense"],
)
@pytest.mark.filterwarnings("ignore:.*padding multiplies")
def test_float32_of_affine_layers_stays_within_the_stated_execution_error(
    network: nn.Module,
) -> None:
    execution = prove(network).execution
    assert execution is not None
    first = next(network.parameters())
    dense = first.ndim == 2
    channels = 4 if isinstance(network, nn.Conv2d) and network.groups == 2 else 2
    x = torch.randn(1, 12) if dense else torch.randn(1, channels, 20, 20)
    pixels = 1 if dense else 400
    with torch.no_grad():
        exact = copy.deepcopy(network).double()(x.double())
        error = float(torch.linalg.vector_norm(network(x).double() - exact))
    assert 0 < error <= execution.error(float(x.norm()), pixels)
    assert float(exact.norm()) <= execution.growth * float(x.norm()) + execution.shift * pixels**0.5


def test_no_execution_error_is_stated_where_a_layer_adds_pixels() -> None:
    assert prove(nn.Conv2d(1, 1, 3, padding=2)).execution is None


def test_execution_errors_of_a_chain_add_up(small_denoiser: LipschitzDenoiser) -> None:
    statement = prove(small_denoiser)
    parts = [leaf.execution for leaf in statement.leaves()]
    assert statement.execution is not None
    assert statement.execution.relative >= sum(part.relative for part in parts if part is not None)


def test_float32_of_a_denoiser_stays_within_the_stated_execution_error(
    small_denoiser: LipschitzDenoiser,
) -> None:
    execution = prove(small_denoiser).execution
    assert execution is not None
    x = torch.rand(1, 1, 24, 24)
    found = small_denoiser(x, 0.1).double()
    error = float(torch.linalg.vector_norm(found - small_denoiser.double()(x.double(), 0.1)))
    assert 0 < error <= execution.error(float(x.norm()), x.numel())


def test_no_execution_error_is_stated_for_an_unknown_activation() -> None:
    class Cube(nn.Module):
        def forward(self, t: torch.Tensor, sigma: torch.Tensor | None = None) -> torch.Tensor:
            return torch.tanh(t)

    register_slope(Cube, lambda _: (0.0, 1.0))
    step = GradientStep(3, 3, Cube())  # type: ignore[arg-type]
    assert prove(step).execution is None


def test_no_execution_error_is_stated_for_a_step_uphill_or_in_float64() -> None:
    assert prove(_step(0.1)).execution is not None
    assert prove(_step(-0.1)).execution is None
    assert prove(_step(0.1).double()).execution is None


def _step(tau: float) -> GradientStep:
    torch.manual_seed(0)
    step = GradientStep(3, 4).requires_grad_(False)
    step.tau.fill_(tau)
    return step
