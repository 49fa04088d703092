"""The inputs and shapes that are tried on a network of which nothing is said."""

from __future__ import annotations

import pytest
import torch
from deepinv.models import DnCNN
from skimage import data
from torch import Tensor, nn

from pnp_lip.certifier import prove
from pnp_lip.certifier.calls import likely_shapes
from pnp_lip.certifier.examples import default_inputs


class Product(nn.Module):
    """``x W^T`` along the last axis, without a layer that says so."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.mT


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (nn.Linear(5, 3), (1, 5)),
        (nn.Conv1d(2, 3, 3), (1, 2, 96)),
        (nn.Conv3d(3, 2, 3), (1, 3, 8, 8, 8)),
        (nn.Sequential(nn.ReLU(), nn.Linear(7, 5), nn.Linear(5, 2)), (1, 7)),
    ],
)
def test_what_takes_no_images_is_measured_on_the_same_random_numbers_every_time(
    network: nn.Module, shape: tuple[int, ...]
) -> None:
    (found,) = default_inputs(network)
    assert (tuple(found.shape), found.dtype) == (shape, torch.float64)
    assert torch.equal(found, default_inputs(network)[0])
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert len(found.unique()) == found.numel()
    assert network.double()(found).ndim == found.ndim


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_what_takes_images_is_measured_on_two_parts_of_photographs(channels: int) -> None:
    found = default_inputs(nn.Conv2d(channels, 1, 3))
    assert [tuple(one.shape) for one in found] == [(1, channels, 24, 24)] * 2
    pixels = torch.from_numpy(data.astronaut()).movedim(-1, 0).double() / 255
    if channels == 1:
        pixels = torch.from_numpy(data.camera())[None].double() / 255
    top, left = (330, 230) if channels == 1 else (95, 215)
    cut = found[1 if channels == 1 else 0][0].double()
    for channel in range(channels):
        start = left + 4 * (channel // 3)
        wanted = pixels[channel % 3, top : top + 24, start : start + 24]
        torch.testing.assert_close(cut[channel], wanted, rtol=0, atol=1e-6)
    assert not torch.equal(found[0], found[1])


def test_nothing_is_measured_where_nothing_tells_what_a_network_takes() -> None:
    assert default_inputs(nn.ReLU()) == []
    assert default_inputs(DnCNN(2, 2, depth=2, nf=2, pretrained=None))[0].shape[1] == 2


def test_the_likeliest_shape_is_that_of_the_first_layer() -> None:
    for network, shape in (
        (nn.Conv2d(2, 3, 3), (3, 2, 64, 96)),
        (nn.Conv1d(2, 3, 3), (3, 2, 64)),
        (nn.Conv3d(2, 3, 3), (3, 2, 64, 96, 32)),
        (nn.Linear(5, 3), (3, 5)),
    ):
        assert likely_shapes(network, None)[0] == shape


def test_a_matrix_that_is_no_layer_is_tried_with_vectors_before_small_images() -> None:
    shapes = likely_shapes(Product(5, 7), None)
    assert shapes[0] == (3, 12, 64, 96)
    assert shapes.index((3, 7)) < shapes.index((3, 1, 28, 28))
    assert (3, 5) not in shapes
    network = Product(5, 7)
    norm = float(torch.linalg.matrix_norm(network.weight.detach().double(), 2))
    assert norm <= prove(network).upper <= norm * 1.01


def test_a_stack_of_kernels_that_is_no_layer_tells_the_channels_and_is_no_matrix() -> None:
    network = nn.ParameterList([torch.ones(5, 7, 3, 3)])
    shapes = likely_shapes(network, None)
    assert shapes[0] == (3, 7, 64, 96)
    assert (3, 7) not in shapes
