"""Weights on disk: safetensors, with their architecture and a hash that is checked on reading."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised
from torch import Tensor, nn

from pnp_lip.errors import MissingFileError
from pnp_lip.files import atomic_path
from pnp_lip.weights.architecture import WeightsError, parse_architecture

__all__ = [
    "SHIPPED_NAMES",
    "StoredWeights",
    "WeightsError",
    "read_weights",
    "shipped",
    "shipped_certificates",
    "shipped_configurations",
    "weight_hash",
    "write_weights",
]

_FORMAT = "pnp_lip 2"
_FIRST_FORMAT = "pnp_lip 1"
#: Names of shipped weights: those that were trained, and the same layers each twice.
SHIPPED_NAMES = ("default", "large")
_IMAGES = {1: "grey", 3: "colour"}


@dataclass(frozen=True, eq=False)
class StoredWeights:
    """What a weight file holds.

    Attributes
    ----------
    architecture
        the sizes a denoiser is built from.
    state_dict
        every parameter and buffer.
    sha256
        hash of ``state_dict``, see :func:`weight_hash`.
    """

    architecture: dict[str, Any]
    state_dict: dict[str, Tensor]
    sha256: str


def weight_hash(state_dict: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, shapes, types and bytes of all tensors, in the order of names.

    Each of the four stands behind its length, so that no two states are written alike.
    """
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        for part in _parts(name, state_dict[name]):
            digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def _parts(name: str, tensor: Tensor) -> tuple[bytes, ...]:
    """Name, shape, type and entries of a tensor."""
    entries = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    shape = str(tuple(tensor.shape)).encode()
    return name.encode(), shape, str(tensor.dtype).encode(), entries.astype(np.uint8).tobytes()


def _undelimited_hash(state_dict: Mapping[str, Tensor]) -> str:
    """The hash that files of the first format hold, which two different states may share."""
    digest = hashlib.sha256()
    for name in sorted(state_dict):
        _, shape, kind, entries = _parts(name, state_dict[name])
        digest.update(b" ".join((name.encode(), shape, kind)) + b"\n" + entries)
    return digest.hexdigest()


def write_weights(denoiser: nn.Module, path: str | Path) -> None:
    """Write the weights of a :class:`~pnp_lip.LipschitzDenoiser` atomically to ``path``.

    Parameters
    ----------
    denoiser
        its state dict and ``sizes`` are stored.
    path
        file name, ending in ``.safetensors``.

    Raises
    ------
    WeightsError
        another suffix.

    Examples
    --------
    >>> import tempfile
    >>> from pnp_lip import LipschitzDenoiser, write_weights
    >>> D = LipschitzDenoiser(1, depth=2, nf=8, kernel_size=3, pretrained=None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_weights(D, f"{folder}/mine.safetensors")
    ...     again = LipschitzDenoiser(1, pretrained=f"{folder}/mine.safetensors")
    >>> again.sizes["nf"]
    8
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError(f"weights are stored as .safetensors, got {path}")
    state = {
        name: value.detach().cpu().contiguous() for name, value in denoiser.state_dict().items()
    }
    metadata = {
        "format": _FORMAT,
        "architecture": json.dumps(denoiser.sizes, sort_keys=True),
        "sha256": weight_hash(state),
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(serialised(state, metadata))  # with the permissions of a new file


def shipped(in_channels: int, name: str = "default") -> Path:
    """The path of weights that come with the package, for grey (1) or colour (3) images.

    Parameters
    ----------
    in_channels
        1 or 3.
    name
        one of :data:`SHIPPED_NAMES`.

    Raises
    ------
    WeightsError
        another number of channels.
    """
    if in_channels not in _IMAGES:
        raise WeightsError(f"weights are shipped for 1 and 3 channels, not for {in_channels}")
    stem = _IMAGES[in_channels] + ("" if name == "default" else f"_{name}")
    return Path(__file__).with_name(f"{stem}.safetensors")


def shipped_certificates() -> list[Path]:
    """The certificates that come with the package."""
    return sorted(Path(__file__).parent.glob("*.certificate.json"))


def shipped_configurations() -> dict[str, Path]:
    """The configurations that the shipped weights were trained with, by name."""
    return {path.stem: path for path in Path(__file__).parent.glob("*.toml")}


def read_weights(source: str | Path, in_channels: int = 1) -> StoredWeights:
    """Read and verify a weight file.

    Parameters
    ----------
    source
        ``"default"`` or ``"large"`` for shipped weights of ``in_channels``, or a path.
    in_channels
        which shipped weights; a file brings its own.

    Raises
    ------
    MissingFileError
        no such file.
    WeightsError
        truncated, tampered with, or not written by :func:`write_weights`.

    Examples
    --------
    >>> stored = read_weights("default", in_channels=3)
    >>> stored.architecture["in_channels"], len(stored.sha256)
    (3, 64)
    """
    path = shipped(in_channels, str(source)) if source in SHIPPED_NAMES else Path(source)
    if not path.is_file():
        raise MissingFileError(f"no weights at {path}: expected a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise WeightsError(f"{path} is truncated or not a safetensors file: {error}") from error
    hashes = {_FORMAT: weight_hash, _FIRST_FORMAT: _undelimited_hash}
    if metadata.get("format") not in hashes:
        raise WeightsError(
            f"{path} was not written by pnp_lip.write_weights: its format is not '{_FORMAT}'"
        )
    found = hashes[metadata["format"]](state)
    if found != metadata.get("sha256"):
        raise WeightsError(
            f"{path} was changed after it was written: its tensors hash to {found[:12]}..., the "
            f"file says {str(metadata.get('sha256'))[:12]}...; fetch it again"
        )
    architecture = parse_architecture(metadata.get("architecture"), path)
    return StoredWeights(architecture, state, weight_hash(state))
