"""Test problems that deepinv ships, run through our denoisers and solvers.

    python -m benchmarks.deepinv_tests

deepinv's wheel holds its tests. Their physics, denoiser tests, algorithms and restoration problems are
taken from there, with our classes in the place of deepinv's. A case passes, is refused in words (an error
of this package, with its sentence), is skipped by deepinv's own rules, or fails.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import deepinv as dinv
import torch
from torch import Tensor, nn

from benchmarks.harness import Benchmark
from benchmarks.markdown import table
from benchmarks.record import Row, Rows
from pnp_lip import Frozen, LipschitzDenoiser, PnpLipError, Tiled, firmly_nonexpansive
from pnp_lip.data.photographs import photograph
from pnp_lip.solvers import ADMM, ForwardBackward
from pnp_lip.solvers.plug_and_play import PlugAndPlay

Case = tuple[str, str, Callable[[], object]]

#: Algorithms of deepinv that no theorem about nonexpansive denoisers covers.
WITHOUT_THEOREM = {
    "FISTA": "deepinv's FISTA did not reach its tolerance: its extrapolation needs a function that is "
    "minimised, and no theorem covers it for a nonexpansive denoiser",
}


class NoTheoremError(PnpLipError):
    """Nothing is claimed of this iteration."""


#: Strength of the denoiser in the restoration problems, whose noise has standard deviation 0.02.
SIGMA = 0.02


def tests(name: str) -> ModuleType:
    """A module of deepinv's tests; they import each other by their bare names."""
    spec = find_spec("deepinv")
    folder = str(Path(str(spec and spec.origin)).parent / "tests")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(f"deepinv.tests.{name}")


def small(channels: int) -> LipschitzDenoiser:
    """A denoiser of two layers with random weights: enough where only theorems are asked for."""
    torch.manual_seed(0)
    network = LipschitzDenoiser(channels, depth=2, nf=8, kernel_size=3, pretrained=None)
    return network.requires_grad_(False).eval()


def denoisers(channels: int) -> dict[str, Callable[[], nn.Module]]:
    """By name, ours for images of so many channels."""
    return {
        "LipschitzDenoiser": lambda: LipschitzDenoiser(channels),
        "large": lambda: LipschitzDenoiser(channels, pretrained="large"),
        "firmly nonexpansive": lambda: firmly_nonexpansive(LipschitzDenoiser(channels), 0.99),
        "Tiled": lambda: Tiled(LipschitzDenoiser(channels), 16),
        "Frozen": lambda: Frozen(LipschitzDenoiser(channels), 0.2),
    }


def denoiser_cases() -> Iterator[Case]:
    """The tests of ``test_models`` for every denoiser, and of what wraps one."""
    models, device = tests("test_models"), torch.device("cpu")
    for name in denoisers(1):

        def choose(_: str, size: tuple[int, ...], name: str = name) -> nn.Module:
            return denoisers(size[0])[name]()

        def run(test: str, *given: Any, choose: Any = choose) -> object:
            with patch.object(models, "choose_denoiser", choose):
                return getattr(models, test)(*given)

        for test, given in (
            ("test_denoiser_color", ((3, 37, 31), device, "ours")),
            ("test_denoiser_gray", ((1, 37, 31), device, "ours")),
            ("test_denoiser_1_channel", ((1, 37, 31), device, "ours")),
            ("test_denoiser_sigma_gray", (1, "ours", device)),
            ("test_denoiser_sigma_gray", (2, "ours", device)),
            ("test_denoiser_sigma_color", (1, "ours", device)),
            ("test_denoiser_sigma_color", (2, "ours", device)),
        ):
            yield "denoisers", f"{name}, {test}{given[:1]}", _bound(run, test, *given)
    ours = lambda **_: LipschitzDenoiser(3)  # noqa: E731
    for batch in (1, 2):
        yield "wrappers", f"test_equivariant({batch})", _wrapped(ours, "equivariant", batch)
    for mode in ("real_imag", "abs_angle"):
        yield "wrappers", f"test_complex_wrapper({mode})", _wrapped(ours, "complex", mode)


def _wrapped(ours: Callable[..., nn.Module], kind: str, given: Any) -> Callable[[], object]:
    models, device = tests("test_models"), torch.device("cpu")

    def run() -> object:
        with patch.object(dinv.models, "DRUNet", ours):
            if kind == "equivariant":
                return models.test_equivariant((3, 37, 31), device, given)
            return models.test_complex_wrapper(given, device, example)

    return run


