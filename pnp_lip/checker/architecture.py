"""What a certificate must speak about: the layers of a network, read off again for checking.

From a network of a known class, or from a state dict and the name of its class where the names of
the tensors determine the layers. Everything else is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from pnp_lip.checker.layer import CertificateRejected
from pnp_lip.denoisers.guard import Guard
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.denoisers.relaxed import Relaxed
from pnp_lip.denoisers.tiled import Tiled
from pnp_lip.layers import Clip, ConvGradientStep, GradientStep, NoiseClip, ReLU
from pnp_lip.plain_modules import Refusal, plain_type, require_plain, require_plain_parts

__all__ = ["Affine", "Chain", "Entrywise", "Plan", "Relaxation", "Step", "of_network", "of_state"]


@dataclass(frozen=True)
class Step:
    """A gradient step with slopes in [0, 1]."""

    name: str
    weight: Tensor
    tau: Fraction


@dataclass(frozen=True)
class Affine:
    """A matrix or a convolution whose padding costs nothing."""

    name: str
    weight: Tensor
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Entrywise:
    """A scalar map with slopes in [low, high]."""

    name: str
    low: Fraction
    high: Fraction


@dataclass(frozen=True)
class Chain:
    """Parts in order, the first applied first."""

    parts: tuple[Plan, ...]


@dataclass(frozen=True)
class Relaxation:
    """``(1 - w) I + w T`` for each ``w`` of ``weights``."""

    part: Plan
    weights: tuple[Fraction, ...]


Plan = Step | Affine | Entrywise | Chain | Relaxation

_UNIT_SLOPES = (ReLU, Clip, NoiseClip, nn.ReLU, nn.Tanh, nn.Hardtanh)
_LAYER = re.compile(r"layers\.(\d+)\.(weight|tau|activation\.(?:knots|factors|logits))")


def of_network(module: nn.Module, name: str = "") -> Plan:
    """The plan of a network.

    Raises
    ------
    CertificateRejected
        a part that cannot be checked again.
    """
    try:
        require_plain(module, name)
        require_plain_parts(module, name)
    except Refusal as refusal:
        raise CertificateRejected(str(refusal)) from refusal
    if type(module) is Tiled:
        _require_windows(module, name)
    path = f"{name}." if name else ""
    if type(module) is Guard or type(module) is Tiled:
        return of_network(module.denoiser, f"{path}denoiser")
    if type(module) is Relaxed:
        return _relaxation(of_network(module.denoiser, f"{path}denoiser"), module.relaxation)
    if type(module) is LipschitzDenoiser:
        return _chain(enumerate(module.layers), f"{path}layers.")
    if type(module) is nn.Sequential:
        return _chain(module._modules.items(), path)
    if type(module) in (GradientStep, ConvGradientStep):
        return _step(module, name)
    if plain_type(module) in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d):
        return _affine(module, name)
    return _entrywise(module, name)


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
        if not {"weight", "tau"} <= layers[index].keys():
            raise CertificateRejected(f"layer {index} has no weight or no step length")
        steps.append(
            Step(
                f"{prefix}layers.{index}",
                layers[index]["weight"],
                _exact(layers[index]["tau"], f"{prefix}layers.{index}.tau"),
            )
        )
    return Chain(tuple(steps))


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


def _chain(children: Any, prefix: str) -> Plan:
    return Chain(tuple(of_network(child, f"{prefix}{key}") for key, child in children))


def _relaxation(part: Plan, weight: Tensor) -> Plan:
    stored = _exact(weight, "relaxation")
    acting = _exact(weight.float(), "relaxation")
    return Relaxation(part, (stored, acting))


def _step(module: Any, name: str) -> Plan:
    activation = module.activation
    of_network(activation, f"{name}.activation" if name else "activation")
    if type(activation) not in _UNIT_SLOPES:
        raise CertificateRejected(f"the activation of '{name}' cannot be checked again")
    return Step(name, module.weight.detach(), _exact(module.tau, f"{name}.tau"))


def _affine(module: Any, name: str) -> Plan:
    if isinstance(module, nn.Linear):
        return Affine(name, module.weight.detach(), {})
    axes = range(len(module.kernel_size))
    free = module.padding_mode == "zeros" or (
        module.padding_mode == "circular"
        and all(s == 1 for s in module.stride)
        and not isinstance(module.padding, str)
        and all(
            2 * module.padding[i] == module.dilation[i] * (module.kernel_size[i] - 1) for i in axes
        )
    )
    if not free:
        raise CertificateRejected(
            f"'{name}' has {module.padding_mode} padding, whose factor cannot be checked again"
        )
    arguments = {key: getattr(module, key) for key in ("stride", "dilation", "groups")}
    return Affine(name, module.weight.detach(), arguments)


def _entrywise(module: Any, name: str) -> Plan:
    if type(module) in _UNIT_SLOPES:
        return Entrywise(name, Fraction(0), Fraction(1))
    if type(module) is nn.Identity:
        return Entrywise(name, Fraction(1), Fraction(1))
    if type(module) is nn.LeakyReLU:
        slope = Fraction(module.negative_slope)
        return Entrywise(name, min(slope, Fraction(1)), max(slope, Fraction(1)))
    if type(module) is nn.Sigmoid:
        return Entrywise(name, Fraction(0), Fraction(1, 4))
    raise CertificateRejected(
        f"'{name or 'the network'}' is a {type(module).__qualname__}, which cannot be checked again: "
        f"chains of gradient steps, affine layers and activations can"
    )


def _exact(value: Tensor, name: str) -> Fraction:
    if value.numel() != 1 or not torch.isfinite(value).all():
        raise CertificateRejected(f"expected '{name}' to be one finite number, got {value}")
    return Fraction(float(value))
