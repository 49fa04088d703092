"""What a weight file says about the network it belongs to, checked before anything is built."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pnp_lip.errors import PnpLipError

__all__ = ["WeightsError", "parse_architecture", "require_depth", "require_tensors"]

_LARGEST, _CHARACTERS = 4096, 1000
_PARTS = ("plain", "denoiser", "mask")


class WeightsError(PnpLipError, ValueError):
    """Weights that are missing, damaged or of another architecture; the message says which."""


def parse_architecture(text: str | None, path: Path) -> dict[str, Any]:
    """The sizes in a file's metadata.

    Whole numbers from 1 to 4096; for ``nf`` also a list of them, for ``positive`` true or false, for
    ``limit`` a number in (0, 10]. The parts of a guided denoiser have their own sizes, one level below.

    Raises
    ------
    WeightsError
        missing, no JSON, nested deeper, or a size that is no such number.
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
        if isinstance(size, dict) and name in _PARTS:
            for inner, value in size.items():
                _require_size(inner, value, path)
        else:
            _require_size(name, size, path)
    return sizes


def _require_size(name: str, size: Any, path: Path) -> None:
    numbers = size if name == "nf" and isinstance(size, list) and size else [size]
    right = all(type(one) is int and 1 <= one <= _LARGEST for one in numbers)
    expected = f"a whole number from 1 to {_LARGEST}"
    if name == "positive":
        right, expected = isinstance(size, bool), "true or false"
    if name == "limit":
        right, expected = type(size) in (int, float) and 0 < size <= 10, "a number in (0, 10]"
    if not right:
        raise WeightsError(f"{path} has {name}={str(size)[:40]}: expected {expected}")


def require_depth(sizes: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Refuse a number of layers that the tensors do not have, before layers are built.

    Raises
    ------
    WeightsError
        as said.
    """
    layers = {name.split(".")[1] for name in state if name.startswith("layers.")}
    counts = sizes.get("nf")
    if len(layers) != sizes.get("depth") or (
        isinstance(counts, list) and len(counts) != len(layers)
    ):
        raise WeightsError(
            f"the weights have {len(layers)} layers and say depth={sizes.get('depth')}: the file was "
            f"changed after it was written, fetch it again"
        )


def require_tensors(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Refuse tensors that do not fit the network exactly: nothing is cast or left out.

    Parameters
    ----------
    wanted
        the state dict of the network that is to be filled.
    state
        what was stored.

    Raises
    ------
    WeightsError
        another name, shape or type; or knots that do not increase.
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