def example(name: str, img_size: int | None = None, **_: Any) -> Tensor:
    """A photograph in the place of the one that deepinv downloads."""
    return photograph("astronaut", size=img_size or 256)


def algorithm_cases() -> Iterator[Case]:
    """deepinv's algorithms with our denoiser, and our solvers on the same problem."""
    optim, device = tests("test_optim"), torch.device("cpu")
    circles = tests("dummy").DummyCircles(samples=2, imsize=(3, 37, 31))
    for algorithm in ("PGD", "HQS", "DRS", "ADMM", "PDCP", "FISTA"):

        def run(test: str, algorithm: str) -> object:
            ours = lambda **_: LipschitzDenoiser(3).requires_grad_(False)  # noqa: E731
            with patch.object(dinv.models, "WaveletDenoiser", ours):
                try:
                    return getattr(optim, test)(algorithm, (3, 37, 31), circles, device)
                except AssertionError as missed:
                    if algorithm in WITHOUT_THEOREM:
                        raise NoTheoremError(WITHOUT_THEOREM[algorithm]) from missed
                    raise

        yield (
            "deepinv's algorithms",
            f"test_pnp_algo({algorithm})",
            _bound(run, "test_pnp_algo", algorithm),
        )
    for kind in (ForwardBackward, ADMM):
        yield "solvers", f"test_pnp_algo({kind.method})", _bound(_deblurs, kind, circles)


def _deblurs(kind: type[PlugAndPlay], circles: Any) -> None:
    """The problem of ``test_pnp_algo``."""
    kernel = dinv.physics.functional.gaussian_blur(sigma=(2, 0.1), angle=45.0)
    physics = dinv.physics.Blur(kernel, padding="circular")
    y = physics(circles[0]["x"][None])
    denoiser = LipschitzDenoiser(3).requires_grad_(False)
    solution = kind(denoiser, 0.1, tol=1e-4, max_iter=1000).solve(y, physics)
    if not bool(solution.converged.all()) or not solution.guaranteed:
        raise AssertionError(f"expected convergence under a theorem, got: {solution.message}")


def operator_cases() -> Iterator[Case]:
    """Both solvers on every physics of ``test_physics``."""
    physics = tests("test_physics")
    for name in physics.OPERATORS:
        for kind in (ForwardBackward, ADMM):
            yield kind.method, name, _bound(_solves, kind, physics.find_operator, name)
        for wrapper in filter(None, physics.WRAPPERS):
            if name != "inpainting" and (name, wrapper) != ("fftdeblur", "PhysicsCropper"):
                continue
            for kind in (ForwardBackward, ADMM):
                yield (
                    kind.method,
                    f"{name}, {wrapper}",
                    _bound(_solves_wrapped, kind, name, wrapper),
                )
    for name in physics.NONLINEAR_OPERATORS + physics.PHASE_RETRIEVAL_OPERATORS:
        for kind in (ForwardBackward, ADMM):
            yield f"{kind.method}, not linear", name, _bound(_solves_nonlinear, kind, name)


def _solves(kind: type[PlugAndPlay], find: Callable[..., Any], name: str) -> None:
    torch.manual_seed(0)
    physics, size, _, dtype = find(name, torch.device("cpu"))
    _has_a_theorem(kind, physics, size, dtype)


