"""Iterations and seconds of the solvers to a residual, against the same iterations in deepinv.

    python -m benchmarks.solvers

Every method gets the same frozen denoiser, relaxed to be firmly nonexpansive, the same step and the same
start, so that all are after the same images. The residual is that of their common equation
``x = D(x - gamma grad f(x))`` at the image returned, whatever a method watches itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import deepinv as dinv
import torch
from deepinv.optim.data_fidelity import L2
from deepinv.optim.optimizers import AndersonAccelerationConfig
from deepinv.physics import MRI, LinearPhysics, Tomography
from torch import Tensor, nn

from benchmarks.harness import Benchmark, Recording, timed
from benchmarks.markdown import fixed, table
from benchmarks.record import Rows
from pnp_lip.data.photographs import photograph
from pnp_lip.denoisers import Frozen, LipschitzDenoiser, firmly_nonexpansive
from pnp_lip.quality import psnr
from pnp_lip.recipes import deblur, inpaint
from pnp_lip.solvers import ADMM, DEFAULT_STRENGTH, ForwardBackward, operator_norm
from pnp_lip.solvers.growth import norms
from pnp_lip.solvers.iteration import StoppingRule, iterate
from pnp_lip.solvers.schemes import Anderson

TOLERANCE = 1e-5
_DEBLURRING = "deblurring, 256"
STEP = 1.0
#: What is compared with a bare loop.
_WAYS = ("loop", "anderson", "two products")


class Slices(nn.Module):
    """A grey denoiser on every channel by itself, as the solvers apply it."""

    def __init__(self, denoiser: nn.Module) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, x: Tensor, sigma: Any = None, **kwargs: Any) -> Tensor:
        flat = x.reshape(-1, 1, *x.shape[-2:])
        out: Tensor = self.denoiser(flat, None)
        return out.view(x.shape)


def problems(size: int) -> Iterator[tuple[str, LinearPhysics, Tensor, Tensor, Tensor, float]]:
    """Name, physics, observation, start, truth, strength of the denoiser."""
    x = photograph("camera", size=size)
    blurred = deblur.simulated(x, deblur.motion_kernel(), 0.01, 0)
    yield "deblurring", blurred.physics, blurred.y, blurred.start, x, 0.0075
    masked = inpaint.simulated(x, inpaint.random_mask(x, 0.5, 0), 0.0, 0)
    yield "inpainting 50 %", masked.physics, masked.y, masked.start, x, 0.01
    draw = torch.Generator().manual_seed(0)
    lines = torch.zeros(size)
    lines[size // 2 - 6 : size // 2 + 6] = 1
    lines[torch.randperm(size, generator=draw)[: size // 5]] = 1
    scan = MRI(mask=lines.expand(size, size).clone(), img_size=(2, size, size))
    both = torch.cat([x, torch.zeros_like(x)], 1)
    y = scan.A(both)
    y = y + 0.01 * torch.randn(y.shape, generator=draw) * scan.mask
    yield "MRI x4", scan, y, scan.A_adjoint(y), both, 0.01


def ours(
    kind: type[ForwardBackward] | type[ADMM], scheme: str, most: int
) -> Callable[[LipschitzDenoiser, float, LinearPhysics, Tensor, Tensor], tuple[Tensor, int]]:
    """One of our solvers with one scheme of steps."""

    def run(
        denoiser: LipschitzDenoiser, sigma: float, physics: LinearPhysics, y: Tensor, start: Tensor
    ) -> tuple[Tensor, int]:
        options: dict[str, Any] = {"firm": True} if kind is ForwardBackward else {}
        solver = kind(
            denoiser, sigma, stepsize=STEP, tol=TOLERANCE, max_iter=most, scheme=scheme, **options
        )
        solution = solver.solve(y, physics, init=start)
        return solution.x, solution.iterations

    return run


def deepinvs(
    kind: Any, most: int, **options: Any
) -> Callable[[LipschitzDenoiser, float, LinearPhysics, Tensor, Tensor], tuple[Tensor, int]]:
    """One of deepinv's algorithms, with its own stopping rule at the same number."""

    def run(
        denoiser: LipschitzDenoiser, sigma: float, physics: LinearPhysics, y: Tensor, start: Tensor
    ) -> tuple[Tensor, int]:
        firm = Slices(firmly_nonexpansive(Frozen(denoiser, sigma), 0.98839))
        calls = []
        firm.register_forward_hook(lambda *_: calls.append(1))
        model = kind(
            data_fidelity=L2(),
            prior=dinv.optim.PnP(firm),
            stepsize=STEP,
            sigma_denoiser=sigma,
            max_iter=most,
            early_stop=True,
            thres_conv=TOLERANCE,
            **options,
        )
        first = (start, start) if kind is dinv.optim.PGD else (start, torch.zeros_like(start))
        x: Tensor = model(y, physics, init=first)
        return x, len(calls)

    return run


