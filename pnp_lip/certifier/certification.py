"""Certify a network: compose proved bounds, and measure the other side on real images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from tqdm import tqdm

import pnp_lip.certifier.denoiser_rules  # noqa: F401
import pnp_lip.certifier.layer_rules  # noqa: F401  (all register their rules)
from pnp_lip.certifier.certificate import Certificate
from pnp_lip.certifier.examples import default_inputs, measure, shapes_of_inputs
from pnp_lip.certifier.record import place_of
from pnp_lip.certifier.rules import Settings, apply_rule
from pnp_lip.certifier.statement import Statement
from pnp_lip.certifier.ways import bound_graph
from pnp_lip.certifier.witness import Witness
from pnp_lip.errors import PnpLipError
from pnp_lip.plain_modules import network_kind
from pnp_lip.versions import versions
from pnp_lip.weights import weight_hash

__all__ = ["Contradiction", "certify", "prove"]

#: Relative rounding of a gain that is measured in float64; seconds after which progress is shown.
_MEASURED, _DELAY = 1e-6, 2.0


class Contradiction(PnpLipError):
    """A measured gain above the proved bound: a rule is wrong. ``witness`` holds the pair."""

    def __init__(self, upper: float, witness: Witness) -> None:
        super().__init__(
            f"the measured gain {witness.gain!r} contradicts the proved bound {upper!r}: this is a fault "
            f"of a rule, please report it with the network; witness.save(folder) writes the two inputs"
        )
        self.witness = witness


def prove(network: nn.Module, *, gap: float = 1e-3, example: Tensor | None = None) -> Statement:
    """The proved half of :func:`certify`: no measurement.

    Parameters
    ----------
    network
        as in :func:`certify`.
    gap
        as in :func:`certify`.
    example
        an input; needed only where the shape of inputs cannot be told from the layers of a
        module without a rule.

    Returns
    -------
    Statement
        The statement; ``conditions`` says for which sizes it holds, none for all.

    Raises
    ------
    ValueError
        the network does not take the example.
    Refusal
        some part of the network has no rule, named together with the remedy.

    Examples
    --------
    >>> from torch import nn
    >>> prove(nn.Sequential(nn.ReLU(), nn.Tanh())).upper
    1.0
    """
    return apply_rule(network, "", _settings(network, gap, example))


def certify(
    network: nn.Module,
    *,
    gap: float = 1e-3,
    images: Tensor | None = None,
    sigma: tuple[float, ...] = (0.02, 0.1),
    progress: bool = False,
) -> Certificate:
    r"""Prove an upper bound of :math:`\mathrm{Lip}(D)`, and attain a lower one.

    The upper bound is composed from proved bounds of the layers; it holds in real arithmetic with
    the stored weights, at every noise level and for every image size that meets the statement's
    conditions.

    Parameters
    ----------
    network
        any module, in the mode it will be used in: by the rule of its class, or else through
        the graph of operators that it runs.
    gap
        relative distance allowed between the two bounds of each weight's norm.
    images
        inputs ``[N, C, H, W]`` from each of which a witness is sought; by default parts of
        photographs with the channels of the first layer, or noise for a network on vectors.
    sigma
        noise levels at which a denoiser is tried.
    progress
        show on stderr how many norms were proved, if it takes long.

    Returns
    -------
    Certificate
        The certificate: ``upper`` (proved), ``lower`` (measured), ``averagedness``.

    Raises
    ------
    ValueError
        the network does not take the images.
    Refusal
        some part of the network has no rule, named together with the remedy.
    Contradiction
        a measured gain is above the proved bound.

    Examples
    --------
    >>> from torch import nn
    >>> from pnp_lip import Refusal, certify
    >>> layer = nn.Conv2d(1, 1, 1, bias=False)
    >>> _ = nn.init.constant_(layer.weight, 0.5)
    >>> certificate = certify(nn.Sequential(layer, nn.Sigmoid()))
    >>> f"{certificate.lower:.3f} <= Lip <= {certificate.upper:.3f}"
    '0.125 <= Lip <= 0.125'
    >>> certify(nn.InstanceNorm2d(3))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pnp_lip.plain_modules.Refusal: ...
    """
    like = next(network.parameters(), torch.zeros(()))
    example = None if images is None else images[:1].to(like.dtype)
    settings = _settings(network, gap, example)
    with tqdm(desc="norms", unit=" proved", delay=_DELAY, disable=not progress, leave=False) as bar:
        settings.bar = bar
        statement = apply_rule(network, "", settings)
    inputs = default_inputs(network) if images is None else list(images.split(1))
    witness = measure(network, inputs, sigma)
    if witness is not None and witness.gain > statement.upper * (1 + _MEASURED):
        raise Contradiction(statement.upper, witness)
    for leaf in statement.leaves() if settings.graphs else ():
        place_of(leaf, settings.layers)
    layers = tuple(settings.layers.values()) or statement.leaves()
    about = (weight_hash(network.state_dict()), gap, versions(), network_kind(network))
    return Certificate(statement, witness, *about, tuple(settings.graphs), layers)


def _settings(network: nn.Module, gap: float, example: Tensor | None) -> Settings:
    seen = {} if example is None else shapes_of_inputs(network, example)
    dtype = torch.float32 if example is None else example.dtype
    return Settings(gap, seen, bound_graph, dtype)
