"""Without an example a network is tried on images that its layers speak of."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pnp_lip import Refusal
from pnp_lip.certifier import admits, certify, prove


class _Joined(nn.Module):
    """Two branches, of which the one registered first is applied second."""

    def __init__(self) -> None:
        super().__init__()
        self.second, self.first = nn.Conv2d(6, 1, 3), nn.Conv2d(5, 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(torch.relu(self.first(x)))
        return y


class _Named(nn.Module):
    """No layer of torch, but a number of channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_channels = channels

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != self.in_channels:
            raise ValueError("other channels")
        return torch.tanh(x)


class _Matrix(nn.Module):
    """A matrix that is no layer of torch."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        entries = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
        self.matrix = nn.Parameter(entries)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.matrix.T


#: Networks, and a shape that their statement admits.
TOLD: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "one axis": (lambda: nn.Sequential(nn.Conv1d(5, 2, 3), nn.Tanh()), (2, 5, 40)),
    "two axes": (lambda: nn.Sequential(nn.Conv2d(5, 2, 3), nn.Tanh()), (2, 5, 40, 30)),
    "three axes": (lambda: nn.Sequential(nn.Conv3d(2, 2, 3), nn.Tanh()), (2, 2, 9, 9, 9)),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(5, 2, 3), nn.Tanh()), (2, 5, 9, 9)),
    "in groups": (lambda: nn.Sequential(nn.Conv2d(8, 4, 3, groups=4), nn.Tanh()), (2, 8, 9, 9)),
    "vectors": (lambda: nn.Sequential(nn.Linear(7, 3), nn.Tanh()), (2, 7)),
    "digits": (
        lambda: nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Flatten(), nn.Linear(28**2, 3)),
        (1, 1, 28, 28),
    ),
    "small colour images": (
        lambda: nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.Flatten(), nn.Linear(32**2, 2)),
        (1, 3, 32, 32),
    ),
    "after another layer": (
        lambda: nn.Sequential(nn.BatchNorm2d(6), nn.Conv2d(6, 1, 3), nn.Tanh()).eval(),
        (2, 6, 9, 9),
    ),
    "of the second layer": (_Joined, (2, 5, 9, 9)),
    "named": (lambda: _Named(7), (2, 7, 9, 9)),
    "of a matrix": (lambda: _Matrix(4, 7), (2, 7)),
    "any": (lambda: nn.Sequential(nn.Tanh(), nn.PixelShuffle(2)), (2, 12, 9, 9)),
}


@pytest.mark.parametrize("name", TOLD)
def test_the_shape_of_images_is_told_from_the_layers(name: str) -> None:
    make, shape = TOLD[name]
    network = make()
    statement = prove(network)
    assert admits(statement.conditions, shape)
    network(torch.rand(shape))


def test_a_dense_network_has_a_witness_without_an_example() -> None:
    network = nn.Linear(7, 4)
    exact = float(torch.linalg.matrix_norm(network.weight.detach().double(), 2))
    certificate = certify(network)
    assert exact * 0.99 <= certificate.lower <= exact <= certificate.upper <= 1.01 * exact


def test_a_network_that_takes_nothing_that_was_tried_asks_for_an_example() -> None:
    class Strange(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[1] != 11:
                raise ValueError("other channels")
            return torch.tanh(x)

    with pytest.raises(Refusal, match="pass an input it takes with example="):
        prove(Strange())
