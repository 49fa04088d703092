"""What surrounds an export: nothing is printed, and no generator of random numbers moves."""

from __future__ import annotations

import io
import logging
import pickle
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import torch
from torch import nn

from pnp_lip.plain_modules import Refusal

__all__ = ["attributes_restored", "quiet", "same_random_state"]


@contextmanager
def attributes_restored(module: nn.Module) -> Iterator[None]:
    """At the end every part has the attributes it had: an exporter's tensors are left on none."""
    before = [(part, dict(vars(part))) for part in module.modules()]
    try:
        yield
    finally:
        for part, attributes in before:
            now = vars(part)
            for key in now.keys() - attributes.keys():
                del now[key]
            now.update(attributes)


@contextmanager
def quiet() -> Iterator[None]:
    """The exporter warns, logs and prints about what it then raises."""
    before, nowhere = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def same_random_state() -> Iterator[None]:
    """Refuse what draws from a generator of torch, numpy or Python; leave them as they were."""
    before = _random_states()
    yield
    changed = pickle.dumps(_random_states()) != pickle.dumps(before)
    torch.set_rng_state(torch.from_numpy(before[0]))
    np.random.set_state(before[1])
    random.setstate(before[2])
    if changed:
        raise Refusal("draws random numbers, so there is no single map")


def _random_states() -> tuple[Any, Any, Any]:
    return torch.get_rng_state().numpy(), np.random.get_state(), random.getstate()
