"""Whole networks certified, and what it costs: proof, witness, independent check, guard.

    python -m benchmarks.certify_networks

Honest denoisers first, then three networks that claim to be nonexpansive and are not: a deepinv
DnCNN with random weights, a convolution under torch's ``spectral_norm``, and a gradient step whose
step length came from one step of the power method. Processor time, one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice

import torch
from deepinv.models import DnCNN
from torch import Tensor, nn

from benchmarks.harness import Benchmark, timed
from benchmarks.markdown import down, fixed, table, up
from benchmarks.record import Row as Numbers
from benchmarks.record import Rows
from pnp_lip import LipschitzDenoiser, certify, firmly_nonexpansive
from pnp_lip.certifier import prove
from pnp_lip.checker import CertificateRejected, check_certificate
from pnp_lip.data.photographs import photograph
from pnp_lip.denoisers import Guard
from pnp_lip.layers import ConvGradientStep
from pnp_lip.rounding import format_up

SHIPPED = "LipschitzDenoiser(1), shipped"
GUARD = "guard"
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
    yield SHIPPED, grey, None
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
    proving, _ = timed(lambda: prove(network))
    total, certificate = timed(lambda: certify(network, images=image))
    try:
        check: float | None = timed(lambda: check_certificate(certificate, network))[0]
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
        call = min(timed(lambda: denoiser(x, 0.1))[0] for _ in range(_REPEATS))
        inputs = [x + 1e-3 * index for index in range(4 * _REPEATS)]
        watch = min(timed(partial(guard.forward, image, 0.1))[0] for image in inputs)
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


def networks_table(rows: Rows) -> str:
    """A line for each network."""
    return table(
        ["network", "proved", "measured", "prove, s", "check, s"],
        [
            [
                name[0],
                _bound(row),
                down(row["lower"], 4),
                fixed(row["prove"], 2),
                fixed(row["check"], 2),
            ]
            for name, row in rows.items()
            if name[0] != GUARD
        ],
    )


def _bound(row: Numbers) -> str:
    upper = format_up(row["upper"], 4)
    averagedness = row["averagedness"]
    return upper if averagedness is None else f"{upper} (α = {up(averagedness, 3)})"


def proof_line(rows: Rows) -> str:
    """The shipped grey denoiser in a few words."""
    row = rows[(SHIPPED,)]
    return (
        f"Lip ≤ {format_up(row['upper'], 4)} proved in {row['prove']:.1f} s, "
        f"≥ {down(row['lower'], 4)} measured, checked in {row['check']:.1f} s"
    )


BENCHMARK = Benchmark(
    "certify_networks",
    __doc__,
    tables={
        "certify-networks": networks_table,
        "proof": proof_line,
        "guard": lambda rows: f"{100 * rows[GUARD, '64']['share']:.2f} %",
    },
    selecting=("networks", "sides"),
    packages=("python-flint",),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--networks", type=int, help="only the first networks")
    parser.add_argument("--sides", type=int, nargs="*", default=(64, 256), help="for the guard")
    options = parser.parse_args()
    recording = BENCHMARK.start(options)
    for one in islice(networks(), options.networks):
        row = asdict(measure(*one))
        recording.add(row.pop("network"), row=row)
    for side in options.sides:
        recording.add(GUARD, str(side), row={"share": guard_overhead(side)})
    recording.close()


if __name__ == "__main__":
    main()
