"""What a certificate must speak about: the layers of a network, read off again for checking.

From a network of a known class, or from a state dict and the name of its class where the names of
the tensors determine the layers. A part of another class is checked by the operators it runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from pnp_lip.checker.plan import (
    Chain,
    Entrywise,
    Exportable,
    Plan,
    Planes,
    Relaxation,
    Step,
    Windows,
)
from pnp_lip.checker.rejection import CertificateRejected
from pnp_lip.denoisers.guard import Guard
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.denoisers.relaxed import Relaxed
from pnp_lip.denoisers.tiled import Tiled
from pnp_lip.denoisers.volume import VolumeDenoiser
from pnp_lip.layers import Clip, ConvGradientStep, GradientStep, NoiseClip, ReLU
from pnp_lip.plain_modules import Refusal, require_plain, require_plain_parts

__all__ = ["keeps_shape", "of_network", "of_state"]


#: Activations of gradient steps, with their roundings where these do not depend on parameters.
_ROUNDINGS: dict[type, int | None] = {
    **dict.fromkeys((ReLU, Clip, nn.ReLU), 0),
    **dict.fromkeys((NoiseClip, nn.Softsign, nn.Tanhshrink), None),
}
_KNOWN = (
    *(LipschitzDenoiser, Relaxed, Guard, Tiled, VolumeDenoiser, GradientStep, ConvGradientStep),
    *(ReLU, Clip, NoiseClip),
)
_LAYER = re.compile(r"layers\.(\d+)\.(weight|tau|activation\.(?:knots|factors|logits))")


def of_network(module: nn.Module, name: str = "") -> Plan:
    """The plan of a network.

    Raises
    ------
    CertificateRejected
        a part that cannot be checked again.
    """
    kind = type(module)
    if kind not in _KNOWN:
        return Exportable(name, module)
    try:
        require_plain(module, name)
        if kind not in (Guard, Relaxed, Tiled, VolumeDenoiser):
            require_plain_parts(module, name)
    except Refusal as refusal:
        raise CertificateRejected(str(refusal)) from refusal
    own: Any = module
    path = f"{name}." if name else ""
    if kind is Tiled:
        _require_windows(own, name)
        return Windows(of_network(own.denoiser, f"{path}denoiser"), own.overlap)
    if kind is VolumeDenoiser:
        _require_shares(own, name)
        return Planes(of_network(own.denoiser, f"{path}denoiser"))
    if kind is Guard:
        return of_network(own.denoiser, f"{path}denoiser")
    if kind is Relaxed:
        return _relaxation(of_network(own.denoiser, f"{path}denoiser"), own.relaxation)
    if kind is LipschitzDenoiser:
        parts = enumerate(own.layers)
        return Chain(tuple(of_network(layer, f"{path}layers.{index}") for index, layer in parts))
    if kind in (GradientStep, ConvGradientStep):
        return _step(own, name)
    return Entrywise(name, Fraction(0), Fraction(1), exact=kind is not NoiseClip)


def keeps_shape(module: nn.Module) -> bool:
    """Whether outputs have the shape of inputs, by the class."""
    if type(module) is Guard or type(module) is Relaxed:
        return keeps_shape(module.denoiser)
    return type(module) in _KNOWN


def of_state(state: Mapping[str, Tensor], network: str) -> Plan:
    """The plan of a :class:`LipschitzDenoiser`, or of one that is relaxed, from its tensors.

    Raises
    ------
    CertificateRejected
        another class, or tensors that such a network does not have.
    """
    if network not in ("LipschitzDenoiser", "Relaxed"):
        raise CertificateRejected(
            f"tensors alone do not say how a {network or 'network'} computes: pass the network"
        )
    return _from_names(dict(state), "", network == "Relaxed")


def _from_names(state: dict[str, Tensor], prefix: str, relaxed: bool) -> Plan:
    if relaxed:
        weight = state.pop(f"{prefix}relaxation", None)
        if weight is None:
            raise CertificateRejected(f"expected a tensor '{prefix}relaxation', found none")
        deeper = f"{prefix}denoiser."
        inner = _from_names(state, deeper, f"{deeper}relaxation" in state)
        return _relaxation(inner, weight)
    layers: dict[int, dict[str, Tensor]] = {}
    for key, tensor in state.items():
        match = _LAYER.fullmatch(key.removeprefix(prefix)) if key.startswith(prefix) else None
        if match is None:
            raise CertificateRejected(f"the network of this certificate has no tensor '{key}'")
        layers.setdefault(int(match[1]), {})[match[2]] = tensor
    if sorted(layers) != list(range(len(layers))) or not layers:
        raise CertificateRejected(f"expected layers numbered from 0, found {sorted(layers)}")
    steps = []
    for index in range(len(layers)):
        found, name = layers[index], f"{prefix}layers.{index}"
        if not {"weight", "tau"} <= found.keys():
            raise CertificateRejected(f"layer {index} has no weight or no step length")
        shares = found.get("activation.logits")
        roundings = None if shares is None else 3 * len(shares) + 4
        tau = _exact(found["tau"], f"{name}.tau")
        steps.append(Step(name, found["weight"], None, tau, roundings))
    return Chain(tuple(steps))


def _require_shares(volume: VolumeDenoiser, name: str) -> None:
    """The planes keep their size and are averaged with weights that make a convex combination."""
    if not keeps_shape(volume.denoiser):
        raise CertificateRejected(
            f"'{name or 'the network'}' averages planes, and a {type(volume.denoiser).__qualname__} "
            f"may give others than it takes"
        )
    weights = volume.weights
    if len(weights) != 3 or not all(0 <= w < math.inf for w in weights) or not sum(weights) > 0:
        raise CertificateRejected(
            f"'{name or 'the network'}' averages planes with the weights {weights}: expected three "
            f"numbers >= 0 with a positive sum"
        )


def _require_windows(tiled: Tiled, name: str) -> None:
    """The tiles give the function on the whole image: windows reach as far as outputs depend on."""
    inner = tiled.denoiser
    while type(inner) is Relaxed or type(inner) is Guard:
        inner = inner.denoiser
    if type(inner) is not LipschitzDenoiser:
        raise CertificateRejected(
            f"'{name or 'the network'}' is tiled, and the receptive field of a "
            f"{type(inner).__qualname__} is not known"
        )
    layers: list[Any] = list(inner.layers)
    radius = sum(2 * (layer.weight.shape[-1] // 2) for layer in layers)
    if tiled.tile < 1 or tiled.halo < radius:
        raise CertificateRejected(
            f"'{name or 'the network'}' has tiles of {tiled.tile} pixels with a halo of {tiled.halo}, the "
            f"radius is {radius}: that is another function"
        )


def _relaxation(part: Plan, weight: Tensor) -> Plan:
    stored = _exact(weight, "relaxation")
    acting = _exact(weight.float(), "relaxation")
    return Relaxation(part, (stored, acting))


def _step(module: Any, name: str) -> Plan:
    activation = module.activation
    if type(activation) not in _ROUNDINGS:
        raise CertificateRejected(
            f"the activation of '{name}' is a {type(activation).__qualname__}, which cannot be checked "
            f"again"
        )
    return Step(
        name, module.weight.detach(), module.bias, _exact(module.tau, f"{name}.tau"),
        _roundings(activation),
    )  # fmt: skip


def _roundings(activation: nn.Module) -> int | None:
    """Of a mixture of ``J`` clips: shares off by ``J + 2``, each term of the sum by ``2 J`` more."""
    if type(activation) is NoiseClip:
        return 3 * len(activation.logits) + 4
    return _ROUNDINGS[type(activation)]


def _exact(value: Tensor, name: str) -> Fraction:
    if value.numel() != 1 or not torch.isfinite(value).all():
        raise CertificateRejected(f"expected '{name}' to be one finite number, got {value}")
    return Fraction(float(value))
