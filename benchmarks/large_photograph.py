"""Deblurring of a colour photograph of 12 megapixels: what was estimated beforehand, and what it took.

    python -m benchmarks.large_photograph [--iterations 6] [--guided | --application]

The photograph is made of parts of the packaged ones, each mirrored to a square of 300 pixels, blurred by
the trace of a shaking camera of 15 pixels; only its own frame is known, as of a photograph from a camera.
Solved as ``pnp-lip deblur`` solves it, for a few iterations: the estimate is the sentence that the command
prints first, an iteration is a difference between two calls of its progress, and the memory is the peak of
anonymous pages of the process beyond what it held before the solve. Seconds are of the wall clock and of
the processor. A guided solve takes the iterations twice, plain and then guided by what came out; its
seconds are of both. ``--application`` computes maps once and applies the denoiser with them once.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import Benchmark
from benchmarks.markdown import table
from benchmarks.record import Row, Rows
from benchmarks.tiling import PeakMemory, anonymous_megabytes
from pnp_lip import Frozen, GuidedDenoiser
from pnp_lip.data.photographs import photograph
from pnp_lip.quality import psnr
from pnp_lip.recipes import deblur
from pnp_lip.recipes.estimate import estimated
from pnp_lip.recipes.options import Options, solver_for
from pnp_lip.recipes.problem import gaussian_noise

APPLICATION = "one guided application"
NAMES, SQUARE, NOISE, WIDTH = ("astronaut", "coffee", "chelsea", "rocket"), 300, 0.01, 15


def scene(height: int, width: int) -> Tensor:
    """The packaged photographs side by side, each with its mirror images."""
    squares = []
    for name in NAMES:
        part = photograph(name)[..., : SQUARE // 2, : SQUARE // 2]
        row = torch.cat([part, part.flip(-1)], dim=-1)
        squares.append(torch.cat([row, row.flip(-2)], dim=-2))
    rows = [
        torch.cat([squares[(i + j) % len(squares)] for j in range(-(-width // SQUARE))], dim=-1)
        for i in range(-(-height // SQUARE))
    ]
    return torch.cat(rows, dim=-2)[..., :height, :width].contiguous()


def solved(height: int, width: int, iterations: int, guided: bool) -> Row:
    """Estimate, then solve."""
    kernel, edge = deblur.motion_kernel(WIDTH), WIDTH - 1
    whole = scene(height + edge, width + edge)
    blurred = deblur.simulated(whole, kernel, 0.0, seed=0).y
    half = edge // 2
    truth = whole[..., half:-half, half:-half].contiguous()
    y = blurred[..., half:-half, half:-half] + gaussian_noise(truth, NOISE, 0)
    del whole, blurred
    problem = deblur.observed(y.contiguous(), kernel, NOISE)
    strength = deblur.STRENGTH["forward-backward"] * NOISE
    options = Options(strength, max_iter=iterations, guided=guided)
    estimate = estimated(problem, options)
    if estimate is None:
        raise ValueError("expected an image that is large enough for an estimate")
    walls, processors = [], []

    def progress(iteration: int, x: Tensor) -> None:
        walls.append(time.perf_counter())
        processors.append(time.process_time())
        print(f"iteration {iteration}, {walls[-1] - begun:.0f} s", flush=True)

    with PeakMemory() as memory:
        begun = time.perf_counter()
        solver = solver_for(problem, replace(options, verbose=True))
        solution = solver.solve(problem.y, problem.physics, init=problem.start, callback=progress)
    return {
        "megapixels": height * width / 1e6,
        "guided": guided,
        "iterations": solution.iterations,
        "estimated_seconds": estimate.iteration,
        "estimated_gigabytes": estimate.memory / 1e9,
        "seconds": float(np.mean(np.diff(walls))),
        "processor_seconds": float(np.mean(np.diff(processors))),
        "gigabytes": (memory.peak - memory.start) * 2**20 / 1e9,
        "gigabytes_before": memory.start * 2**20 / 1e9,
        "theorem": solution.plan.theorem.name if solution.plan.theorem else None,
        "psnr_observation": psnr(y.clamp(0, 1), truth),
        "psnr": psnr(problem.in_frame(solution.x).clamp(0, 1), truth),
    }


@torch.no_grad()
def applied(height: int, width: int) -> Row:
    """Maps from the image, and one application with them."""
    guided, x = GuidedDenoiser(3), scene(height, width)
    times = [time.process_time()]
    with PeakMemory() as making:
        fixed = guided.at(x, NOISE)
    times.append(time.process_time())
    held = anonymous_megabytes() - making.start
    with PeakMemory() as applying:
        Frozen(fixed, NOISE)(x)
    times.append(time.process_time())
    gigabytes = 2**20 / 1e9
    return {
        "megapixels": height * width / 1e6,
        "maps_gigabytes": held * gigabytes,
        "making_gigabytes": (making.peak - making.start) * gigabytes,
        "applying_gigabytes": (applying.peak - making.start) * gigabytes,
        "making_seconds": times[1] - times[0],
        "applying_seconds": times[2] - times[1],
    }


def application_line(rows: Rows) -> str:
    """The largest one in words."""
    row = max(
        (row for key, row in rows.items() if key[-1] == APPLICATION), key=lambda r: r["megapixels"]
    )
    return (
        f"{row['megapixels']:.0f} megapixels in colour, maps take {row['maps_gigabytes']:.1f} GB, at most "
        f"{row['making_gigabytes']:.1f} GB while they are computed and "
        f"{row['applying_gigabytes']:.1f} GB while the denoiser with them is applied"
    )


def size_table(rows: Rows) -> str:
    """Estimated and measured."""
    lines = [
        [
            f"{row['megapixels']:.1f}" + (", guided" if row.get("guided") else ""),
            str(row["iterations"]),
            f"{row['estimated_seconds']:.0f}",
            f"{row['seconds']:.0f}",
            f"{row['processor_seconds']:.0f}",
            f"{row['estimated_gigabytes']:.1f}",
            f"{row['gigabytes']:.1f}",
            f"{row['psnr_observation']:.2f} → {row['psnr']:.2f}",
        ]
        for key, row in rows.items()
        if key[-1] != APPLICATION
    ]
    heading = ["megapixels", "iterations", "s an iteration, estimated", "measured"]
    heading += ["of the processor", "GB, estimated", "measured", "PSNR so far"]
    return table(heading, lines)


BENCHMARK = Benchmark(
    "large_photograph",
    __doc__,
    tables={"large-photograph": size_table, "large-application": application_line},
    selecting=("iterations", "height", "width", "guided", "application"),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--height", type=int, default=3000)
    parser.add_argument("--width", type=int, default=4000)
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--guided", action="store_true")
    parser.add_argument("--application", action="store_true", help="one guided application only")
    options = parser.parse_args()
    recording = BENCHMARK.start(options, noise=NOISE, kernel=WIDTH)
    size = f"{options.height} x {options.width}"
    if options.application:
        recording.add(size, APPLICATION, row=applied(options.height, options.width))
    else:
        row = solved(options.height, options.width, options.iterations, options.guided)
        recording.add(size + (", guided" if options.guided else ""), row=row)
    recording.close()


if __name__ == "__main__":
    main()
