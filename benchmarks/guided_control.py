"""A guided denoiser beside its control: an unconstrained network of the same size behind the plain one.

    PNP_LIP_DATA=... python -m benchmarks.guided_control FOLDER --restored CROPS

Both are trained here, in ``FOLDER``, from the same plain weights on the same samples with the same seed
for the same number of steps; a run that was cut is continued. ``guided`` learns maps of thresholds,
filters and thresholds, ``post-processor`` (:mod:`benchmarks.post_processor`) an image that is added to the
plain result; ``fine-tuned`` is the post-processor after further steps on restored crops alone, which
nothing else gets.

Denoising is that of every eighth image of BSD68. Deblurring is that of :mod:`benchmarks.guided`: the guided
denoiser inside forward-backward, and the post-processors behind the plain solve, where they see its result
and the last input of its denoiser as in training. Each row takes the strength, out of a few, that is
best for it on a validation image. The gain from input to output is the largest that a search found.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.guided import PART
from benchmarks.guided_forms import LEVEL, gain_of
from benchmarks.harness import Benchmark
from benchmarks.images import mean_quality, validation_images
from benchmarks.markdown import down, fixed, table
from benchmarks.post_processor import PostProcessor, PostProcessorTraining, fine_tuned
from benchmarks.record import Row, Rows
from benchmarks.short_training import short_run, training_parser
from pnp_lip import GuidedDenoiser, LipschitzDenoiser
from pnp_lip.data.patches import find_data, read_folder
from pnp_lip.quality import psnr
from pnp_lip.recipes import deblur
from pnp_lip.recipes.problem import Problem
from pnp_lip.solvers import ForwardBackward, GuidedPlugAndPlay, PlugAndPlay
from pnp_lip.training import GuidedConfig, GuidedTraining, train_with_progress

NAMES = ("plain", "guided", "post-processor", "fine-tuned")
LEVELS, NOISE, STRENGTHS, CHOICE = (5, 15, 25, 50), (0.01, 0.03), (0.6, 0.8, 1.0), 1

#: A restoration of a problem with a strength.
Restore = Callable[[Problem, float], Tensor]


def configuration(options: argparse.Namespace) -> GuidedConfig:
    """What both runs depend on. No dial is drawn, since a post-processor has none."""
    return short_run(
        options,
        validation_images=6,
        evaluate_every=500,
        ema=0.995,
        dial_share=0.0,
        seed=options.seed,
    )


def trained(options: argparse.Namespace) -> dict[str, nn.Module]:
    """All denoisers; trained, or read from runs that are complete."""
    config = configuration(options)
    control = PostProcessorTraining(config, options.folder / "post-processor")
    guided = GuidedTraining(config, options.folder / "guided")
    for run in (control, guided):
        train_with_progress(run)
    further = fine_tuned(control.average, config, options.further, options.folder / "fine-tuned")
    models = (LipschitzDenoiser(1), guided.average, control.average, further)
    return dict(zip(NAMES, models, strict=True))


def denoising(name: str, denoiser: nn.Module, images: list[Tensor]) -> Row:
    """Quality at every level, and the largest gain found."""
    row: Row = {"images": len(images), "psnr": {}, "ssim": {}}
    row["parameters"] = sum(p.numel() for p in denoiser.parameters())
    row["end_to_end_gain_measured"] = gain_of(denoiser, images)
    for level in LEVELS:
        quality = mean_quality(denoiser, images, level, f"{name}, {level}")
        row["psnr"][str(level)], row["ssim"][str(level)] = quality["psnr"], quality["ssim"]
    return row


def restoration(denoiser: nn.Module) -> Restore:
    """Restore with the noise of the problem times a strength."""

    def build(inner: nn.Module, sigma: float, tol: float) -> PlugAndPlay:
        return ForwardBackward(inner, sigma, tol=tol, box=(0, 1), max_iter=1000)

    def restore(problem: Problem, sigma: float) -> Tensor:
        y, physics, start = problem.y, problem.physics, problem.start
        if isinstance(denoiser, GuidedDenoiser):
            solver = GuidedPlugAndPlay(denoiser, lambda d, tol: build(d, sigma, tol))
            return solver.solve(y, physics, init=start).x
        if isinstance(denoiser, PostProcessor):
            solution = build(denoiser.plain, sigma, 1e-4).solve(y, physics, init=start)
            gradient = physics.A_adjoint(physics.A(solution.x) - y)
            with torch.no_grad():
                return denoiser.after(
                    solution.x - solution.plan.stepsize * gradient, solution.x, sigma
                )
        return build(denoiser, sigma, 1e-4).solve(y, physics, init=start).x

    return restore


def blurred(image: Tensor, noise: float) -> tuple[Tensor, Problem]:
    """A clean part of an image and its observation."""
    kernel = torch.from_numpy(np.load(find_data("kernels") / "levin09.npz")["k1"]).float()
    clean = image[None, :, :PART, :PART].float() / 255
    return clean, deblur.simulated(clean, kernel[None, None], noise, seed=0)


def deblurring(restore: Restore, images: list[Tensor], noise: float, strength: float) -> float:
    """Mean PSNR."""
    values = []
    for image in images:
        clean, problem = blurred(image, noise)
        values.append(psnr(restore(problem, strength * noise).clamp(0, 1), clean))
    return float(np.mean(values))


def best_strength(restore: Restore, noise: float) -> float:
    """Of a few, on validation images."""
    images = validation_images(1, PART, CHOICE)
    return max(STRENGTHS, key=lambda strength: deblurring(restore, images, noise, strength))


def control_table(rows: Rows) -> str:
    """A line for each denoiser."""
    heading = ["", "parameters", *(f"σ = {level}" for level in LEVELS)]
    heading += [*(f"deblurring, noise {noise:g}" for noise in NOISE), "end to end ≥"]
    lines = []
    for name in NAMES:
        row = rows[name, "denoising"]
        cells = [fixed(row["psnr"][str(level)], 2) for level in LEVELS]
        cells += [fixed(rows[name, "deblurring", f"{noise:g}"]["psnr"], 2) for noise in NOISE]
        gain = down(row["end_to_end_gain_measured"], 2)
        lines.append([name, str(row["parameters"]), *cells, gain])
    return table(heading, lines)


BENCHMARK = Benchmark(
    "guided_control",
    __doc__ or "",
    tables={"guided-control": control_table},
    selecting=("folder", "rows"),
)


def main() -> None:
    parser = training_parser(BENCHMARK, NAMES, steps=2000, deblur=4)
    parser.add_argument("--further", type=int, default=500, help="of the fine-tuning")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=8, help="take every n-th image to denoise")
    parser.add_argument("--train", action="store_true", help="train, and stop")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    models = trained(options)
    if options.train:
        return
    recording = BENCHMARK.start(options, strengths=STRENGTHS, level=LEVEL)
    everything = read_folder("bsd68", 1)
    chosen = everything[:: len(everything) // options.deblur][: options.deblur]
    for name in options.rows:
        denoiser = models[name]
        row = denoising(name, denoiser, everything[:: options.every])
        recording.add(name, "denoising", row=row)
        restore = restoration(denoiser)
        for noise in NOISE:
            strength = best_strength(restore, noise)
            found = deblurring(restore, chosen, noise, strength)
            row = {"images": len(chosen), "strength": strength, "psnr": found}
            recording.add(name, "deblurring", f"{noise:g}", row=row)
    recording.close()


if __name__ == "__main__":
    main()