def methods(most: int) -> dict[str, Callable[..., tuple[Tensor, int]]]:
    """By name, the ones compared."""
    tuned = AndersonAccelerationConfig(history_size=5, beta=1.0, eps=1e-8)
    pgd, admm = dinv.optim.PGD, dinv.optim.ADMM
    return {
        "forward-backward": ours(ForwardBackward, "anderson", most),
        "ADMM": ours(ADMM, "anderson", most),
        "forward-backward, plain": ours(ForwardBackward, "krasnoselskii-mann", most),
        "deepinv PGD": deepinvs(pgd, most),
        "deepinv PGD, Anderson": deepinvs(pgd, most, anderson_acceleration=True),
        "deepinv PGD, Anderson tuned": deepinvs(pgd, most, anderson_acceleration=tuned),
        "deepinv ADMM": deepinvs(admm, most),
    }


def residual(
    x: Tensor, denoiser: LipschitzDenoiser, sigma: float, physics: LinearPhysics, y: Tensor
) -> float:
    """``|x - D(x - gamma grad f(x))| / |x|``."""
    firm = Slices(firmly_nonexpansive(Frozen(denoiser, sigma), 0.98839))
    image = firm(x - STEP * (physics.A_adjoint_A(x) - physics.A_adjoint(y)))
    return float(norms(image - x) / norms(x))


def as_shipped(size: int, name: str) -> Iterator[tuple[str, dict[str, float | int]]]:
    """Our solvers with their defaults, and plain steps with the denoiser as it is, not frozen."""
    chosen = next(problem for problem in problems(size) if problem[0] == name)
    _, physics, y, start, truth, sigma = chosen
    denoiser = LipschitzDenoiser(1).requires_grad_(False)
    kinds: tuple[type[ForwardBackward] | type[ADMM], ...] = (ForwardBackward, ADMM)
    for kind in kinds:
        solver = kind(denoiser, sigma, tol=TOLERANCE)
        solver.statement()
        seconds, solution = timed(lambda: solver.solve(y, physics, init=start))  # noqa: B023
        found = {"iterations": solution.iterations, "seconds": round(seconds, 2)}
        yield kind.method, found | {"psnr": float(psnr(solution.x, truth))}
    if name != "deblurring":
        return
    step = _step(lambda z: denoiser(z, sigma), physics, physics.A_adjoint(y), 1.9)
    for tol in (10 * TOLERANCE, TOLERANCE):
        rule = StoppingRule(300, tol)
        seconds, end = timed(lambda: iterate(step, start, rule))  # noqa: B023
        found = {"iterations": end.iterations, "seconds": round(seconds, 2)}
        yield f"plain, not frozen, to {tol:.0e}", found | {"psnr": float(psnr(end.w, truth))}


