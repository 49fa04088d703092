"""Inputs from which witnesses are sought: parts of photographs, and the maps at a noise level."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import torch
from deepinv.models import Denoiser
from skimage import data
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from pnp_lip.certifier.calls import likely_shapes
from pnp_lip.certifier.witness import RADII, Map, Witness, best_of, climb, power_witness
from pnp_lip.data.images import to_channels

__all__ = ["default_inputs", "measure", "shapes_of_inputs"]

#: Where the cuts lie: an eye with hair around it, and a leg of the tripod.
_CUTS = (("astronaut", 95, 215), ("camera", 330, 230))
_SIDE = 24
#: Sides of what is no image, by the number of axes.
_SIDES: dict[int, tuple[int, ...]] = {0: (), 1: (4 * _SIDE,), 3: (8, 8, 8)}
#: Power steps and climbs of each search; fewer for networks with many parameters, which take long.
_SMALL, _LARGE, _MANY = (12, 25), (4, 6), 300_000


def default_inputs(network: nn.Module) -> list[Tensor]:
    """Inputs of the kind that ``network`` most likely takes; none where nothing tells."""
    if getattr(network, "in_channels", None) is None and not network.state_dict():
        return []
    _, channels, *sides = likely_shapes(network, None)[0]
    if len(sides) == 2:
        return _photographs(channels)
    generator, shape = torch.Generator().manual_seed(0), (1, channels, *_SIDES[len(sides)])
    return [torch.rand(shape, generator=generator, dtype=torch.float64)]


def shapes_of_inputs(network: nn.Module, example: Tensor) -> dict[int, tuple[int, ...]]:
    """Run ``network`` on ``example`` and note the shape of what every module inside is given first.

    Raises
    ------
    ValueError
        the network does not take the example.
    """
    seen: dict[int, tuple[int, ...]] = {}

    def note(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments and isinstance(arguments[0], Tensor):
            seen.setdefault(id(module), tuple(arguments[0].shape))

    try:
        with register_module_forward_pre_hook(note), torch.no_grad():
            network(example, *([0.1] if isinstance(network, Denoiser) else []))
    except Exception as error:  # whatever a network raises
        raise ValueError(
            f"the network does not take the example of shape {tuple(example.shape)}: {error}"
        ) from error
    return seen


def measure(network: nn.Module, inputs: list[Tensor], sigma: tuple[float, ...]) -> Witness | None:
    """The best witness over inputs, distances and noise levels.

    ``None`` if there is no input or the network does not take it. For every distance the best pair of
    the power method is the start of an ascent, all with a float64 copy of the network.
    """
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    exact = copy.deepcopy(network).double()
    levels: tuple[float | None, ...] = sigma if isinstance(network, Denoiser) else (None,)
    steps, climbs = _LARGE if sum(p.numel() for p in exact.parameters()) > _MANY else _SMALL
    ends = []
    for radius in RADII:
        found = []
        for level, image in product(levels, inputs):
            x = image.to(device, torch.float64)
            try:
                if level != levels[0] and _is_same(exact, x, level, levels[0]):
                    continue
                witness = power_witness(_at(exact, level), x, radius, steps)
            except RuntimeError:  # a shape that the network does not take
                continue
            found.append(replace(witness, sigma=level))
        if found:
            start = best_of(found)
            ends.append(climb(_at(exact, start.sigma), start, climbs))
    return best_of(ends) if ends else None


@torch.no_grad()
def _is_same(network: nn.Module, x: Tensor, level: float | None, other: float | None) -> bool:
    """Whether two noise levels give one image, as where the network does not read them."""
    return torch.equal(_at(network, level)(x.clone()), _at(network, other)(x.clone()))


def _at(network: nn.Module, level: float | None) -> Map:
    """``x -> D(x, level)``, or ``x -> D(x)``."""
    return network if level is None else lambda x: network(x, level)


def _photographs(channels: int) -> list[Tensor]:
    """Cuts ``[1, channels, side, side]``; channels beyond three come from neighbouring cuts."""
    found = []
    for name, top, left in _CUTS:
        pixels = to_channels(getattr(data, name)(), 1 if channels == 1 else 3)
        shifts = range(-(-channels // len(pixels)))
        parts = [pixels[:, top : top + _SIDE, left + 4 * s : left + 4 * s + _SIDE] for s in shifts]
        found.append(torch.from_numpy(np.concatenate(parts)[:channels].copy())[None])
    return found
