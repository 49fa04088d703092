"""MNIST is read, and classified by networks proved 1-Lipschitz."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pnp_lip.certifier import Refusal, prove
from pnp_lip.constraints import project
from pnp_lip.data import mnist
from pnp_lip.data.mnist import Mnist, load_mnist, shifted, warped
from pnp_lip.layers import ConvGradientStep
from pnp_lip.networks import (
    Fit,
    FixedWidthNetwork,
    NearestPrototype,
    attacked_accuracy,
    certified_accuracy,
    certified_radius,
    predict,
    prove_outputs,
    train,
    worst_points,
)


def idx(array: np.ndarray) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(b"\0\0\x08" + bytes([array.ndim]) + sizes + array.tobytes())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a machine without MNIST and without a network: empty home, no variables."""

    def offline(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", offline)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PNP_LIP_DATA", raising=False)
    return tmp_path / "home" / ".cache" / "pnp_lip" / "mnist"


@pytest.fixture
def tiny(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data with four small files, whose hashes count as the known ones."""
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    resources = []
    for split, prefix, count in (("train", "train", 5), ("test", "t10k", 3)):
        pixels = (np.arange(count * 784).reshape(count, 28, 28) % 256).astype(np.uint8)
        labels = np.arange(count, dtype=np.uint8)
        for what, array, suffix in (("images", pixels, "idx3"), ("labels", labels, "idx1")):
            path = folder / f"{prefix}-{what}-{suffix}-ubyte.gz"
            path.write_bytes(idx(array))
            resources.append((path.name, hashlib.md5(path.read_bytes()).hexdigest()))
            digest = hashlib.sha256(array.tobytes()).hexdigest()
            monkeypatch.setitem(mnist._HASHES, f"{split} {what}", digest)
    monkeypatch.setattr(mnist.datasets.MNIST, "resources", resources)
    monkeypatch.setenv("PNP_LIP_DATA", str(tmp_path / "data"))
    return folder


def test_files_of_a_folder_of_data_are_read_into_the_unit_interval_and_kept(
    tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):  # from the folder, then from the cache alone
        digits = load_mnist(download=False)
        assert digits.images.shape == (5, 1, 28, 28)
        assert digits.test_images.shape == (3, 1, 28, 28)
        assert digits.images[0, 0, 0, 3] == torch.tensor(3.0) / 255
        assert digits.images.max() == 1
        assert digits.labels.tolist() == [0, 1, 2, 3, 4]
        assert digits.test_labels.tolist() == [0, 1, 2]
        monkeypatch.delenv("PNP_LIP_DATA", raising=False)
    assert sorted(path.name for path in tiny.iterdir()) == sorted(
        name for name, _ in mnist.datasets.MNIST.resources
    )


@pytest.mark.parametrize("download", [False, True])
def test_missing_files_are_reported_with_how_to_get_them(cache: Path, download: bool) -> None:
    with pytest.raises(FileNotFoundError, match=r"put the four files .* PNP_LIP_DATA"):
        load_mnist(download=download)


def test_truncated_files_are_not_read(tiny: Path) -> None:
    path = tiny / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(FileNotFoundError, match=r"put the four files .* PNP_LIP_DATA"):
        load_mnist()


def test_other_digits_than_the_known_ones_are_refused(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(mnist._HASHES, "train labels", hashlib.sha256(b"other").hexdigest())
    with pytest.raises(ValueError, match=r"labels for train in .* are not those of MNIST"):
        load_mnist()


def test_held_out_examples_are_the_last_of_the_training_set() -> None:
    labels = torch.arange(10)
    digits = Mnist(torch.rand(10, 1, 28, 28), labels, torch.rand(2, 1, 28, 28), labels[:2])
    split = digits.hold_out(3)
    assert split.labels.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert split.test_labels.tolist() == [7, 8, 9]
    assert torch.equal(split.test_images, digits.images[7:])
    with pytest.raises(ValueError, match="count must lie between 0 and 10"):
        digits.hold_out(10)


def test_shifted_images_are_translates_by_every_offset_within_reach() -> None:
    image = torch.rand(1, 1, 9, 9) + 1
    moved = shifted(image.repeat(300, 1, 1, 1), torch.Generator().manual_seed(0), 2)
    padded = nn.functional.pad(image, (2,) * 4)
    offsets = {(i, j): padded[0, 0, i : i + 9, j : j + 9] for i in range(5) for j in range(5)}
    seen = [next(k for k, v in offsets.items() if torch.equal(v, one[0])) for one in moved]
    assert set(seen) == set(offsets)


def test_warped_images_take_their_values_within_the_strength_of_the_map() -> None:
    axis = torch.arange(28.0) - 13.5
    ramp = axis.expand(1, 1, 28, 28).repeat(300, 1, 1, 1)  # every pixel holds its column
    generator = torch.Generator().manual_seed(0)
    assert torch.allclose(warped(ramp, generator, 0.0), ramp, atol=1e-5)
    moved = (warped(ramp, generator, 0.05) - ramp)[:, 0, 6:22, 6:22]
    reach = 0.05 * (axis.abs() + axis.abs()[:, None] + 10)[6:22, 6:22]
    assert (moved.abs() <= reach + 1e-4).all()
    assert (moved.abs() / reach).max() > 0.8
    assert moved.mean().abs() < 0.1
    assert not torch.equal(moved[0], moved[1])


def brute_force_margins(prototypes: Tensor, z: Tensor) -> Tensor:
    """max over own, min over other prototypes, of the distance to the bisector, for every class."""
    classes = len(prototypes)
    out = torch.empty(len(z), classes, dtype=z.dtype)
    for n, point in enumerate(z):
        for c in range(classes):
            values = []
            for p in prototypes[c]:
                others = torch.cat([prototypes[k] for k in range(classes) if k != c])
                sides = (point - others).square().sum(1) - (point - p).square().sum()
                values.append((sides / (2 * torch.linalg.vector_norm(others - p, dim=1))).min())
            out[n, c] = torch.stack(values).max()
    return out


def test_logits_of_nearest_prototypes_are_the_max_min_of_distances_to_bisectors() -> None:
    torch.manual_seed(0)
    head = NearestPrototype(torch.randn(3, 4, 5, dtype=torch.float64))
    z = torch.randn(200, 5, dtype=torch.float64)
    expected = brute_force_margins(head.prototypes.detach(), z)
    logits = head(z).detach()
    assert torch.allclose(logits, expected.clamp(min=0), atol=1e-12)
    assert ((expected > 0).sum(1) == 1).all()
    nearest = torch.cdist(z, head.prototypes.detach().flatten(0, 1)).argmin(1) // 4
    assert torch.equal(predict(logits), nearest)
    assert torch.equal(predict(head.class_scores(z)), nearest)
    labels = torch.randint(3, (200,))
    trained = head.training_margin(z, labels).detach()
    own = expected.gather(1, labels[:, None])[:, 0]
    assert (trained <= own + 1e-12).all()
    assert torch.equal(trained > 0, own > 0)


def test_logits_of_nearest_prototypes_change_by_at_most_the_distance_in_the_sum_norm() -> None:
    torch.manual_seed(0)
    head = NearestPrototype(torch.randn(3, 5, 2, dtype=torch.float64))
    z = torch.randn(4000, 2, dtype=torch.float64)
    step = torch.randn_like(z) * torch.logspace(-3, 0.5, 4000, dtype=torch.float64)[:, None]
    with torch.no_grad():
        change = (head(z) - head(z + step)).abs().sum(1)
    ratio = change / torch.linalg.vector_norm(step, dim=1)
    assert 0.999 < ratio.max() <= 1 + 1e-9
    assert prove(head).upper == 1


def test_radius_of_nearest_prototypes_is_the_distance_to_another_class() -> None:
    head = NearestPrototype(torch.tensor([[[0.0, 0.0]], [[2.0, 0.0]]], dtype=torch.float64))
    z = torch.tensor([[0.25, 3.0]], dtype=torch.float64)
    radius = certified_radius(head(z), prove(head))
    assert math.isclose(float(radius), 0.75, rel_tol=1e-12)
    assert radius <= 0.75
    labels = torch.tensor([0])
    assert attacked_accuracy(head, z, labels, 0.74) == 1
    assert attacked_accuracy(head, z, labels, 0.76) == 0


def test_prototype_in_two_classes_is_refused() -> None:
    points = torch.randn(3, 4, 5)
    points[2, 1] = points[0, 3]
    with pytest.raises(Refusal, match="one prototype in two classes"):
        prove(NearestPrototype(points))
    points[2, 1] = points[2, 0]
    assert prove(NearestPrototype(points)).upper == 1
    with pytest.raises(ValueError, match="expected prototypes of shape"):
        NearestPrototype(points[0])


def test_convolutions_before_prototypes_are_proved_from_pixels_to_logits() -> None:
    torch.manual_seed(0)
    step = ConvGradientStep(torch.randn(8, 4, 3, 3), tau=2.0)
    head = NearestPrototype(torch.randn(3, 4, 64))
    model = nn.Sequential(nn.PixelUnshuffle(2), step, nn.Flatten(), head)
    assert prove(model, gap=1e-6).upper > 1
    project(model)
    statement = prove(model, gap=1e-6)
    assert (statement.upper, statement.outputs) == (1, "l1")
    x = torch.rand(200, 1, 8, 8)
    labels = predict(model(x))
    radii = certified_radius(model(x), statement)
    for radius in (0.5 * float(radii.median()), float(radii.median())):
        certified = certified_accuracy(model(x), labels, radius, statement)
        assert attacked_accuracy(model, x, labels, radius) >= certified > 0.4


def test_attack_stays_in_its_ball_and_finds_the_boundary_of_a_linear_classifier() -> None:
    torch.manual_seed(0)
    model = nn.Linear(6, 3)
    x = torch.randn(50, 6)
    labels = predict(model(x))
    with torch.no_grad():
        logits = model(x)
        rows = model.weight[labels][:, None] - model.weight
        sides = (logits.gather(1, labels[:, None]) - logits) / torch.linalg.vector_norm(rows, dim=2)
    distance = sides.nan_to_num(torch.inf).amin(1)
    for radius in (0.2, 0.5, 1.0):
        worst = worst_points(model, x, labels, radius, steps=40)
        assert torch.linalg.vector_norm(worst - x, dim=1).max() <= radius * (1 + 1e-5)
        broken = predict(model(worst)) != labels
        assert not broken[distance > 1.01 * radius].any()
        assert broken[distance < 0.95 * radius].double().mean() > 0.95


def test_proved_network_learns_mnist_also_within_a_radius() -> None:
    try:
        digits = load_mnist(download=False)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    torch.manual_seed(0)
    network = FixedWidthNetwork(784, 50, 5, outputs=10, hidden=12)
    x, test_x = digits.images[:20000].flatten(1), digits.test_images[:4000].flatten(1)
    labels = digits.test_labels[:4000]
    train(network, x, digits.labels[:20000], Fit(epochs=5, temperature=5.0))
    statement = prove_outputs(network)
    assert statement.upper <= 1
    logits = network(test_x).detach()
    assert (predict(logits) == labels).double().mean() >= 0.93
    certified = certified_accuracy(logits, labels, 0.3, statement)
    assert certified >= 0.5
    assert attacked_accuracy(network, test_x[:200], labels[:200], 0.3) >= certified_accuracy(
        logits[:200], labels[:200], 0.3, statement
    )
