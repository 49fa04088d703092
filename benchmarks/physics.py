"""Which theorem each of deepinv's physics comes under, or for which reason it is refused.

    python -m benchmarks.physics

Every physics is built small, observes a photograph, and is given to both solvers with a small denoiser; the
norm found is compared with the largest singular value of the dense operator.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import deepinv.physics as dp
import torch
from deepinv.physics import LinearPhysics, Physics
from deepinv.physics.generator import DiffractionBlurGenerator, ProductConvolutionBlurGenerator
from torch import Tensor

from benchmarks.harness import Benchmark
from benchmarks.markdown import table
from benchmarks.record import Row, Rows
from pnp_lip import LipschitzDenoiser, PnpLipError
from pnp_lip.data.photographs import photograph
from pnp_lip.solvers import ADMM, ForwardBackward, NormSource, operator_norm
from pnp_lip.solvers.measurements import parts_of

SIDE = 16


def physics() -> dict[str, tuple[Callable[[], Physics], int]]:
    """How each one is built, and the channels of its images."""
    draw = torch.Generator().manual_seed(0)
    n, grey = SIDE, (1, SIDE, SIDE)
    kernel = torch.rand(1, 1, 5, 5, generator=draw)
    kernel = kernel / kernel.sum()
    signed = torch.randn(1, 1, 3, 3, generator=draw)
    mask = (torch.rand(n, n, generator=draw) > 0.5).float()
    frames = (torch.rand(1, 1, 2, n, n, generator=draw) > 0.4).float().expand(1, 2, 2, n, n)
    maps = torch.randn(1, 3, n, n, generator=draw, dtype=torch.complex64)
    local = ProductConvolutionBlurGenerator(DiffractionBlurGenerator((5, 5)), img_size=(n, n))
    found: dict[str, tuple[Callable[[], Physics], int]] = {
        "Denoising": (lambda: dp.Denoising(), 1),
        "Inpainting": (lambda: dp.Inpainting(grey, mask=0.5), 1),
        "Inpainting, bool mask": (lambda: dp.Inpainting(grey, mask=mask[None].bool()), 1),
        "Demosaicing": (lambda: dp.Demosaicing((3, n, n)), 3),
        "Decolorize": (lambda: dp.Decolorize(), 3),
        "BlurFFT": (lambda: dp.BlurFFT(grey, filter=kernel), 1),
        "BlurFFT, signed": (lambda: dp.BlurFFT(grey, filter=signed), 1),
        "SpaceVaryingBlur": (lambda: dp.SpaceVaryingBlur(**local.step(1)), 1),
        "DownsamplingMatlab": (lambda: dp.DownsamplingMatlab(factor=2), 1),
        "Upsampling": (lambda: dp.Upsampling((1, 2 * n, 2 * n), filter="bilinear", factor=2), 1),
        "SinglePixelCamera": (lambda: dp.SinglePixelCamera(100, grey), 1),
        "SinglePixelCamera, dense": (lambda: dp.SinglePixelCamera(100, grey, fast=False), 1),
        "CompressedSensing": (lambda: dp.CompressedSensing(100, grey), 1),
        "StructuredRandom": (lambda: dp.StructuredRandom(grey, (1, 8, 8)), 1),
        "MRI": (lambda: dp.MRI(mask=mask, img_size=(2, n, n)), 2),
        "MultiCoilMRI": (
            lambda: dp.MultiCoilMRI(mask=mask, coil_maps=maps, img_size=(2, n, n)),
            2,
        ),
        "DynamicMRI": (lambda: dp.DynamicMRI(mask=frames, img_size=(2, 2, n, n)), 2),
        "SequentialMRI": (lambda: dp.SequentialMRI(mask=frames, img_size=(2, 2, n, n)), 2),
        "Tomography": (lambda: dp.Tomography(img_width=n, angles=12, normalize=True), 1),
        "Tomography, unnormalised": (
            lambda: dp.Tomography(img_width=n, angles=12, normalize=False),
            1,
        ),
        "Tomography, fan beam": (
            lambda: dp.Tomography(img_width=n, angles=12, normalize=True, fan_beam=True),
            1,
        ),
        "Tomography, inexact adjoint": (
            lambda: dp.Tomography(
                img_width=n, angles=12, normalize=True, adjoint_via_backprop=False
            ),
            1,
        ),
        "HyperSpectralUnmixing": (lambda: dp.HyperSpectralUnmixing(E=3, C=7), 3),
        "CompressiveSpectralImaging, even": (
            lambda: dp.CompressiveSpectralImaging((3, n, n)),
            3,
        ),
        "Pansharpen": (lambda: dp.Pansharpen((3, n, n)), 3),
        "stack": (
            lambda: dp.Blur(kernel, padding="valid").stack(dp.Inpainting(grey, mask=0.5)),
            1,
        ),
        "product": (
            lambda: dp.Blur(kernel, padding="reflect") * dp.Inpainting(grey, mask=0.5),
            1,
        ),
        "PhysicsCropper": (
            lambda: dp.PhysicsCropper(dp.Inpainting((1, n - 2, n - 2), mask=0.5), (2, 2)),
            1,
        ),
        "UltrasoundPlaneWave": (_ultrasound, 1),
        "LinearPhysics of a user": (
            lambda: LinearPhysics(A=lambda x: 2 * x, A_adjoint=lambda y: 2 * y),
            1,
        ),
        "Haze": (lambda: dp.Haze(), 1),
        "RandomPhaseRetrieval": (lambda: dp.RandomPhaseRetrieval(64, grey), 1),
        "SpatialUnwrapping": (lambda: dp.SpatialUnwrapping(), 1),
    }
    for padding in ("valid", "circular", "reflect", "replicate", "constant"):
        found[f"Blur, {padding}"] = (_blur(kernel, padding), 1)
        found[f"Blur, signed, {padding}"] = (_blur(signed, padding), 1)
        for name in ("gaussian", "bicubic"):
            found[f"Downsampling, {name}, {padding}"] = (_sampled(name, padding), 1)
    return found


def _blur(kernel: Tensor, padding: str) -> Callable[[], Physics]:
    return lambda: dp.Blur(kernel, padding=padding)


def _sampled(name: str, padding: str) -> Callable[[], Physics]:
    return lambda: dp.Downsampling((1, SIDE, SIDE), filter=name, factor=2, padding=padding)


def _ultrasound() -> Physics:
    """Eight elements and three plane waves over a field of a few millimetres."""
    elements = (torch.arange(8) - 3.5) * 3e-4
    pixel = 1540.0 / 5e6 / 2
    return dp.UltrasoundPlaneWave(
        img_size=(SIDE, SIDE),
        angles=torch.deg2rad(torch.linspace(-16.0, 16.0, 3)),
        element_positions=torch.stack([elements, torch.zeros(8)], dim=-1),
        n_samples=128,
        sampling_frequency=20e6,
        sound_speed=1540.0,
        pixel_size=(pixel, pixel),
        t0=0.0,
    )


def largest_singular_value(operator: LinearPhysics, x: Tensor) -> float:
    """Of the dense operator on images like ``x``."""
    columns = []
    for e in torch.eye(x[0].numel()):
        parts = parts_of(operator.A(e.view(1, *x.shape[1:])))
        real = [torch.view_as_real(p) if p.is_complex() else p for p in parts]
        columns.append(torch.cat([p.flatten() for p in real]).double())
    return float(torch.linalg.matrix_norm(torch.stack(columns), 2))


def verdict(solver: ForwardBackward | ADMM, y: Tensor, operator: Physics) -> str:
    """The theorem, or the reason of the refusal."""
    try:
        solution = solver.solve(y, operator)
    except PnpLipError as refusal:
        return f"refused: {refusal}"
    except Exception as fault:
        return f"FAULT {type(fault).__name__}: {fault}"
    theorem = solution.plan.theorem
    return theorem.name if solution.guaranteed and theorem is not None else "no claim"


def row(build: Callable[[], Physics], channels: int, denoiser: LipschitzDenoiser) -> Row:
    """Norms and verdicts of one physics."""
    operator = build()
    x = photograph("camera", size=SIDE).expand(1, channels, -1, -1).contiguous()
    if type(operator) is dp.DynamicMRI:
        x = torch.stack([x, x], 2)
    try:
        y = operator.A(x)
    except Exception as fault:
        return {"physics": f"A fails: {type(fault).__name__}: {fault}"}
    result: Row = {
        "forward_backward": verdict(ForwardBackward(denoiser, 0.02, max_iter=25), y, operator),
        "admm": verdict(ADMM(denoiser, 0.02, max_iter=25), y, operator),
    }
    if isinstance(operator, LinearPhysics):
        bound = operator_norm(operator, x)
        result |= {"upper": bound.upper, "value": bound.value, "source": bound.source.name}
        result["dense"] = largest_singular_value(operator, x)
    return result


def _ratio(found: Row) -> str:
    """The bound over the norm, where it is proved."""
    if "dense" not in found:
        return ""
    proved = found["source"] != NormSource.ESTIMATE.name
    return f"{found['upper'] / found['dense']:.4f}" if proved else "estimate"


#: Words of a verdict, and what a table says for them.
_WORDS = {
    "Banach": "contraction",
    "averaged maps": "averaged map",
    "Douglas-Rachford": "firmly nonexpansive map",
    "not the adjoint": "refused: the adjoint is wrong",
    "only estimated": "refused: the norm is only estimated",
    "stepsize must be": "refused: the proved norm is too loose for the step",
    "linear deepinv physics": "refused: not linear",
}


def _short(verdict: str) -> str:
    """A verdict in few words; the record has it in full."""
    return next((said for word, said in _WORDS.items() if word in verdict), verdict[:60])


def physics_table(rows: Rows) -> str:
    """A line for each physics."""
    return table(
        ["physics", "norm", "bound / norm", "forward-backward", "ADMM"],
        [
            [
                names[0],
                f"{found['dense']:.4g}" if "dense" in found else "",
                _ratio(found),
                _short(str(found.get("forward_backward", found.get("physics", "")))),
                _short(str(found.get("admm", ""))),
            ]
            for names, found in rows.items()
        ],
    )


BENCHMARK = Benchmark(
    "physics",
    __doc__,
    tables={"physics": physics_table},
    selecting=("only",),
    packages=("deepinv",),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--only", nargs="+", help="only these")
    options = parser.parse_args()
    recording = BENCHMARK.start(options, side=SIDE)
    torch.manual_seed(0)
    denoiser = LipschitzDenoiser(1, depth=2, nf=8, kernel_size=3, pretrained=None)
    denoiser.requires_grad_(False).eval()
    for name, (build, channels) in physics().items():
        if options.only and name not in options.only:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            recording.add(name, row=row(build, channels, denoiser))
    recording.close()


if __name__ == "__main__":
    main()
