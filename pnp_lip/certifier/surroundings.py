"""What surrounds an export: nothing is printed, and no generator of random numbers moves."""

from __future__ import annotations

import io
import logging
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
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def same_random_state() -> Iterator[None]:
    """Refuse what draws from a generator of torch, numpy or Python; leave them as they were."""
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    yield
    now = torch.get_rng_state(), np.random.get_state(), random.getstate()
    torch.set_rng_state(before[0])
    np.random.set_state(before[1])
    random.setstate(before[2])
    numpy_before: Any = before[1]
    numpy_now: Any = now[1]
    same_numpy = all(np.array_equal(a, b) for a, b in zip(numpy_before, numpy_now, strict=True))
    if not (torch.equal(before[0], now[0]) and same_numpy and before[2] == now[2]):
        raise Refusal("draws random numbers, so there is no single map")
