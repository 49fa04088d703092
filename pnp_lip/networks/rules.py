r"""What is proved of whole networks: from the Euclidean norm to the Euclidean norm, or each output alone.

The registered rules bound :math:`\|f(x) - f(y)\|_2 \le u\,\|x - y\|_2`, which is what a certificate
says. :func:`prove_outputs` bounds :math:`\max_i |f_i(x) - f_i(y)| \le u\,\|x - y\|_2`. They are the same
for a single output. In a network of fixed width the constants between lift and readout are those in
the mixed norm of the state, see :mod:`pnp_lip.networks.fixed_width`.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from torch import Tensor, nn

from pnp_lip.certifier import Refusal, Settings, Statement, compose, register_rule
from pnp_lip.certifier.outward import round_up, sqrt_up
from pnp_lip.certifier.rules import require_plain
from pnp_lip.certifier.slopes import slope_interval
from pnp_lip.layers import GradientStep
from pnp_lip.networks.fixed_width import TOP, BlockMap, FixedWidthNetwork, MaxMinStep
from pnp_lip.networks.free_width import FreeWidthNetwork
from pnp_lip.networks.weight_norm import GAP, hypotenuse, row_norm, square_norm

__all__ = ["prove_outputs"]

_CLASSES = (nn.Linear, nn.ModuleList, GradientStep, BlockMap, MaxMinStep)


def prove_outputs(network: FreeWidthNetwork | FixedWidthNetwork, *, gap: float = GAP) -> Statement:
    r"""Bound every output alone, :math:`\max_i |f_i(x) - f_i(y)| \le u\,\|x - y\|_2`.

    Raises:
        Refusal: hooks, replaced methods, foreign parts, or weights that are not finite.
    """
    split = TOP if type(network) is FixedWidthNetwork else 0
    upper = max(row_norm(row, split) for row in network.readout.weight)
    readout = _leaf("readout", "readout, largest row", upper)
    return compose([*_body(network, "", gap), readout], "outputs one by one")


@register_rule(FreeWidthNetwork)
def _free_width(module: nn.Module, name: str, settings: Settings) -> Statement:
    readout = _matrix("readout", module.readout, settings.gap)
    return compose([*_body(module, name, settings.gap), readout], "network of gradient steps")


@register_rule(FixedWidthNetwork)
def _fixed_width(module: nn.Module, name: str, settings: Settings) -> Statement:
    """The readout is bounded row by row, or by its columns and its last block: the smaller one."""
    weight = module.readout.weight.detach()
    by_rows = hypotenuse([row_norm(row, TOP) for row in weight])
    parts = [row_norm(weight[:, index], 0) for index in range(TOP)]
    low = sqrt_up(square_norm(weight[:, TOP:], settings.gap)[0])
    by_columns = round_up(sum((Fraction(part) for part in [*parts, low]), Fraction(0)))
    readout = _leaf("readout", "readout, mixed to Euclidean norm", min(by_rows, by_columns))
    return compose([*_body(module, name, settings.gap), readout], "network of fixed width")


def _body(network: nn.Module, name: str, gap: float) -> list[Statement]:
    """The statements about everything but the readout, the first applied first."""
    _require_own_parts(network, name)
    if type(network) is FreeWidthNetwork:
        return [_matrix("lift", network.lift, gap), *_steps(network, gap)]
    if type(network) is FixedWidthNetwork:
        return list(_fixed_body(network, gap))
    raise Refusal(
        f"expected a FreeWidthNetwork or FixedWidthNetwork, got {type(network).__qualname__}: "
        f"a subclass needs its own rule"
    )


def _steps(network: FreeWidthNetwork, gap: float) -> Iterator[Statement]:
    for index, step in enumerate(network.steps):
        yield _step(f"steps.{index}", step, gap)


def _fixed_body(network: FixedWidthNetwork, gap: float) -> Iterator[Statement]:
    yield _block("lift", network.lift, 0, gap)
    for index, step in enumerate(network.steps):
        yield _step(f"steps.{index}", step.step, gap, "max, min, identity and ", mixed=True)
        if index < len(network.maps):
            yield _block(f"maps.{index}", network.maps[index], TOP, gap)


def _block(name: str, block: BlockMap, split: int, gap: float) -> Statement:
    low = sqrt_up(square_norm(block.low.weight, gap)[0])
    top = max(row_norm(row, split) for row in block.top.weight)
    return _leaf(name, f"mixed norm, rows {top:.9g}, block {low:.9g}", max(top, low))


def _step(
    name: str, step: GradientStep, gap: float, prefix: str = "", *, mixed: bool = False
) -> Statement:
    r"""The Jacobian of a step has its spectrum in :math:`[1 - \tau\|W\|^2, 1]`."""
    low, high = slope_interval(step.activation, f"{name}.activation")
    tau = Fraction(float(step.tau))
    if low < 0 or tau < 0:
        raise Refusal(f"'{name}' has the slope {low} and tau = {float(tau)}: expected both >= 0")
    square, bound = square_norm(step.weight, gap)
    length = tau * Fraction(high) * square
    rule = f"{prefix}gradient step, tau |W|^2 <= {round_up(length):.9g}"
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
    for path, part in network.named_modules():
        require_plain(part, f"{name}.{path}".strip("."))
        activation = path.endswith("activation")
        if part is not network and not activation and type(part) not in _CLASSES:
            raise Refusal(
                f"'{path}' is a {type(part).__qualname__}, which is no part of a "
                f"{type(network).__qualname__}: register a rule for your own class"
            )
    _require_tensor_parameters(network)


def _require_tensor_parameters(network: nn.Module) -> None:
    for path, value in network.named_parameters():
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise Refusal(f"'{path}' is {value.dtype}: expected floating-point weights")
