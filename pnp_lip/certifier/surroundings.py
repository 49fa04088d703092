"""What surrounds an export: nothing is printed or left behind, and what has a rule stays whole.

While a network is exported, the ``forward`` of a part whose class has a rule is replaced by one operator
that stands for the call, so the exporter does not look into it. The operator runs the part on copies,
which is what a class with a rule promises not to notice; a part that breaks the promise is found by the
comparison of the graph with the module.
"""

from __future__ import annotations

import inspect
import io
import logging
import pickle
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from pnp_lip.certifier.rules import ModuleRule, rule_of
from pnp_lip.plain_modules import Refusal, require_plain

__all__ = ["WHOLE", "call_of", "kept_whole", "restored", "undisturbed"]


@dataclass(frozen=True)
class WholeCall:
    """One call of a module that stays whole.

    Attributes
    ----------
    module, path
        which.
    run
        the call again, with the image and the tensors among the other arguments.
    rule
        of its class.
    """

    module: nn.Module
    path: str
    run: Callable[[Tensor, list[Tensor]], Tensor]
    rule: ModuleRule


_CALLS: list[WholeCall] = []


@torch.library.custom_op("pnp_lip::whole", mutates_args=())
def _whole(x: Tensor, others: list[Tensor], call: int) -> Tensor:
    return _CALLS[call].run(x.clone(), [other.clone() for other in others]).clone()


@_whole.register_fake
def _(x: Tensor, others: list[Tensor], call: int) -> Tensor:
    found = _CALLS[call]
    if found.rule.keeps_shape(found.module):
        return torch.empty_like(x)
    if found.rule.features is not None:
        return x.new_empty(x.shape[0], found.rule.features(found.module))
    return found.run(x, others)


#: The operator in a graph.
WHOLE = torch.ops.pnp_lip.whole.default


def call_of(node: fx.Node) -> WholeCall:
    """What a call of :data:`WHOLE` in a graph stands for, within :func:`restored`."""
    return _CALLS[node.args[2]]  # type: ignore[index]


@contextmanager
def kept_whole(root: nn.Module) -> Iterator[None]:
    """Replace the ``forward`` of every part of ``root`` that has a rule and is plain.

    Raises
    ------
    Refusal
        the first that was raised inside, also where the network swallowed it.
    """
    problems: list[Refusal] = []
    replaced = list(_parts_with_rules(root))
    for path, module, rule in replaced:
        vars(module)["forward"] = _recorder(module, path, rule, problems)
    try:
        yield
    finally:
        for _, module, _ in replaced:
            vars(module).pop("forward", None)
        if problems:
            raise problems[0]


def _parts_with_rules(root: nn.Module, prefix: str = "") -> Iterator[tuple[str, Any, ModuleRule]]:
    """What is not plain is left to the exporter, which runs it as it is."""
    for name, part in root.named_children():
        path, rule = f"{prefix}{name}", rule_of(part)
        with suppress(Refusal):
            require_plain(part, path)
            if rule is not None:
                yield path, part, rule
                continue
        yield from _parts_with_rules(part, f"{path}.")


def _recorder(module: nn.Module, path: str, rule: ModuleRule, problems: list[Refusal]) -> Any:
    forward = type(module).forward
    signature = inspect.signature(forward)

    def record(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        given = dict(signature.bind(module, x, *args, **kwargs).arguments)
        for name in list(given)[2:]:
            default = _is_default(signature.parameters[name], given[name])
            if name not in rule.arguments and not default:
                problem = Refusal(
                    f"'{path}' is called with '{name}', about which its rule says nothing: leave it "
                    f"out, or name it in register_rule(..., arguments=)"
                )
                problems.append(problem)
                raise problem
        others = [name for name in list(given)[2:] if isinstance(given[name], Tensor)]

        def run(image: Tensor, tensors: list[Tensor]) -> Any:
            filled = given | dict(zip(others, tensors, strict=True))
            again = inspect.BoundArguments(signature, filled)
            return forward(module, image, *again.args[2:], **again.kwargs)

        _CALLS.append(WholeCall(module, path, run, rule))
        return WHOLE(x, [given[name] for name in others], len(_CALLS) - 1)

    return record


def _is_default(parameter: inspect.Parameter, value: Any) -> bool:
    several = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    return not value if several else value is parameter.default


@contextmanager
def restored(module: nn.Module) -> Iterator[None]:
    """At the end every part has the attributes it had, and recorded calls are forgotten.

    An exporter leaves its tensors on modules.
    """
    before, calls = [(part, dict(vars(part))) for part in module.modules()], len(_CALLS)
    try:
        yield
    finally:
        del _CALLS[calls:]
        for part, attributes in before:
            for key in vars(part).keys() - attributes.keys():
                del vars(part)[key]
            vars(part).update(attributes)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Nothing is printed, and what draws random numbers is refused.

    The exporter warns, logs and prints about what it then raises. The generators of torch, numpy and
    Python are left as they were.

    Raises
    ------
    Refusal
        one of them was drawn from, unless there was another error.
    """
    silent, nowhere, before = logging.root.manager.disable, io.StringIO(), _random_states()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(silent)
        changed = pickle.dumps(_random_states()) != pickle.dumps(before)
        torch.set_rng_state(torch.from_numpy(before[0]))
        np.random.set_state(before[1])
        random.setstate(before[2])
    if changed:
        raise Refusal("draws random numbers, so there is no single map")


def _random_states() -> tuple[Any, Any, Any]:
    return torch.get_rng_state().numpy(), np.random.get_state(), random.getstate()
