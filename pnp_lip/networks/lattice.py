r"""Maxima and minima of networks: the sets of the density theorems are lattices.

*As functions.* A network of either set is piecewise affine with finitely many pieces and 1-Lipschitz, so
the maximum of two is one too, has a max-min form (Ovchinnikov 2002), and is a network of the set of
Theorem 4.1 with ``d + 3`` state coordinates: :func:`pnp_lip.networks.from_max_min` writes its weights.

*As weights.* For compiled networks the form is read off the weights and the result is again a compiled
network. For trained ones there is no such short way. Both lower blocks have to be kept beside each
other, :math:`z = (z_f, z_g)`, and for two isometric lifts :math:`\|z\|_2 = \sqrt 2\,\|x\|_2`, so lift or
readout would leave the set by that factor; and the steps that fold :math:`z_f` cannot be undone to
read ``x`` again. The result is then a module that holds both networks. It is their pair
:math:`x \mapsto (f(x), g(x))`, with the constant :math:`\max(\mathrm{Lip} f, \mathrm{Lip} g)` into the
maximum norm, and a maximum, which is nonexpansive from that norm. The certifier has a rule for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, overload

import torch
from torch import Tensor, nn

from pnp_lip.networks import max_min
from pnp_lip.networks.compile import fixed_width_network
from pnp_lip.networks.decompile import read_max_min
from pnp_lip.networks.fixed_width import FixedWidthNetwork
from pnp_lip.networks.free_width import FreeWidthNetwork
from pnp_lip.networks.max_min import MaxMin

__all__ = ["Maximum", "Minimum", "maximum", "minimum"]


class _Pair(nn.Module):
    """Two networks with one output each, of the same inputs."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        _require_pair(first, second)
        self.first, self.second = first, second

    @property
    def features(self) -> int:
        """Dimension of the input."""
        return _features(self.first)


class Maximum(_Pair):
    r""":math:`x \mapsto \max(f(x), g(x))`, from ``[B, features]`` to ``[B, 1]``.

    Its constant is at most the larger one of its members, see the module.

    Parameters
    ----------
    first, second
        networks of the sets with one output, or maxima and minima of such.

    Raises
    ------
    ValueError
        members of another class, of different spaces or dtypes, or with several outputs.
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(self.first(x), self.second(x))


class Minimum(_Pair):
    r""":math:`x \mapsto \min(f(x), g(x))`; otherwise as :class:`Maximum`."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.minimum(self.first(x), self.second(x))


Network = FreeWidthNetwork | FixedWidthNetwork | Maximum | Minimum


@overload
def maximum(f: MaxMin, g: MaxMin) -> MaxMin: ...
@overload
def maximum(f: Network, g: Network) -> FixedWidthNetwork | Maximum: ...
def maximum(f: MaxMin | Network, g: MaxMin | Network) -> MaxMin | FixedWidthNetwork | Maximum:
    r""":math:`\max(f, g)` of two forms, or of two networks with one output.

    Returns
    -------
    MaxMin | FixedWidthNetwork | Maximum
        For two forms the form. For two compiled networks of fixed width the compiled network, of
        width ``d + 3``. For other networks a :class:`Maximum`, which shares their parameters.

    Raises
    ------
    ValueError
        as in :class:`Maximum`, or a form and a network.
    """
    return _combined(f, g, max_min.maximum, Maximum)


@overload
def minimum(f: MaxMin, g: MaxMin) -> MaxMin: ...
@overload
def minimum(f: Network, g: Network) -> FixedWidthNetwork | Minimum: ...
def minimum(f: MaxMin | Network, g: MaxMin | Network) -> MaxMin | FixedWidthNetwork | Minimum:
    r""":math:`\min(f, g)`; otherwise as :func:`maximum`."""
    return _combined(f, g, max_min.minimum, Minimum)


_Held = TypeVar("_Held", Maximum, Minimum)


def _combined(
    f: MaxMin | Network,
    g: MaxMin | Network,
    of_forms: Callable[[MaxMin, MaxMin], MaxMin],
    of_networks: Callable[[Network, Network], _Held],
) -> MaxMin | FixedWidthNetwork | _Held:
    if isinstance(f, MaxMin) and isinstance(g, MaxMin):
        return of_forms(f, g)
    f, g = _networks(f, g)
    forms = read_max_min(f), read_max_min(g)
    if forms[0] is not None and forms[1] is not None:
        return fixed_width_network(of_forms(forms[0], forms[1]))
    return of_networks(f, g)


def _networks(f: MaxMin | Network, g: MaxMin | Network) -> tuple[Network, Network]:
    if isinstance(f, MaxMin) or isinstance(g, MaxMin):
        raise ValueError(
            "expected two forms or two networks, got one of each: compile the form with from_max_min"
        )
    _require_pair(f, g)
    return f, g


def _require_pair(first: nn.Module, second: nn.Module) -> None:
    for one in (first, second):
        if not isinstance(one, (FreeWidthNetwork, FixedWidthNetwork, Maximum, Minimum)):
            raise ValueError(
                f"expected networks of the sets or maxima and minima of such, got {type(one).__name__}"
            )
        outputs = 1 if isinstance(one, _Pair) else one.readout.out_features
        if outputs != 1:
            raise ValueError(f"expected networks with one output, got one with {outputs}")
    if _features(first) != _features(second):
        raise ValueError(
            f"expected functions of the same space, got {_features(first)} and {_features(second)}"
        )
    dtypes = {parameter.dtype for one in (first, second) for parameter in one.parameters()}
    if len(dtypes) > 1:
        raise ValueError(f"expected networks of one dtype, got {sorted(map(str, dtypes))}")


def _features(network: nn.Module) -> int:
    assert isinstance(network, (FreeWidthNetwork, FixedWidthNetwork, _Pair))
    return network.features
