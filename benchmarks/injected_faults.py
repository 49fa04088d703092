"""A thousand runs with something wrong in them: how many end with a false statement.

    python -m benchmarks.injected_faults

A statement is false if a run under a fault that breaks a hypothesis is called guaranteed or converged to
what it is not, or if a run whose map is nonexpansive (coarse arithmetic only) is called proved to expand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from deepinv.physics import Denoising, Inpainting, LinearPhysics
from torch import Tensor, nn

from benchmarks.harness import Benchmark
from benchmarks.markdown import table
from benchmarks.record import Row, Rows
from pnp_lip import Frozen, LipschitzDenoiser, PnpLipError
from pnp_lip.data.photographs import photograph
from pnp_lip.solvers import ADMM, ForwardBackward, Solution, Status

SIDE = 20


class Faulty(LinearPhysics):
    """A mask whose operator, adjoint or normal operator is wrong by ``size``."""

    def __init__(self, fault: str, size: float, seed: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.fault, self.size = fault, size
        self.mask = (torch.rand(1, 1, SIDE, SIDE, generator=draw) > 0.3).float()
        self.noise = torch.randn(1, 1, SIDE, SIDE, generator=draw)

    def A(self, x: Tensor, **kwargs: Any) -> Tensor:
        if self.fault == "nonlinear operator":
            x = x + self.size * x * x.abs()
        return self.mask * x

    def A_adjoint(self, y: Tensor, **kwargs: Any) -> Tensor:
        back = self.mask * y
        if self.fault == "wrong adjoint":
            return back + self.size * self.noise * y
        return -back if self.fault == "adjoint of the wrong sign" else back

    def A_adjoint_A(self, x: Tensor, **kwargs: Any) -> Tensor:
        factor = 1 + self.size if self.fault == "wrong normal operator" else 1.0
        return factor * self.A_adjoint(self.A(x))


class Altered(nn.Module):
    """A denoiser that is not what it seems."""

    def __init__(self, inner: nn.Module, fault: str, size: float) -> None:
        super().__init__()
        self.inner, self.fault, self.size, self.calls = inner, fault, size, 0

    def forward(self, x: Tensor, sigma: Any) -> Tensor:
        self.calls += 1
        if self.fault == "denoiser that works in place":
            return x.mul_(0.9)
        if self.fault == "denoiser that turns to NaN" and self.calls > 3:
            return x * float("nan")
        if self.fault == "denoiser without a fixed point":
            return x + self.size
        out: Tensor = self.inner(x, sigma)
        return x + (1 + self.size) * 2 * (x - out)


Run = Callable[[int, float, LipschitzDenoiser], bool]


def broken_physics(fault: str) -> Run:
    """False if a theorem is claimed."""

    def run(seed: int, size: float, denoiser: LipschitzDenoiser) -> bool:
        physics = Faulty(fault, size, seed)
        return _claims(_solver(seed, denoiser), _image() * physics.mask, physics, norm=1.0 + size)

    return run


def wrong_norm(seed: int, size: float, denoiser: LipschitzDenoiser) -> bool:
    """False if a bound below the norm is believed."""
    physics = Inpainting((1, SIDE, SIDE), mask=0.5)
    solver = ForwardBackward(denoiser, 0.05, max_iter=20)
    return _claims(solver, physics.A(_image()), physics, norm=1 / (1 + size))


def altered(fault: str) -> Run:
    """False if a run with this denoiser is guaranteed, or converges without a fixed point."""

    def run(seed: int, size: float, denoiser: LipschitzDenoiser) -> bool:
        wrong = Altered(denoiser, fault, size)
        solver = _solver(seed, wrong, unproved=True)
        # Such a denoiser has no certificate; that the certifier gives none is tested elsewhere.
        solver.statement = lambda: None  # type: ignore[method-assign]
        solver.missing_statement = lambda: "no certificate"
        solution = _solve(solver, _image(), Denoising())
        if solution is None:
            return False
        spoiled = fault == "denoiser that turns to NaN" and wrong.calls > 3
        return solution.guaranteed or (spoiled and solution.status is Status.CONVERGED)

    return run


def coarse(dtype: torch.dtype) -> Run:
    """False if coarse arithmetic is taken for a proof of expansion."""

    def run(seed: int, size: float, denoiser: LipschitzDenoiser) -> bool:
        frozen = Frozen(denoiser, 0.05, dtype=dtype)
        physics = Inpainting((1, SIDE, SIDE), mask=0.5)
        solution = _solve(_solver(seed, frozen), physics.A(_image()), physics)
        return solution is None or _expands(solution)

    return run


def coarse_convolutions(seed: int, size: float, denoiser: LipschitzDenoiser) -> bool:
    """The same with kernels and images rounded to ten bits before every product, as TF32 does."""
    exact = torch.nn.functional.conv2d

    def coarse(x: Tensor, w: Tensor, *others: Any, **named: Any) -> Tensor:
        return exact(_ten_bits(x), _ten_bits(w), *others, **named)

    with mock.patch.object(torch.nn.functional, "conv2d", coarse):
        solution = _solve(_solver(seed, denoiser), _image(), Denoising())
    return solution is None or _expands(solution)


def bad_observation(seed: int, size: float, denoiser: LipschitzDenoiser) -> bool:
    """False if NaN or infinity in ``y`` gives an answer."""
    y = _image()
    y.view(-1)[seed % y.numel()] = float("nan") if seed % 2 else float("inf")
    return _solve(_solver(seed, denoiser), y, Denoising()) is not None


def _ten_bits(x: Tensor) -> Tensor:
    if x.dtype != torch.float32:
        return x
    scaled, exponent = torch.frexp(x)
    return torch.ldexp((scaled * 2**11).round() / 2**11, exponent)


def _expands(solution: Solution) -> bool:
    return solution.status is Status.EXPANSION or "proves" in solution.message


def _image() -> Tensor:
    return photograph("camera", size=SIDE).clone()


def _solver(seed: int, denoiser: nn.Module, **options: Any) -> ForwardBackward | ADMM:
    scheme = ("anderson", "krasnoselskii-mann", "halpern")[seed % 3]
    kind = (ForwardBackward, ADMM)[seed // 3 % 2]
    return kind(denoiser, 0.05, max_iter=40, scheme=scheme, **options)


def _solve(
    solver: ForwardBackward | ADMM, y: Tensor, physics: LinearPhysics, **options: Any
) -> Solution | None:
    """The solution, or ``None`` after a refusal in words."""
    try:
        return solver.solve(y, physics, **options)
    except PnpLipError:
        return None


def _claims(solver: ForwardBackward | ADMM, y: Tensor, physics: LinearPhysics, norm: float) -> bool:
    solution = _solve(solver, y, physics, norm=norm)
    return solution is not None and solution.guaranteed


FAULTS: dict[str, Run] = {
    **{
        name: broken_physics(name)
        for name in (
            "wrong adjoint",
            "adjoint of the wrong sign",
            "wrong normal operator",
            "nonlinear operator",
        )
    },
    "wrong norm": wrong_norm,
    **{
        name: altered(name)
        for name in (
            "expansive denoiser",
            "denoiser that works in place",
            "denoiser that turns to NaN",
            "denoiser without a fixed point",
        )
    },
    "bfloat16": coarse(torch.bfloat16),
    "ten-bit products": coarse_convolutions,
    "NaN or infinity in y": bad_observation,
}


def fault_table(rows: Rows) -> str:
    """A line for each kind of fault."""
    lines = [[*names, str(row["runs"]), str(row["false"])] for names, row in rows.items()]
    total = [sum(int(row[name]) for row in rows.values()) for name in ("runs", "false")]
    return table(["fault", "runs", "false statements"], [*lines, ["all", *map(str, total)]])


def row(run: Run, runs: int, denoiser: LipschitzDenoiser) -> Row:
    """How many of so many runs of one kind end with a false statement."""
    sizes = torch.logspace(-2, 0, runs).tolist()
    wrong = [seed for seed, size in enumerate(sizes) if run(seed, size, denoiser)]
    return {"runs": runs, "false": len(wrong), "which": wrong}


BENCHMARK = Benchmark(
    "injected_faults", __doc__, tables={"injected_faults": fault_table}, selecting=("only",)
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--only", nargs="+", help="only these")
    parser.add_argument("--runs", type=int, default=84, help="of each kind")
    options = parser.parse_args()
    recording = BENCHMARK.start(options, side=SIDE)
    torch.manual_seed(0)
    denoiser = LipschitzDenoiser(1, depth=2, nf=8, kernel_size=3, pretrained=None)
    denoiser.requires_grad_(False).eval()
    for name, run in FAULTS.items():
        if not options.only or name in options.only:
            recording.add(name, row=row(run, options.runs, denoiser))
    recording.close()


if __name__ == "__main__":
    main()
