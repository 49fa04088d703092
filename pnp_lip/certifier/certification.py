"""Certify a network: compose proved bounds, and measure the other side on real images."""

from __future__ import annotations

import copy

import torch
from deepinv.models import Denoiser
from skimage import data
from torch import Tensor, nn

import pnp_lip.certifier.standard_rules  # noqa: F401  (registers the rules)
from pnp_lip.certifier.certificate import Certificate
from pnp_lip.certifier.rules import Settings, apply_rule
from pnp_lip.certifier.statement import Statement
from pnp_lip.certifier.witness import Witness, find_witness
from pnp_lip.images import to_channels
from pnp_lip.versions import versions
from pnp_lip.weights import weight_hash

__all__ = ["certify", "prove"]


def prove(network: nn.Module, *, gap: float = 1e-3) -> Statement:
    """The proved half of :func:`certify`: no images, no measurement.

    Raises:
        Refusal: some part of the network has no rule, named together with the remedy.
    """
    return apply_rule(network, "", Settings(gap))


def certify(
    network: nn.Module,
    *,
    gap: float = 1e-3,
    images: Tensor | None = None,
    sigma: tuple[float, ...] = (0.02, 0.1),
) -> Certificate:
    r"""Prove an upper bound of :math:`\mathrm{Lip}(D)`, and attain a lower one.

    The upper bound is composed from proved bounds of the layers; it holds in real arithmetic with
    the stored weights, for every image size and every noise level.

    Args:
        network: any module made of layers with a registered rule, in the mode it will be used in.
        gap: relative distance allowed between the two bounds of each weight's norm.
        images: inputs ``[1, C, H, W]`` from which a witness is sought; by default a part of a
            photograph where the network is a denoiser with ``in_channels``, otherwise none.
        sigma: noise levels at which a denoiser is tried.

    Returns:
        The certificate: ``upper`` (proved), ``lower`` (measured), ``averagedness``.

    Raises:
        Refusal: some part of the network has no rule, named together with the remedy.
    """
    statement = prove(network, gap=gap)
    witness = _measure(network, images, sigma)
    return Certificate(statement, witness, weight_hash(network.state_dict()), gap, versions())


def _measure(network: nn.Module, images: Tensor | None, sigma: tuple[float, ...]) -> Witness | None:
    """The best witness over the noise levels, sought with a float64 copy of the network."""
    if images is None:
        images = _photograph(getattr(network, "in_channels", None))
    if images is None:
        return None
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    exact, x = copy.deepcopy(network).double(), images.to(device, torch.float64)
    if not isinstance(network, Denoiser):
        return find_witness(exact, x)
    found = [_at_level(exact, x, level) for level in sigma]
    return max(found, key=lambda witness: witness.gain)


def _at_level(network: nn.Module, x: Tensor, sigma: float) -> Witness:
    witness = find_witness(lambda image: network(image, sigma), x)
    return Witness(witness.x, witness.y, witness.gain, sigma)


def _photograph(channels: int | None) -> Tensor | None:
    """A part of a photograph with ``channels`` channels, ``[1, C, 48, 48]``."""
    if channels not in (1, 3):
        return None
    pixels = to_channels(data.astronaut(), channels)[:, 80:128, 200:248]
    return torch.from_numpy(pixels.copy())[None]
