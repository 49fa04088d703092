"""On a GPU everything is what it is on the CPU: values, proofs, plans, solves, guards and training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from deepinv.optim.data_fidelity import L1
from deepinv.physics import MRI, BlurFFT, Inpainting, LinearPhysics
from skimage import io
from torch import Tensor, nn

from pnp_lip import Frozen, FrozenGuided, Guard, GuidedDenoiser, LipschitzDenoiser
from pnp_lip.certifier import certify
from pnp_lip.data.photographs import photograph
from pnp_lip.solvers import ADMM, ForwardBackward, PrimalDual, Status
from pnp_lip.training import GuidedConfig, GuidedTraining, Training, TrainingConfig

DEVICE = "cuda"
SIZE = (1, 40, 48)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(autouse=True)
def all_bits() -> Any:
    """Products in float32, not in the shorter format of tensor cores."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def blur() -> LinearPhysics:
    return BlurFFT(SIZE, filter=torch.ones(1, 1, 3, 3) / 9, device=DEVICE)


def inpainting() -> LinearPhysics:
    mask = torch.ones(SIZE)
    mask[..., 10:20, 10:30] = 0
    return Inpainting(SIZE, mask=mask.to(DEVICE), device=DEVICE)


@pytest.mark.parametrize("channels", [1, 3])
def test_denoisers_have_the_values_of_the_cpu(channels: int) -> None:
    x = torch.rand(2, channels, 33, 40)
    levels = torch.tensor([0.05, 0.1])
    for kind in (LipschitzDenoiser, GuidedDenoiser):
        here, there = kind(channels), kind(channels, device=DEVICE)
        with torch.no_grad():
            assert torch.allclose(
                there(x.to(DEVICE), levels.to(DEVICE)).cpu(), here(x, levels), atol=2e-4
            )


def test_folded_denoisers_have_the_values_of_the_cpu(image: Tensor) -> None:
    for kind, frozen in ((LipschitzDenoiser, Frozen), (GuidedDenoiser, FrozenGuided)):
        here, there = frozen(kind(1), 0.1), frozen(kind(1, device=DEVICE), 0.1)
        assert torch.allclose(there(image.to(DEVICE)).cpu(), here(image), atol=2e-4)


def test_a_certificate_is_the_one_of_the_cpu() -> None:
    here, there = certify(LipschitzDenoiser(1)), certify(LipschitzDenoiser(1, device=DEVICE))
    assert there.upper == here.upper
    assert there.averagedness == here.averagedness


def test_a_users_network_is_certified_where_it_is() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
    here = certify(network, images=torch.rand(1, 1, 16, 16))
    there = certify(network.to(DEVICE), images=torch.rand(1, 1, 16, 16, device=DEVICE))
    assert there.upper == pytest.approx(here.upper, rel=1e-6)
    assert there.lower <= there.upper


@pytest.mark.parametrize("physics", [blur, inpainting])
@pytest.mark.parametrize("guided", [False, True])
def test_forward_backward_ends_where_it_does_on_the_cpu(
    image: Tensor, physics: Any, guided: bool
) -> None:
    ends = []
    for device in ("cpu", DEVICE):
        operator = physics().to(device)
        denoiser = (GuidedDenoiser if guided else LipschitzDenoiser)(1, device=device)
        solver = ForwardBackward(denoiser, 0.05, tol=1e-5, max_iter=2000)
        solution = solver.solve(operator(image.to(device)), operator)
        assert solution.status is Status.CONVERGED
        ends.append(solution.x)
    assert ends[1].device.type == DEVICE
    assert torch.allclose(ends[1].cpu(), ends[0], atol=5e-3)


def test_admm_and_primal_dual_run_there(image: Tensor) -> None:
    operator = blur()
    y = operator(image.to(DEVICE))
    denoiser = LipschitzDenoiser(1, device=DEVICE)
    admm = ADMM(denoiser, 0.05, tol=1e-4).solve(y, operator)
    assert admm.status is Status.CONVERGED
    dual = PrimalDual(denoiser, 0.05, data_fidelity=L1(), tol=1e-3, max_iter=2000)
    assert dual.solve(y, operator).status is Status.CONVERGED


def test_complex_images_are_solved_there() -> None:
    truth = torch.rand(1, 2, 32, 32, device=DEVICE)
    mask = torch.zeros(1, 1, 32, 32, device=DEVICE)
    mask[..., ::2] = 1
    operator = MRI(mask=mask, img_size=(32, 32), device=DEVICE)
    denoiser = LipschitzDenoiser(1, device=DEVICE)
    solution = ForwardBackward(denoiser, 0.02, tol=1e-4, max_iter=2000).solve(
        operator(truth), operator
    )
    assert solution.status is Status.CONVERGED


def test_a_guard_sees_an_expansion_there(image: Tensor) -> None:
    class Doubling(nn.Module):
        def forward(self, x: Tensor, sigma: float) -> Tensor:
            return 2 * x

    guard = Guard(Doubling(), 1.0)
    guard(image.to(DEVICE), 0.1)
    with pytest.raises(RuntimeError, match="the ratio 2 between two iterates"):
        guard(image.to(DEVICE) + 0.1, 0.1)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for name in ("train", "validation"):
        (tmp_path / name).mkdir()
        pixels = (photograph("camera")[0, 0, :200, :200] * 255).round().byte().numpy()
        io.imsave(tmp_path / name / "one.png", pixels, check_contrast=False)
    return tmp_path


@pytest.mark.parametrize("guided", [False, True])
def test_training_there_holds_the_constraint_and_continues(photographs: Path, guided: bool) -> None:
    sizes: dict[str, Any] = {
        "train": (str(photographs / "train"),),
        "validation": str(photographs / "validation"),
        "validation_images": 1,
        "patch": 32,
        "batch": 4,
        "steps": 4,
        "evaluate_every": 2,
        "averagedness": 0.99,
    }
    if guided:
        config: Any = GuidedConfig(
            **sizes,
            in_channels=1,
            initial="guided",
            unfreeze=0,
            restored=str(photographs / "restored.safetensors"),
            restored_count=4,
            restored_share=0.5,
        )
        run: Any = GuidedTraining
    else:
        config = TrainingConfig(**sizes, in_channels=1, depth=2, nf=8, kernel_size=3)
        run = Training
    folder = photographs / "run"
    half = run(config, folder, DEVICE)
    for _ in zip(half.run(), range(2), strict=False):
        pass
    again = run(config, folder, DEVICE)
    assert again.step == 2
    losses = list(again.run())
    assert len(losses) == 2
    assert [row["step"] for row in again.curve] == [2, 4]
    assert again.curve[-1]["averagedness"] < 1
    moved = run(replace(config, seed=1), photographs / "other", DEVICE)
    assert next(iter(moved.run())) > 0
