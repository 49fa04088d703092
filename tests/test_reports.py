"""Sweeps, contact sheets, figures of any shape, and the page for the lab book."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from deepinv.optim.data_fidelity import L1
from skimage import io
from torch import Tensor

from pnp_lip import GuidedDenoiser, LipschitzDenoiser
from pnp_lip.cli import main
from pnp_lip.data.images import write_image
from pnp_lip.data.photographs import photograph
from pnp_lip.denoisers.frozen import Frozen
from pnp_lip.errors import InputError
from pnp_lip.recipes import deblur, deconvolve, estimate, inpaint, networks, photons
from pnp_lip.recipes.by_discrepancy import restore_by_discrepancy
from pnp_lip.recipes.denoise import denoise
from pnp_lip.recipes.estimate import Estimate, estimated
from pnp_lip.recipes.figure import residual_curve, save_figure
from pnp_lip.recipes.lab_page import lab_page
from pnp_lip.recipes.networks import network
from pnp_lip.recipes.problem import Problem
from pnp_lip.recipes.restoration import Options, restore
from pnp_lip.recipes.sweep import Sweep, misfit, sweep
from pnp_lip.solvers import memory
from pnp_lip.solvers.discrepancy import default_target
from pnp_lip.solvers.misfit import count_discrepancy
from pnp_lip.weights import write_weights

KERNEL = torch.ones(1, 1, 3, 3) / 9


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Weights of a small network in the current folder."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    write_weights(
        LipschitzDenoiser(1, depth=1, nf=4, kernel_size=3, pretrained=None), "grey.safetensors"
    )
    write_image("image.png", photograph("camera")[..., 60:100, 90:138])
    write_image("kernel.png", torch.ones(1, 1, 3, 3))
    return "grey.safetensors"


def solved(image: Tensor, **options: Any) -> Sweep:
    problem = deblur.simulated(image, KERNEL, 0.02, seed=0)
    how = Options(0.1, tol=1e-5, max_iter=80, **options)
    return sweep(problem, how, (1.5, 0.25, 0.75), 0.02)


# Sweeps


def test_a_sweep_is_the_restorations_one_by_one(image: Tensor) -> None:
    found = solved(image)
    assert [one.options.sigma for one in found.tries] == pytest.approx([0.005, 0.015, 0.03])
    for one in found.tries:
        alone = restore(one.problem, one.options)
        assert float((one.image - alone.image).abs().max()) < 2e-3
    lines = found.to_dict()["sweep"]
    assert [line["strength"] for line in lines] == pytest.approx([0.25, 0.75, 1.5])
    scores = [line["psnr"] for line in lines]
    assert found.chosen == int(np.argmax(scores)) == 1
    assert torch.equal(found.image, found.tries[1].image)
    assert found.to_dict()["psnr_restoration"] == scores[1]
    assert all(f"{score:.2f}" in found.summary() for score in scores)


def test_the_misfit_grows_with_the_strength_and_chooses_without_a_truth(image: Tensor) -> None:
    y = deblur.simulated(image, KERNEL, 0.02, seed=0).y
    problem = deblur.observed(y, KERNEL, 0.02)
    found = sweep(problem, Options(0.1, max_iter=60, tol=1e-4), (0.2, 0.8, 5.0), 0.02)
    misfits = [misfit(one) for one in found.tries]
    assert misfits == sorted(misfits)
    assert found.chosen == int(np.argmin(np.abs(np.log(np.array(misfits) / default_target(0.02)))))
    residual = problem.physics.A(found.tries[0].solution.x) - problem.y
    assert misfits[0] == pytest.approx(float(residual.square().mean()) / 0.02**2, rel=1e-5)


def test_without_noise_the_middle_one_is_taken(image: Tensor) -> None:
    mask = inpaint.random_mask(image, 0.3, 0)
    problem = inpaint.observed(mask * image, mask, 0.0)
    found = sweep(problem, Options(0.1, max_iter=2), (1, 2, 3), 0.01)
    assert found.chosen == 1
    assert found.to_dict()["sweep"][0]["discrepancy"] is None


def test_later_solves_start_where_the_last_one_ended(image: Tensor) -> None:
    problem = deblur.simulated(image, KERNEL, 0.02, seed=0)
    options = Options(0.1, tol=1e-4, max_iter=80)
    found = sweep(problem, options, (0.75, 0.76), 0.02)
    assert found.tries[1].solution.iterations < 0.7 * found.tries[0].solution.iterations


@pytest.mark.parametrize("strengths", [(), (0.0,), (-1.0, 1.0), (float("nan"),)])
def test_impossible_strengths_are_refused(image: Tensor, strengths: tuple[float, ...]) -> None:
    problem = deblur.simulated(image, KERNEL, 0.02, seed=0)
    with pytest.raises(InputError, match="one or more positive strengths"):
        sweep(problem, Options(0.1), strengths, 0.02)


def test_weights_are_read_once_and_again_when_the_file_changes(
    small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = network(1, small, "cpu")
    assert network(1, small, "cpu") is first
    torch.manual_seed(1)
    other = LipschitzDenoiser(1, depth=2, nf=4, kernel_size=3, pretrained=None)
    write_weights(other, small)
    second = network(1, small, "cpu")
    assert second is not first
    assert second.sha256 != first.sha256
    assert not any(p.requires_grad for p in second.denoiser.parameters())
    monkeypatch.setattr(networks, "LipschitzDenoiser", None)
    assert network(1, small, "cpu") is second


def test_the_command_draws_a_sheet_and_writes_the_best(
    small: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["deblur", "image.png", "--simulate", "--kernel", "kernel.png", "--weights", small]
    assert main([*arguments, "--strengths", "0.5,1,2", "--max-iter", "200", "--tol", "1e-3"]) == 0
    report = json.loads(Path("deblur.json").read_text())
    best = max(report["sweep"], key=lambda line: float(line["psnr"]))
    assert report["psnr_restoration"] == best["psnr"]
    assert report["sigma"] == best["sigma"] == pytest.approx(best["strength"] * 0.01)
    sheet = io.imread("deblur.figure.png")
    assert sheet.shape[1] > 3 * sheet.shape[0]
    assert "misfit/noise" in capsys.readouterr().out


def test_a_strength_is_a_multiple_of_the_noise(small: str) -> None:
    arguments = ["deblur", "image.png", "--kernel", "kernel.png", "--noise", "0.04"]
    assert main([*arguments, "--weights", small, "--strength", "1.5", "--max-iter", "1"]) == 3
    assert json.loads(Path("deblur.json").read_text())["sigma"] == pytest.approx(0.06)


def test_the_strength_is_chosen_from_the_noise_alone(image: Tensor) -> None:
    problem = deblur.simulated(image, KERNEL, 0.04, seed=0)
    found = restore_by_discrepancy(problem, Options(0.5, tol=1e-4, max_iter=80))
    report = found.to_dict()
    assert report["choice"]["met"]
    assert report["sigma"] == pytest.approx(report["choice"]["sigma"], rel=1e-6)
    assert misfit(found) == pytest.approx(report["choice"]["discrepancy"], rel=1e-5)
    assert report["choice"]["discrepancy"] == pytest.approx(report["choice"]["target"], rel=0.03)
    assert "by the discrepancy principle" in found.summary()
    assert len(found.psnr_curve) == found.solution.iterations
    alone = restore(problem, found.options)
    assert float((alone.image - found.image).abs().max()) < 5e-3


@pytest.mark.parametrize("pose", [photons.simulated, deconvolve.simulated])
def test_the_strength_is_chosen_from_the_number_of_photons(
    image: Tensor, pose: Callable[..., Problem]
) -> None:
    problem = pose(image, KERNEL, photons=200, seed=0)
    found = restore_by_discrepancy(problem, Options(0.5, "primal-dual", tol=1e-4, max_iter=200))
    assert found.choice is not None
    assert found.choice.met
    assert found.choice.target == 0.88
    rest = count_discrepancy(problem.physics, found.solution.x, problem.y, 200)
    assert rest == pytest.approx(found.choice.discrepancy, rel=1e-5)
    assert rest == pytest.approx(0.88, rel=0.03)


@pytest.mark.parametrize("count", [10, 1000])
def test_of_the_true_image_the_misfit_of_counts_is_one(count: int) -> None:
    image = torch.linspace(0.4, 1, 128 * 128).view(1, 1, 128, 128)
    problem = deconvolve.simulated(image, KERNEL, photons=count, seed=0)
    # The root of small counts has another variance than 1 by a few percent; drawn numbers add 1 %.
    found = count_discrepancy(problem.physics, image, problem.y, count)
    assert found == pytest.approx(1, abs=0.04)
    assert count_discrepancy(problem.physics, image, problem.y, 4 * count) > 3.5


def test_noise_of_another_kind_chooses_no_strength(image: Tensor) -> None:
    known = deblur.simulated(image, KERNEL, 0.01, seed=0)
    for problem in (replace(known, fidelity=L1()), replace(known, noise=0.0)):
        with pytest.raises(InputError, match="from the level of Gaussian noise or the number of"):
            restore_by_discrepancy(problem, Options(0.1))


def test_the_command_chooses_the_strength(small: str) -> None:
    arguments = ["deblur", "image.png", "--simulate", "--kernel", "kernel.png", "--weights", small]
    code = main([*arguments, "--noise", "0.04", "--strength", "auto", "--max-iter", "3"])
    assert code in (0, 3)
    report = json.loads(Path("deblur.json").read_text())
    assert report["choice"]["strength"] == pytest.approx(report["sigma"] / 0.04)


def test_the_curve_of_admm_costs_no_application_of_the_denoiser(
    image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    forward = Frozen.forward

    def counted(self: Frozen, *arguments: Any, **options: Any) -> Tensor:
        calls.append(1)
        return forward(self, *arguments, **options)

    monkeypatch.setattr(Frozen, "forward", counted)
    problem = deblur.simulated(image, KERNEL, 0.02, seed=0)
    found = restore(problem, Options(0.016, "admm", tol=1e-4, max_iter=60))
    assert len(found.psnr_curve) == found.solution.iterations
    assert len(calls) <= found.solution.iterations + 2
    score = found.to_dict()["psnr_restoration"]
    assert found.psnr_curve[-1] == pytest.approx(score, abs=0.02)


# Figures


@pytest.mark.parametrize("shape", [(8, 120), (120, 8), (40, 48), (1, 60), (60, 1), (2, 2)])
def test_images_of_every_shape_fill_their_figure(shape: tuple[int, int], tmp_path: Path) -> None:
    x = torch.rand(1, 1, *shape)
    panels = [("observation", x), ("restoration", x)]
    save_figure(panels, tmp_path / "a.png", [residual_curve(torch.rand(5, 1), 0.1)], KERNEL)
    drawn = io.imread(tmp_path / "a.png")[..., :3]
    assert max(drawn.shape[:2]) < 3000
    ink = (drawn < 250).any(-1)
    assert ink.mean() > 0.1


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(1, 1, 24, 30), (1, 3, 24, 30), (1, 1, 8, 24, 30)])
def test_images_of_one_value_are_drawn_without_a_warning(
    value: float, shape: tuple[int, ...], tmp_path: Path
) -> None:
    """Warnings are errors here."""
    x = torch.full(shape, value)
    denoise(x, 0.1, truth=x).draw(tmp_path / "a.png")
    panels = [("truth", x), ("observation", x), ("restoration", x)]
    save_figure(panels, tmp_path / "b.png", [residual_curve(torch.zeros(0, 1), 0.1)], KERNEL * 0)
    assert (tmp_path / "b.png").stat().st_size > 0


def test_a_black_photograph_is_restored_and_reported(small: str) -> None:
    write_image("black.png", torch.zeros(1, 1, 24, 30))
    arguments = ["deblur", "black.png", "--kernel", "kernel.png", "--weights", small]
    assert main([*arguments, "--max-iter", "3"]) in (0, 3)
    assert float(io.imread("deblur.png").max()) == 0


# The page for the lab book


class _Links:
    """What a page would fetch."""

    pattern = re.compile(r"""(?:src|href)\s*=\s*["'](?!data:)|url\(|@import|<script""")


