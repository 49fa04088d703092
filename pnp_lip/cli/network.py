"""The network a user names on the command line: weights, or an object of their own."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from torch import nn

from pnp_lip.denoisers.lipschitz import LipschitzDenoiser

__all__ = ["load_network"]


def load_network(source: str, channels: int) -> nn.Module:
    """A denoiser from a weight file, or ``package.module:name`` for a module of the user's.

    Args:
        source: ``"default"``, ``"large"``, a ``.safetensors`` file, or an importable name of an
            ``nn.Module`` or of a function without arguments that returns one. Importing runs that code.
        channels: which shipped weights the names mean.

    Raises:
        ValueError: the name cannot be imported, or is no network.
    """
    if ":" not in source or Path(source).exists():
        return LipschitzDenoiser.from_weights(source, channels)
    module, _, name = source.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"'{source}' cannot be imported: {error}") from error
    finally:
        sys.path.pop(0)
    network = found if isinstance(found, nn.Module) else found() if callable(found) else found
    if not isinstance(network, nn.Module):
        raise ValueError(f"'{source}' is {type(network).__name__}, expected an nn.Module")
    return network.eval()