def anchored(size: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """What an anchor costs and what it certifies, for the deblurring problem."""
    _, physics, y, start, truth, sigma = next(iter(problems(size)))
    denoiser = LipschitzDenoiser(1).requires_grad_(False)
    for anchor in (0.0, 1e-4, 1e-3, 1e-2, 0.05):
        solver = ForwardBackward(denoiser, sigma, anchor=anchor, tol=TOLERANCE)
        solution = solver.solve(y, physics, init=start)
        distance = solution.distance
        yield (
            f"{anchor:g}",
            {
                "iterations": solution.iterations,
                "psnr": float(psnr(solution.x, truth)),
                "distance": None if distance is None else distance / float(norms(solution.x)),
                "stability": solution.plan.stability,
            },
        )


def started(size: int = 64) -> Iterator[tuple[str, str, dict[str, float | int]]]:
    """Tomography without normalisation from both starts: PSNR there, after 30 steps, at the end."""
    x = photograph("camera", size=size)
    physics = Tomography(img_width=size, angles=40, normalize=False)
    clean = physics.A(x)
    noise = 0.01 * float(clean.abs().mean())
    y = clean + noise * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    denoiser = LipschitzDenoiser(1).requires_grad_(False)
    level = DEFAULT_STRENGTH * noise / operator_norm(physics, x).value
    for scheme in ("krasnoselskii-mann", "anderson"):
        for start in (None, "dagger"):
            seen: list[float] = []
            solver = ForwardBackward(denoiser, level, tol=TOLERANCE, max_iter=300, scheme=scheme)
            solution = solver.solve(
                y,
                physics,
                init=start,
                callback=lambda _, image: seen.append(float(psnr(image, x))),  # noqa: B023
            )
            first = float(psnr(solution.start, x))
            found = {"start": first, "30 steps": seen[min(29, len(seen) - 1)], "end": seen[-1]}
            yield scheme, start or "adjoint", found | {"iterations": solution.iterations}


def overhead(size: int) -> dict[str, float]:
    """Seconds of the loop over those of a bare loop, for a network and for a trivial denoiser."""
    x = photograph("camera", size=size)
    physics = deblur.simulated(x, deblur.motion_kernel(), 0.01, 0).physics
    back = physics.A_adjoint(x)
    frozen = Frozen(LipschitzDenoiser(1), 0.01)
    found: dict[str, float] = {}
    # Many short runs of the network: the least of few long ones is that of a busy machine.
    for name, denoise, steps, times in (
        ("network", frozen, 12, 12),
        ("trivial", lambda z: 0.9 * z, 40, 60),
    ):
        found |= _ratios(name, _step(denoise, physics, back), x, steps, times)
    return found


def _ratios(
    name: str, step: Callable[[Tensor], Tensor], x: Tensor, steps: int, times: int
) -> dict[str, float]:
    """The least time of the loop over the least of a bare one, without and with acceleration.

    Beside them the least that acceleration with this memory can take: a bare loop whose steps also read
    the differences once, those of residuals for the coefficients and those of steps for the correction.
    """
    rule, scheme = StoppingRule(steps, 0.0), Anderson()
    stored = x.new_ones(2, 1, scheme.memory, x.numel())
    weights = x.new_zeros(1, 1, scheme.memory)

    def reading(w: Tensor) -> Tensor:
        torch.bmm(w.view(1, 1, -1), stored[0].transpose(1, 2))
        torch.bmm(weights, stored[1])
        return step(w)

    actions: dict[str, Callable[[], object]] = {
        "bare": lambda: _bare(step, x, steps),
        "loop": lambda: iterate(step, x, rule),
        "anderson": lambda: iterate(step, x, rule, scheme=scheme),
        "two products": lambda: _bare(reading, x, steps),
    }
    least = dict.fromkeys(actions, float("inf"))
    for _ in range(times):
        least |= {key: min(least[key], timed(action)[0]) for key, action in actions.items()}
    return {f"{name}, {key}": least[key] / least["bare"] for key in _WAYS}


def _step(
    denoise: Callable[[Tensor], Tensor], physics: LinearPhysics, back: Tensor, gamma: float = STEP
) -> Callable[[Tensor], Tensor]:
    return lambda w: denoise(w - gamma * (physics.A_adjoint_A(w) - back))


def _bare(step: Callable[[Tensor], Tensor], w: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        w = step(w)
    return w


def solver_table(rows: Rows) -> str:
    """A line for each problem and method."""
    lines = [(names, row) for names, row in rows.items() if names[0] == "solve"]
    return table(
        ["problem", "method", "iterations", "seconds", "residual", "PSNR"],
        [
            [
                *names[1:],
                str(row["iterations"]),
                fixed(row["seconds"], 1),
                f"{row['residual']:.1e}",
                fixed(row["psnr"], 2),
            ]
            for names, row in lines
        ],
    )


def anchor_table(rows: Rows) -> str:
    """A line for each anchor."""
    lines = [(names[1], row) for names, row in rows.items() if names[0] == "anchor"]
    free = dict(lines)["0"]["psnr"]
    return table(
        ["anchor", "iterations", "PSNR", "costs, dB", "certified distance / image", "stability"],
        [
            [
                name,
                str(row["iterations"]),
                fixed(row["psnr"], 2),
                fixed(free - row["psnr"], 2),
                *(
                    "–" if row[key] is None else f"{row[key]:.2g}"
                    for key in ("distance", "stability")
                ),
            ]
            for name, row in lines
        ],
    )


def overhead_table(rows: Rows) -> str:
    """The loop against a bare one."""
    row = rows[("overhead",)]
    kinds = ("network", "trivial")
    return table(
        ["denoiser", "loop", "loop with acceleration", "its two products alone"],
        [[k, *(fixed(row[f"{k}, {way}"], 2) for way in _WAYS)] for k in kinds],
    )


def start_table(rows: Rows) -> str:
    """A line for each scheme and start."""
    lines = [(names, row) for names, row in rows.items() if names[0] == "start"]
    return table(
        ["steps", "start", "its PSNR", "after 30 steps", "at the end", "iterations"],
        [
            [
                *names[1:],
                *(fixed(row[key], 2) for key in ("start", "30 steps", "end")),
                str(row["iterations"]),
            ]
            for names, row in lines
        ],
    )


def ratios(rows: Rows) -> str:
    """Seconds of the default deblurring over those of plain steps with a denoiser that is not frozen."""
    shipped = {
        names[2]: row for names, row in rows.items() if names[:2] == ("shipped", _DEBLURRING)
    }
    ours = shipped["forward-backward"]["seconds"]
    ten, same = (shipped[f"plain, not frozen, to {tol:.0e}"]["seconds"] for tol in (1e-4, 1e-5))
    return f"{ours / same:.2f} of their time to the same residual, {ours / ten:.2f} to one ten times larger"


def shipped_table(rows: Rows) -> str:
    """A line for each problem with the defaults."""
    lines = [(names, row) for names, row in rows.items() if names[0] == "shipped"]
    return table(
        ["problem", "method", "iterations", "seconds", "PSNR"],
        [
            [*names[1:], str(row["iterations"]), fixed(row["seconds"], 1), fixed(row["psnr"], 2)]
            for names, row in lines
        ],
    )


BENCHMARK = Benchmark(
    "solvers",
    __doc__,
    tables={
        "solvers": solver_table,
        "solvers-shipped": shipped_table,
        "solvers-ratios": ratios,
        "solvers-overhead": overhead_table,
        "solvers-anchor": anchor_table,
        "solvers-starts": start_table,
    },
    selecting=("problems", "methods", "parts"),
    packages=("deepinv",),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--problems", nargs="+", help="only these")
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--size", type=int, default=128, help="pixels of a side")
    parser.add_argument("--most", type=int, default=400, help="most iterations")
    parser.add_argument(
        "--parts", nargs="+", default=["solve", "shipped", "overhead", "anchor", "starts"]
    )
    options = parser.parse_args()
    recording = BENCHMARK.start(options, tolerance=TOLERANCE, stepsize=STEP)
    with torch.no_grad():
        if "solve" in options.parts:
            _compare(recording, options)
        if "shipped" in options.parts:
            for size, name in ((256, "deblurring"), (256, "inpainting 50 %"), (128, "MRI x4")):
                if options.problems and name not in options.problems:
                    continue
                for method, row in as_shipped(size, name):
                    recording.add("shipped", f"{name}, {size}", method, row=row)
        if "anchor" in options.parts:
            for name, row in anchored(options.size):
                recording.add("anchor", name, row=row)
        if "starts" in options.parts:
            for scheme, start, row in started():
                recording.add("start", scheme, start, row=row)
        if "overhead" in options.parts:
            recording.add("overhead", row=overhead(256))
    recording.close()


def _compare(recording: Recording, options: argparse.Namespace) -> None:
    denoiser = LipschitzDenoiser(1).requires_grad_(False)
    for name, physics, y, start, truth, sigma in problems(options.size):
        for method, run in methods(options.most).items():
            if (options.problems and name not in options.problems) or (
                options.methods and method not in options.methods
            ):
                continue
            seconds, (x, iterations) = timed(lambda: run(denoiser, sigma, physics, y, start))  # noqa: B023
            row = {
                "iterations": iterations,
                "seconds": round(seconds, 2),
                "residual": residual(x, denoiser, sigma, physics, y),
                "psnr": float(psnr(x, truth)),
            }
            recording.add("solve", name, method, row=row)


if __name__ == "__main__":
    main()
