"""Modules that stay whole in an exported graph: those whose class has a rule.

While a network is exported, the ``forward`` of such a part is replaced by one operator that stands for
the call, so the exporter does not look into it. The operator runs the part on copies, which is what
a class with a rule promises not to notice; a part that breaks the promise is found by the
comparison of the graph with the module.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pnp_lip.certifier.rules import rule_of
from pnp_lip.plain_modules import Refusal, require_plain

__all__ = ["WHOLE", "WholeCall", "kept_whole", "recorded_calls"]


@dataclass(frozen=True)
class WholeCall:
    """One call of a module that stays whole.

    Attributes
    ----------
    module, path
        which.
    run
        the call again, with the image and the tensors among the other arguments.
    keeps_shape
        of its class.
    features
        of its outputs, where its class says so.
    """

    module: nn.Module
    path: str
    run: Callable[[Tensor, list[Tensor]], Tensor]
    keeps_shape: bool
    features: int | None


_CALLS: dict[int, WholeCall] = {}
_NUMBERS = itertools.count()


@torch.library.custom_op("pnp_lip::whole", mutates_args=())
def _whole(x: Tensor, others: list[Tensor], call: int) -> Tensor:
    return _CALLS[call].run(x.clone(), [other.clone() for other in others]).clone()


@_whole.register_fake
def _(x: Tensor, others: list[Tensor], call: int) -> Tensor:
    if _CALLS[call].keeps_shape:
        return torch.empty_like(x)
    features = _CALLS[call].features
    if features is not None:
        return x.new_empty(x.shape[0], features)
    return _CALLS[call].run(x, others)


#: The operator in a graph.
WHOLE = torch.ops.pnp_lip.whole.default


@contextmanager
def recorded_calls() -> Iterator[dict[int, WholeCall]]:
    """The calls that are recorded inside the block, by their numbers; forgotten at its end."""
    before = dict(_CALLS)
    try:
        yield _CALLS
    finally:
        _CALLS.clear()
        _CALLS.update(before)


@contextmanager
def kept_whole(root: nn.Module) -> Iterator[list[Refusal]]:
    """Replace the ``forward`` of every part of ``root`` that has a rule and is plain.

    Yields
    ------
    list[Refusal]
        Refusals that were raised inside: a network may swallow an exception.
    """
    problems: list[Refusal] = []
    replaced = list(_parts_with_rules(root))
    for path, module in replaced:
        vars(module)["forward"] = _recorder(module, path, problems)
    try:
        yield problems
    finally:
        for _, module in replaced:
            vars(module).pop("forward", None)


def _parts_with_rules(root: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, part in root.named_children():
        path = f"{prefix}{name}"
        if rule_of(part) is not None and _is_plain(part, path):
            yield path, part
        else:
            yield from _parts_with_rules(part, f"{path}.")


def _is_plain(module: nn.Module, path: str) -> bool:
    """What is not plain is left to the exporter, which runs it as it is."""
    try:
        require_plain(module, path)
    except Refusal:
        return False
    return True


def _recorder(module: nn.Module, path: str, problems: list[Refusal]) -> Callable[..., Tensor]:
    forward = type(module).forward
    signature = inspect.signature(forward)
    rule = rule_of(module)
    assert rule is not None

    def record(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        bound = signature.bind(module, x, *args, **kwargs)
        others: list[str] = []
        for name, value in list(bound.arguments.items())[2:]:
            if name not in rule.arguments and not _is_default(signature.parameters[name], value):
                problem = Refusal(
                    f"'{path}' is called with '{name}', about which the rule of "
                    f"{type(module).__qualname__} says nothing: leave it out, or name it in "
                    f"register_rule(..., arguments=)"
                )
                problems.append(problem)
                raise problem
            if isinstance(value, Tensor):
                others.append(name)

        def run(image: Tensor, tensors: list[Tensor]) -> Tensor:
            given = dict(bound.arguments) | dict(zip(others, tensors, strict=True))
            again = inspect.BoundArguments(signature, given)
            out: Tensor = forward(module, image, *again.args[2:], **again.kwargs)
            return out

        number = next(_NUMBERS)
        features = None if rule.features is None else rule.features(module)
        _CALLS[number] = WholeCall(module, path, run, rule.keeps_shape(module), features)
        out: Tensor = WHOLE(x, [bound.arguments[name] for name in others], number)
        return out

    return record


def _is_default(parameter: inspect.Parameter, value: Any) -> bool:
    if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
        return not value
    return value is parameter.default