def test_the_page_holds_figure_numbers_theorem_and_certificate(
    small: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["deblur", "image.png", "--simulate", "--kernel", "kernel.png", "--weights", small]
    code = main([*arguments, "--report", "--max-iter", "2"])
    assert code == 3
    assert "deblur.html" in capsys.readouterr().out
    page, report = Path("deblur.html").read_text(), json.loads(Path("deblur.json").read_text())
    assert not _Links.pattern.search(page)
    (picture,) = re.findall(r"base64,([^\"]+)", page)
    assert base64.b64decode(picture) == Path("deblur.figure.png").read_bytes()
    assert f"{report['psnr_restoration']:.6g}" in page
    assert report["theorem"].replace("'", "&#x27;") in page
    assert report["certificate"]["network"].split("|")[0] in page
    assert report["weights_sha256"] in page
    assert set(report["files"]) == {"deblur.png", "deblur.figure.png", "deblur.html"}


def test_a_page_that_was_edited_stays(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["denoise", "image.png", "--weights", small, "--report"]
    assert main(arguments) == 0
    assert main(arguments) == 0
    Path("denoise.html").write_text("my notes")
    assert main(arguments) == 2
    assert "denoise.html was changed since pnp-lip wrote it" in capsys.readouterr().err
    assert Path("denoise.html").read_text() == "my notes"


def report_of(**changes: Any) -> dict[str, Any]:
    plan = {
        "theorem": None,
        "violations": ["<it> fails & so on"],
        "remarks": [],
        "stability": None,
    }
    return {
        "task": "deblurring",
        "status": "CONVERGED",
        "message": "done",
        "plan": plan,
        "certificate": None,
        "versions": {"torch": "2"},
        "iterations": 3,
        **changes,
    }


def test_without_a_theorem_the_page_says_so_and_nothing_is_markup() -> None:
    page = lab_page("<b>", report_of(), b"")
    assert "No convergence theorem applies: &lt;it&gt; fails &amp; so on" in page
    assert "Nothing is proved of the denoiser" in page
    assert "<b>" not in page


def test_the_page_of_a_stack_lists_its_pages() -> None:
    pages = [report_of(iterations=10 + n, psnr_restoration=30.0 + n) for n in range(3)]
    page = lab_page("a.tif", {"task": "deblurring", "status": "3 CONVERGED", "pages": pages}, b"")
    assert "The page in the middle" in page
    for number in range(3):
        cells = (
            f"<td>{number + 1}</td><td>CONVERGED</td><td>{10 + number}</td><td>{30 + number}</td>"
        )
        assert cells in page


# Large images


def test_time_and_memory_of_a_large_image_are_said(
    image: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = deblur.simulated(image, KERNEL, 0.02, seed=0)
    options = Options(0.015, max_iter=30)
    assert estimated(problem, options) is None
    monkeypatch.setattr(estimate, "_LARGE", 1)
    found = estimated(problem, options)
    assert found is not None
    assert found.iteration > 0
    assert found.memory == 4 * (estimate._HELD + 20) * image.numel()
    guided = estimated(problem, replace(options, guided=True))
    assert guided is not None
    filters = sum(GuidedDenoiser(1).denoiser.filters)
    # The maps as they are stored, at half the resolution, and laid out whole.
    assert guided.memory == found.memory + (1 + 4) * filters * image.numel()
    monkeypatch.setattr(memory, "WHOLE_BYTES", 0)
    guided = estimated(problem, replace(options, guided=True))
    assert guided is not None
    assert guided.memory == found.memory + filters * image.numel()
    assert "for 30 iterations" in found.sentence()
    volume = torch.rand(1, 1, 8, 24, 24)
    assert estimated(deconvolve.observed(volume, torch.ones(1, 1, 3, 3, 3)), options) is not None


def test_durations_are_said_in_the_unit_that_fits() -> None:
    said = Estimate(iteration=67.0, memory=5.7e9, most=300).sentence()
    assert "about 67 s an iteration" in said
    assert "45 min for 40 iterations, at most 5.6 h; about 5.7 GB" in said


def test_fewer_differences_of_large_images_are_kept() -> None:
    kept = Options(0.1).memory_of
    assert kept(torch.empty(1, 1, 512, 512, device="meta")) == 10
    assert kept(torch.empty(1, 3, 2000, 3000, device="meta")) == 7
    assert kept(torch.empty(1, 3, 4000, 6000, device="meta")) == 5
