"""The content of a certificate file, read strictly: what is missing, doubled or absurd is a rejection.

Written for the checker alone: it shares no code with what writes certificates.
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pnp_lip.checker.entries import Entries, short
from pnp_lip.checker.graph_file import Graph, read_graph
from pnp_lip.checker.rejection import CertificateRejected
from pnp_lip.checker.strict_json import read_json, require_depth

__all__ = ["FORMAT", "Layer", "Stored", "StoredWitness", "read_certificate"]

#: Of the files.
FORMAT = "pnp_lip certificate 3"
_LAYERS, _ENTRIES, _CHARACTERS, _GRAPHS = 10**5, 2**26, 500, 1000


@dataclass(frozen=True)
class Layer:
    """What a certificate says about one layer; ``bound`` is left to ``check_layer``."""

    name: str
    upper: float
    averagedness: float | None
    bound: dict[str, Any] | None
    execution: dict[str, float] | None


@dataclass(frozen=True)
class StoredWitness:
    """A pair of inputs and the gain that is claimed of it."""

    x: Tensor
    y: Tensor
    gain: float
    sigma: float | None


@dataclass(frozen=True)
class Stored:
    """A certificate whose every entry has the right type; nothing of it is verified yet."""

    network: str
    sha256: str
    upper: float
    lower: float
    averagedness: float | None
    execution: dict[str, float] | None
    claims: dict[str, str | None]
    conditions: tuple[str, ...]
    layers: tuple[Layer, ...]
    graphs: tuple[Graph, ...]
    witness: StoredWitness | None


def read_certificate(source: str | Path | dict[str, Any]) -> Stored:
    """Read a file, or its content, and check every entry's presence, type and range.

    Raises
    ------
    CertificateRejected
        with the entry and what was expected there.
    """
    data = read_json(Path(source)) if isinstance(source, (str, Path)) else source
    require_depth(data)
    top = Entries(data, "the certificate")
    if top.get("format", str) != FORMAT:
        raise CertificateRejected(
            f"not a certificate of this version: expected the format '{FORMAT}', got "
            f"{data.get('format')!r}; make it again"
        )
    top.require(_TOP)
    layers = top.get("layers", list)
    if len(layers) > _LAYERS:
        raise CertificateRejected(f"expected at most {_LAYERS} layers, got {len(layers)}")
    conditions = top.get("conditions", list)
    if not all(isinstance(one, str) and len(one) <= _CHARACTERS for one in conditions):
        raise CertificateRejected(f"expected conditions as short texts, got {short(conditions)}")
    for key in ("rule", "network", "sha256"):
        top.get(key, str)
    top.number("gap", 1e-9, 1.0)
    for name, version in top.get("versions", dict).items():
        if not isinstance(version, str):
            raise CertificateRejected(f"expected the version of {name} as text, got {version!r}")
    return Stored(
        network=top.get("network", str),
        sha256=top.get("sha256", str),
        upper=top.number("upper", 0.0),
        lower=top.number("lower", 0.0),
        averagedness=top.optional("averagedness", 0.0, 1.0),
        execution=_execution(top),
        claims=_claims(top),
        conditions=tuple(conditions),
        layers=tuple(_layer(Entries(one, f"layer {i}")) for i, one in enumerate(layers)),
        graphs=_graphs(top, len(layers)),
        witness=_witness(top.get("witness", (dict, type(None)))),
    )


_TOP = {
    *("format", "network", "sha256", "upper", "lower", "averagedness", "claims", "rule", "gap"),
    *("execution", "versions", "layers", "graphs", "witness", "conditions"),
}
_LAYER = {
    *("name", "rule", "upper", "averagedness", "norm_upper", "norm_lower", "gap", "execution"),
    "bound",
}


def _layer(entries: Entries) -> Layer:
    entries.require(_LAYER)
    name = entries.get("name", str)
    entries.what = f"layer '{name}'"
    entries.get("rule", str)
    bound = entries.get("bound", (dict, type(None)))
    upper, lower, gap = (entries.optional(key) for key in ("norm_upper", "norm_lower", "gap"))
    found = (None, None) if bound is None else (bound.get("upper"), bound.get("lower"))
    if (upper, lower) != found:
        raise CertificateRejected(f"{entries.what} says other norms than its bound does")
    wanted = None if upper is None or not lower else upper / lower - 1
    if gap != wanted:
        raise CertificateRejected(f"{entries.what} says the gap {gap!r}, its norms have {wanted!r}")
    alpha = entries.optional("averagedness", 0.0, 1.0)
    return Layer(name, entries.number("upper", 0.0), alpha, bound, _execution(entries))


def _graphs(top: Entries, layers: int) -> tuple[Graph, ...]:
    graphs = top.get("graphs", list)
    if len(graphs) > _GRAPHS:
        raise CertificateRejected(f"expected at most {_GRAPHS} graphs, got {len(graphs)}")
    return tuple(read_graph(one, index, layers) for index, one in enumerate(graphs))


def _execution(entries: Entries) -> dict[str, float] | None:
    found = entries.get("execution", (dict, type(None)))
    if found is None:
        return None
    inner = Entries(found, f"the execution error of {entries.what}")
    inner.require({"relative", "offset", "growth", "shift"})
    return {key: inner.number(key, 0.0) for key in found}


def _claims(top: Entries) -> dict[str, str | None]:
    inner = Entries(top.get("claims", dict), "the claims")
    inner.require({"network", "computation", "execution"})
    for key in ("network", "computation"):
        inner.get(key, str)
    inner.get("execution", (str, type(None)))
    return dict(inner.data)


def _witness(data: dict[str, Any] | None) -> StoredWitness | None:
    if data is None:
        return None
    entries = Entries(data, "the witness")
    entries.require({"gain", "sigma", "shape", "x", "y"})
    shape = entries.shape("shape", _ENTRIES)
    x, y = (_tensor(entries.get(key, str), shape) for key in "xy")
    return StoredWitness(x, y, entries.number("gain", 0.0), entries.optional("sigma"))


def _tensor(text: str, shape: tuple[int, ...]) -> Tensor:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise CertificateRejected(f"the witness cannot be decoded: {error}") from error
    if len(raw) != 8 * math.prod(shape):
        raise CertificateRejected(
            f"the witness has {len(raw)} bytes, not those of the shape {list(shape)}"
        )
    array = np.frombuffer(raw, dtype="<f8").reshape(shape).astype(np.float64)
    if not np.isfinite(array).all():
        raise CertificateRejected("the witness contains NaN or infinity")
    return torch.from_numpy(array)
