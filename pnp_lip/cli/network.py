"""The network a user names on the command line: weights, or an object of their own."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from torch import nn

from pnp_lip.cli.door import say
from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.errors import InputError

__all__ = ["load_network"]

#: Programs, and files of weights that are never unpickled.
_NO_WEIGHTS = (".py", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin")


def load_network(source: str, channels: int) -> nn.Module:
    """A denoiser from a weight file, or ``package.module:name`` for a module of the user's.

    Parameters
    ----------
    source
        ``"default"``, ``"large"``, ``"guided"`` (the filters whose thresholds a guide scales), a
        ``.safetensors`` file, or an importable name of an ``nn.Module`` or of a function without
        arguments that returns one. Importing runs that code.
    channels
        which shipped weights the names mean.

    Raises
    ------
    InputError
        the name cannot be imported, its code raises an error, or it is no network.
    """
    if source == "guided":
        return GuidedDenoiser(channels).denoiser
    if Path(source).suffix.lower() in _NO_WEIGHTS:
        raise InputError(
            f"expected weights that pnp-lip wrote (.safetensors) or a module, got {source}: to certify a "
            f"network of your own, name it as '{Path(source).stem}:NAME', where {Path(source).stem}.py "
            "defines NAME, the network or a function that returns it with its weights loaded"
        )
    if ":" not in source or Path(source).exists():
        return LipschitzDenoiser.from_weights(source, channels)
    found = _imported(source)
    network = found if isinstance(found, nn.Module) else _made(source, found)
    if not isinstance(network, nn.Module):
        raise InputError(f"'{source}' is {type(network).__name__}, expected an nn.Module")
    return network.eval()


def _imported(source: str) -> Any:
    """What the user's name stands for; whatever their module raises is theirs to mend."""
    module, _, name = source.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:
        raise InputError(
            f"'{source}' cannot be imported: {type(error).__name__}: {error}"
        ) from error
    finally:
        sys.path.pop(0)


def _made(source: str, found: Any) -> Any:
    """The return value of the user's function."""
    if not callable(found):
        return found
    say(f"'{source}' is called without arguments: what it returns is certified, with those weights")
    try:
        return found()
    except Exception as error:
        raise InputError(
            f"'{source}' was called without arguments and failed: {type(error).__name__}: {error}"
        ) from error
