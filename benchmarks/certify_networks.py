"""Whole networks certified, and what it costs: proof, witness, independent check, guard.

    python -m benchmarks.certify_networks

Honest denoisers first, then three networks that claim to be nonexpansive and are not: a deepinv
DnCNN with random weights, a convolution under torch's ``spectral_norm``, and a gradient step whose
step length came from one step of the power method. Processor time, one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import TypeVar

import torch
from deepinv.models import DnCNN
from torch import Tensor, nn

from benchmarks.record import record
from pnp_lip import LipschitzDenoiser, certify, firmly_nonexpansive
from pnp_lip.certifier import prove
from pnp_lip.checker import CertificateRejected, check_certificate
from pnp_lip.data.photographs import photograph
from pnp_lip.denoisers import Guard
from pnp_lip.layers import ConvGradientStep

_Result = TypeVar("_Result")

#: Repetitions of a timing, of which the fastest counts.
_REPEATS = 5


@dataclass(frozen=True)
class Row:
    """One network; times in seconds, ``check`` is ``None`` where it cannot be checked again."""

    network: str
    upper: float
    lower: float
    averagedness: float | None
    worst_layer_gap: float
    prove: float
    witness: float
    check: float | None


def networks() -> Iterator[tuple[str, nn.Module, Tensor | None]]:
    """Names, networks and, where the default would take long, the image to start from."""
    torch.manual_seed(0)
    grey = LipschitzDenoiser(1)
    yield "LipschitzDenoiser(1), shipped", grey, None
    yield "the same, firmly nonexpansive", firmly_nonexpansive(grey, _averagedness(grey)), None
    yield "Sequential(conv, ReLU, conv)", nn.Sequential(_conv(1, 8), nn.ReLU(), _conv(8, 1)), None
    small = photograph("camera")[..., 60:72, 90:102].double()
    yield "DnCNN, 20 layers of 64, random", DnCNN(1, 1, 20, nf=64, pretrained=None), small
    normed = nn.utils.parametrizations.spectral_norm(_conv(3, 16), n_power_iterations=100).eval()
    yield "torch spectral_norm on a convolution", normed, None
    yield "gradient step, one power step", stopped_early(torch.randn(16, 1, 5, 5)), None


def stopped_early(weight: Tensor) -> ConvGradientStep:
    """``tau = 2 / s^2`` with ``s <= |W|`` from one step of the power method."""
    v = torch.randn(1, weight.shape[1], 32, 32)
    s = torch.linalg.vector_norm(nn.functional.conv2d(v / v.norm(), weight, padding=2))
    return ConvGradientStep(weight, tau=2 / float(s) ** 2, bias=False)


def measure(name: str, network: nn.Module, image: Tensor | None) -> Row:
    """Certify one network and time its parts."""
    proving, _ = _timed(lambda: prove(network))
    total, certificate = _timed(lambda: certify(network, images=image))
    try:
        check: float | None = _timed(lambda: check_certificate(certificate, network))[0]
    except CertificateRejected:
        check = None
    bounds = [layer.bound for layer in certificate.layers if layer.bound is not None]
    gap = max((b.upper / b.lower - 1 for b in bounds if b.lower > 0), default=0.0)
    return Row(
        name,
        certificate.upper,
        certificate.lower,
        certificate.averagedness,
        gap,
        proving,
        max(0.0, total - proving),
        check,
    )


def guard_overhead(side: int) -> float:
    """The guard's own time as a fraction of the shipped denoiser's call."""
    denoiser = LipschitzDenoiser(1)
    guard, x = Guard(_Passing()), torch.rand(1, 1, side, side)
    with torch.no_grad():
        call = min(_timed(lambda: denoiser(x, 0.1))[0] for _ in range(_REPEATS))
        inputs = [x + 1e-3 * index for index in range(4 * _REPEATS)]
        watch = min(_timed(partial(guard.forward, image, 0.1))[0] for image in inputs)
    return watch / call


class _Passing(nn.Module):
    def forward(self, x: Tensor, sigma: float) -> Tensor:
        return x


def _averagedness(denoiser: nn.Module) -> float:
    averagedness = prove(denoiser).averagedness
    assert averagedness is not None
    return averagedness


def _conv(c_in: int, c_out: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, padding=1)


def _timed(action: Callable[[], _Result]) -> tuple[float, _Result]:
    start = time.process_time()
    result = action()
    return time.process_time() - start, result


def main() -> None:
    """Print the table and record it."""
    torch.set_num_threads(1)
    rows = [measure(*one) for one in networks()]
    overhead = {side: guard_overhead(side) for side in (64, 256)}
    print(
        f"{'network':38}{'upper':>12}{'lower':>10}{'gap':>9}{'prove':>8}{'witness':>9}{'check':>8}"
    )
    for row in rows:
        check = "-" if row.check is None else f"{row.check:.2f}"
        print(
            f"{row.network:38}{row.upper:12.6g}{row.lower:10.5g}{row.worst_layer_gap:9.1e}"
            f"{row.prove:8.2f}{row.witness:9.2f}{check:>8}"
        )
    print("guard, share of a call:", ", ".join(f"{s}^2 {v:.2%}" for s, v in overhead.items()))
    record(
        "certify_networks",
        {"networks": [asdict(row) for row in rows], "guard_overhead": overhead},
    )


if __name__ == "__main__":
    main()