def _solves_wrapped(kind: type[PlugAndPlay], name: str, wrapper: str) -> None:
    module, device = tests("test_physics"), torch.device("cpu")
    physics, size, _, dtype = module.find_operator(name, device)
    if wrapper == "LinearPhysicsMultiScaler":
        # wrap_physics of deepinv 0.5 calls an argument img_shape that is called img_size.
        wrapped = dinv.physics.LinearPhysicsMultiScaler(physics, size, factors=(2, 4, 8))
        wrapped.set_scale(2)
        size = (*size[:-2], size[-2] // 4, size[-1] // 4)
    else:
        wrapped, size = module.wrap_physics(wrapper, physics, size, device)
    _has_a_theorem(kind, wrapped, size, dtype)


def _solves_nonlinear(kind: type[PlugAndPlay], name: str) -> None:
    module, device = tests("test_physics"), torch.device("cpu")
    if name in module.NONLINEAR_OPERATORS:
        physics, x = module.find_nonlinear_operator(name, device)
    else:
        physics, size = module.find_phase_retrieval_operator(name, device)
        x = torch.rand((1, *size), dtype=torch.cfloat)
    kind(small(1), 0.02).solve(physics.A(x), physics)


def _has_a_theorem(
    kind: type[PlugAndPlay], physics: Any, size: tuple[int, ...], dtype: torch.dtype
) -> None:
    """Solve for a few steps: the start of a run shows every hypothesis and every fault."""
    x = torch.rand((1, *size), dtype=torch.float64).to(dtype)
    solution = kind(small(1), 0.02, max_iter=15).solve(physics.A(x), physics)
    if not solution.guaranteed or solution.x.shape != x.shape:
        raise AssertionError(f"no claim: {solution.message}")


def restoration_cases() -> Iterator[Case]:
    """``test_restoration_models`` with a solver in the place of the trained network."""
    models = tests("test_models")
    for kind in (ForwardBackward, ADMM):
        for name in models.LINEAR_OPERATORS:
            for channels in models.CHANNELS:
                case = f"{name}, {channels} channels"
                yield f"restoration, {kind.method}", case, _bound(_restores, kind, name, channels)


def _restores(kind: type[PlugAndPlay], name: str, channels: int) -> object:
    """Shapes, a higher PSNR than the pseudo-inverse, and the backward pass, in one test of deepinv."""
    models = tests("test_models")

    def choose(*_: Any, in_channels: int, **__: Any) -> nn.Module:
        network = LipschitzDenoiser(in_channels if in_channels in (1, 3) else 1)
        return kind(network, SIGMA, differentiable=True, max_iter=100, tol=1e-4)

    rng, device = torch.Generator().manual_seed(0), torch.device("cpu")
    # With the first physics of its list the test asks for the PSNR of a trained network on an image that is
    # downloaded; that figure says nothing here.
    lists = patch.object(models, "LINEAR_OPERATORS", [""])
    with patch.object(models, "choose_restoration_model", choose), lists:
        return models.test_restoration_models(
            device, True, "ram", name, channels, rng, models.LIST_IMAGE_WHSIZE[0], example
        )


def _bound(run: Callable[..., object], *given: Any) -> Callable[[], object]:
    return lambda: run(*given)


def verdict(run: Callable[[], object]) -> Row:
    """What became of one case, and in which words."""
    import pytest

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            run()
    except pytest.skip.Exception as skipped:
        return {"verdict": "skipped", "words": str(skipped)}
    except PnpLipError as refusal:
        return {"verdict": "refused", "words": str(refusal)}
    except Exception as fault:
        return {"verdict": "failed", "words": f"{type(fault).__name__}: {fault}"[:400]}
    return {"verdict": "passed", "words": ""}


PARTS: dict[str, Callable[[], Iterator[Case]]] = {
    "denoisers": denoiser_cases,
    "algorithms": algorithm_cases,
    "operators": operator_cases,
    "restoration": restoration_cases,
}


def counts_table(rows: Rows) -> str:
    """How the cases of every list ended."""
    counted: dict[str, Counter[str]] = {}
    for (group, _), row in rows.items():
        counted.setdefault(group, Counter())[str(row["verdict"])] += 1
    kinds = ("passed", "refused", "skipped", "failed")
    return table(
        ["list", "cases", *kinds],
        [
            [group, str(found.total()), *(str(found[kind]) for kind in kinds)]
            for group, found in counted.items()
        ],
    )


def refusals_table(rows: Rows) -> str:
    """Every case that did not pass, with its words; those of nonlinear physics are all refused as such."""
    return table(
        ["list", "case", "ended", "words"],
        [
            [*names, str(row["verdict"]), str(row["words"]).replace("|", "\\|").replace("\n", " ")]
            for names, row in rows.items()
            if row["verdict"] in ("refused", "failed") and "not linear" not in names[0]
        ],
    )


BENCHMARK = Benchmark(
    "deepinv_tests",
    __doc__,
    tables={"deepinv_tests": counts_table, "deepinv_tests-refused": refusals_table},
    selecting=("parts", "only"),
    packages=("deepinv",),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--only", nargs="+", help="cases whose name contains one of these")
    options = parser.parse_args()
    recording = BENCHMARK.start(options)
    warnings.simplefilter("ignore")
    for part in options.parts:
        for group, case, run in PARTS[part]():
            if not options.only or any(word in case for word in options.only):
                recording.add(group, case, row=verdict(run))
    recording.close()


if __name__ == "__main__":
    main()
