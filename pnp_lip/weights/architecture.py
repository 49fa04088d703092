"""What a weight file says about the network it belongs to, checked before anything is built."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pnp_lip.errors import PnpLipError

__all__ = ["WeightsError", "parse_architecture", "require_depth", "require_tensors"]

_LARGEST, _CHARACTERS = 4096, 1000


class WeightsError(PnpLipError, ValueError):
    """Weights that are missing, damaged or of another architecture; the message says which."""


def parse_architecture(text: str | None, path: Path) -> dict[str, int]:
    """The sizes in a file's metadata, as whole numbers from 1 to 4096.

    Raises:
        WeightsError: missing, no JSON, nested, or a size that is no such number.
    """
    if text is None or len(text) > _CHARACTERS:
        raise WeightsError(f"{path} does not say which network its weights belong to")
    try:
        sizes = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} describes its network by {text[:60]!r}: no JSON") from error
    if not isinstance(sizes, dict) or not sizes:
        raise WeightsError(f"{path} describes its network by {text[:60]!r}: expected named sizes")
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= _LARGEST:
            raise WeightsError(
                f"{path} has {name}={str(size)[:40]}: expected a whole number from 1 to {_LARGEST}"
            )
    return sizes


def require_depth(sizes: Mapping[str, int], state: Mapping[str, Tensor]) -> None:
    """Refuse a number of layers that the tensors do not have, before layers are built.

    Raises:
        WeightsError: as said.
    """
    layers = {name.split(".")[1] for name in state if name.startswith("layers.")}
    if len(layers) != sizes.get("depth"):
        raise WeightsError(
            f"the weights have {len(layers)} layers and say depth={sizes.get('depth')}: the file was "
            f"changed after it was written, fetch it again"
        )


def require_tensors(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not exactly those of the network: nothing is cast or left out.

    Args:
        wanted: the state dict of the network that is to be filled.
        state: what was stored.

    Raises:
        WeightsError: another name, shape or type; or knots that do not increase.
    """
    missing, unknown = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or unknown:
        raise WeightsError(
            f"the weights have no tensor {missing[0]!r}" if missing else
            f"the weights have a tensor {unknown[0]!r}, which the network has not"
        )  # fmt: skip
    for name, tensor in state.items():
        expected = wanted[name]
        if tensor.shape != expected.shape or tensor.dtype != expected.dtype:
            raise WeightsError(
                f"the weights have '{name}' as {tensor.dtype} {tuple(tensor.shape)}, expected "
                f"{expected.dtype} {tuple(expected.shape)}"
            )
        if name.endswith("knots") and not bool((tensor.diff() > 0).all()):
            raise WeightsError(f"'{name}' is not increasing: {tensor.tolist()}")
        if not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"'{name}' contains NaN or infinity")
