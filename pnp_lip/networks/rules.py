r"""What is proved of whole networks: from the Euclidean norm to the Euclidean norm, or each output alone.

The registered rules bound :math:`\|f(x) - f(y)\|_2 \le u\,\|x - y\|_2`, which is what a certificate
says. :func:`prove_outputs` bounds :math:`\max_i |f_i(x) - f_i(y)| \le u\,\|x - y\|_2`. They are the same
for a single output. Between lift and readout the constants are those in the norm of the state: in a
network of fixed width the mixed norm, see :mod:`pnp_lip.networks.fixed_width`; in one of gradient steps
the Euclidean norm or, where that gives less, the maximum norm.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import cast

import torch
from torch import nn

from pnp_lip.certifier import Refusal, Settings, Statement, apply_rule, compose, register_rule
from pnp_lip.certifier.layer_rules import slope_interval
from pnp_lip.certifier.statement import lipschitz
from pnp_lip.layers import GradientStep
from pnp_lip.networks.committee import Committee
from pnp_lip.networks.fixed_width import TOP, BlockMap, FixedWidthNetwork, MaxMinStep
from pnp_lip.networks.free_width import FreeWidthNetwork
from pnp_lip.networks.lattice import Maximum, Minimum
from pnp_lip.networks.matrix_bounds import GAP, hypotenuse, row_norm, square_norm
from pnp_lip.networks.prototypes import NearestPrototype
from pnp_lip.plain_modules import require_plain
from pnp_lip.rounding import format_up, round_up, sqrt_up

__all__ = ["prove_outputs"]

#: What stands where in a network, by patterns of the path; anything else is no part of it.
_ROLES: dict[type[nn.Module], tuple[tuple[str, type[nn.Module]], ...]] = {
    FreeWidthNetwork: (
        (r"lift|readout", nn.Linear),
        (r"steps", nn.ModuleList),
        (r"steps\.\d+", GradientStep),
    ),
    FixedWidthNetwork: (
        (r"lift|maps\.\d+", BlockMap),
        (r"readout|(lift|maps\.\d+)\.(top|low)", nn.Linear),
        (r"steps|maps", nn.ModuleList),
        (r"steps\.\d+", MaxMinStep),
        (r"steps\.\d+\.step", GradientStep),
    ),
}
#: Activations stand below gradient steps, and have rules of their own.
_ACTIVATION = re.compile(r".*\.activation(\..*)?")


def prove_outputs(network: FreeWidthNetwork | FixedWidthNetwork, *, gap: float = GAP) -> Statement:
    r"""Bound every output alone, :math:`\max_i |f_i(x) - f_i(y)| \le u\,\|x - y\|_2`.

    Raises
    ------
    Refusal
        hooks, replaced methods, foreign parts, or weights that are not finite.
    """
    body = _body(network, "", gap)
    split = TOP if type(network) is FixedWidthNetwork else 0
    upper = max(row_norm(row, split) for row in network.readout.weight)
    readout = _leaf("readout", "readout, largest row", upper)
    return replace(compose([*body, readout], "outputs one by one"), outputs="mixed")


@register_rule(FreeWidthNetwork)
def _free_width(module: nn.Module, name: str, settings: Settings) -> Statement:
    """By the Euclidean norm of the state, or by its maximum norm: the smaller bound."""
    network = cast(FreeWidthNetwork, module)
    body = _body(network, name, settings.gap)
    readout = _matrix("readout", network.readout, settings.gap)
    euclidean = compose([*body, readout], "network of gradient steps")
    sorting = _in_maximum_norm(network)
    return euclidean if sorting is None or euclidean.upper <= sorting.upper else sorting


@register_rule(FixedWidthNetwork)
def _fixed_width(module: nn.Module, name: str, settings: Settings) -> Statement:
    """The readout is bounded row by row, or by its columns and its last block: the smaller one."""
    network = cast(FixedWidthNetwork, module)
    body = _body(network, name, settings.gap)
    weight = network.readout.weight.detach()
    by_rows = hypotenuse([row_norm(row, TOP) for row in weight])
    parts = [row_norm(weight[:, index], 0) for index in range(TOP)]
    low = sqrt_up(square_norm(weight[:, TOP:], settings.gap)[0])
    by_columns = round_up(sum((Fraction(part) for part in [*parts, low]), Fraction(0)))
    readout = _leaf("readout", "readout, mixed to Euclidean norm", min(by_rows, by_columns))
    return compose([*body, readout], "network of fixed width")


@register_rule(NearestPrototype, features=lambda head: len(cast(NearestPrototype, head).prototypes))
def _nearest_prototype(module: nn.Module, name: str, settings: Settings) -> Statement:
    """A max-min of gradients of length 1; the bound holds with the sum norm of the logits as well."""
    classes, count = cast(NearestPrototype, module).prototypes.shape[:2]
    points = cast(NearestPrototype, module).prototypes.detach().flatten(0, 1)
    kinds = torch.arange(classes).repeat_interleave(count)
    _, place = points.unique(dim=0, return_inverse=True)
    first = torch.full((int(place.max()) + 1,), -1).scatter(0, place.cpu(), kinds)
    if not torch.equal(first[place.cpu()], kinds):
        raise Refusal(f"'{name}' has one prototype in two classes, so there is no bisector of them")
    return replace(lipschitz("distance to the boundary between prototypes", 1.0), outputs="l1")


@register_rule(Maximum, Minimum)
def _extremum(module: nn.Module, name: str, settings: Settings) -> Statement:
    r""":math:`|\max(a, b) - \max(c, d)| \le \max(|a - c|, |b - d|)`, and so for the minimum."""
    pair = cast(Maximum, module)
    parts = [
        apply_rule(member, f"{name}.{path}".strip("."), settings)
        for path, member in (("first", pair.first), ("second", pair.second))
    ]
    statement = lipschitz(
        f"{type(pair).__name__.lower()} of two functions", max(part.upper for part in parts)
    )
    return replace(statement, parts=tuple(parts))


@register_rule(Committee)
def _committee(module: nn.Module, name: str, settings: Settings) -> Statement:
    """The mean of the bounds; between the norms for which the members have them."""
    members = cast(Committee, module).members
    require_plain(members, f"{name}.members".strip("."))
    parts = [
        apply_rule(member, f"{name}.members.{index}".strip("."), settings)
        for index, member in enumerate(members)
    ]
    mean = sum((Fraction(part.upper) for part in parts), Fraction(0)) / len(parts)
    outputs = parts[0].outputs if len({part.outputs for part in parts}) == 1 else "l2"
    statement = lipschitz("mean of a committee", round_up(mean))
    return replace(statement, parts=tuple(parts), outputs=outputs)


def _body(network: nn.Module, name: str, gap: float) -> list[Statement]:
    """The statements about everything but the readout, the first applied first."""
    _require_own_parts(network, name)
    if type(network) is FreeWidthNetwork:
        return list(_free_body(network, gap))
    if type(network) is FixedWidthNetwork:
        return list(_fixed_body(network, gap))
    raise Refusal(
        f"expected a FreeWidthNetwork or FixedWidthNetwork, got {type(network).__qualname__}: "
        f"a subclass needs its own rule"
    )


def _free_body(network: FreeWidthNetwork, gap: float) -> Iterator[Statement]:
    yield _matrix("lift", network.lift, gap)
    for index, step in enumerate(network.gradient_steps):
        yield _step(f"steps.{index}", step, gap)


def _in_maximum_norm(network: FreeWidthNetwork) -> Statement | None:
    """From the Euclidean norm through the maximum norm of the state, if its steps have such a bound."""
    lift = max(row_norm(row, 0) for row in network.lift.weight)
    parts = [_leaf("lift", "lift, largest row", lift)]
    for index, step in enumerate(network.gradient_steps):
        upper = _step_in_maximum_norm(step)
        if upper is None:
            return None
        parts.append(_leaf(f"steps.{index}", "gradient step on disjoint coordinates", upper))
    sums = [row_norm(row, len(row)) for row in network.readout.weight]
    parts.append(_leaf("readout", "readout, absolute row sums", hypotenuse(sums)))
    return compose(parts, "network of gradient steps, maximum norm of the state")


def _step_in_maximum_norm(step: GradientStep) -> float | None:
    r"""For rows of ``W`` with disjoint supports, otherwise ``None``.

    Row *i* of the Jacobian :math:`I - \tau d\,ww^\top` has the absolute sum
    :math:`|1 - \tau d w_i^2| + \tau d\,|w_i|(\|w\|_1 - |w_i|)`, convex in the slope *d*, so that its
    largest value is at an end of the interval of slopes.
    """
    if (step.weight != 0).sum(dim=0).max() > 1:
        return None
    slopes = slope_interval(step.activation, "activation")
    factors = [Fraction(step.tau.item()) * Fraction(slope) for slope in slopes]
    largest = Fraction(1)
    for row in step.weight.detach():
        entries = [abs(Fraction(value)) for value in row[row != 0].tolist()]
        total = sum(entries, Fraction(0))
        for factor, entry in itertools.product(factors, entries):
            largest = max(
                largest, abs(1 - factor * entry**2) + abs(factor) * entry * (total - entry)
            )
    return round_up(largest)


def _fixed_body(network: FixedWidthNetwork, gap: float) -> Iterator[Statement]:
    yield _block("lift", network.lift, 0, gap)
    for index, step in enumerate(network.gradient_steps):
        yield _step(f"steps.{index}", step, gap, "max, min, identity and ", mixed=True)
        if index < len(network.maps):
            yield _block(f"maps.{index}", network.affine_maps[index], TOP, gap)


def _block(name: str, block: BlockMap, split: int, gap: float) -> Statement:
    inputs, seen = block.top.weight.shape[1], block.low.weight.shape[1]
    if seen != inputs - split:
        raise Refusal(f"the lower block of '{name}' sees {seen} coordinates, not {inputs - split}")
    low = sqrt_up(square_norm(block.low.weight, gap)[0])
    top = max(row_norm(row, split) for row in block.top.weight)
    return _leaf(
        name, f"mixed norm, rows {format_up(top, 9)}, block {format_up(low, 9)}", max(top, low)
    )


def _step(
    name: str, step: GradientStep, gap: float, prefix: str = "", *, mixed: bool = False
) -> Statement:
    r"""The Jacobian of a step has its spectrum in :math:`[1 - \tau\|W\|^2, 1]`."""
    low, high = slope_interval(step.activation, f"{name}.activation")
    tau = Fraction(step.tau.item())
    if low < 0 or tau < 0:
        raise Refusal(f"'{name}' has the slope {low} and tau = {float(tau)}: expected both >= 0")
    square, bound = square_norm(step.weight, gap)
    length = tau * Fraction(high) * square
    rule = f"{prefix}gradient step, tau |W|^2 <= {format_up(round_up(length), 9)}"
    upper = round_up(max(Fraction(1), length - 1))
    averagedness = round_up(length / 2) if length <= 2 and not mixed else 1.0
    return Statement(rule, upper, averagedness if upper <= 1 else None, name, bound)


def _matrix(name: str, layer: nn.Linear, gap: float) -> Statement:
    square, bound = square_norm(layer.weight, gap)
    upper = sqrt_up(square)
    rule = "Gram matrix, exact row sums" if bound is None else bound.rule
    return Statement(rule, upper, 1.0 if upper <= 1 else None, name, bound)


def _leaf(name: str, rule: str, upper: float) -> Statement:
    """Between different norms nothing but nonexpansiveness is claimed, so the averagedness is 1."""
    return Statement(rule, upper, 1.0 if upper <= 1 else None, name)


def _require_own_parts(network: nn.Module, name: str) -> None:
    roles = _ROLES.get(type(network), ())
    for path, part in network.named_modules(remove_duplicate=False):
        require_plain(part, f"{name}.{path}".strip("."))
        if part is network or _ACTIVATION.fullmatch(path):
            continue
        expected = [kind for pattern, kind in roles if re.fullmatch(pattern, path)]
        if roles and expected != [type(part)]:
            raise Refusal(
                f"'{path}' is a {type(part).__qualname__}, which is no part of a "
                f"{type(network).__qualname__}: register a rule for a class of your own"
            )
