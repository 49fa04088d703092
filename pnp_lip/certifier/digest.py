"""One hash of everything that a module's function depends on, as far as it can be read.

A proof that was kept speaks about the function it was made for. Weights alone do not say which that
is: a slope, a hook, ``train()``, a padding mode or a tensor outside the state dict changes it too. So
the hash covers the classes and the code of ``forward``, every attribute, hooks and closures, with
lengths before contents, so that two different modules do not read alike.
"""

from __future__ import annotations

import hashlib
import types
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["digest", "tensor_bytes"]

#: What torch keeps for itself: neither read by ``forward`` nor stable between two runs.
_UNREAD = {"_version", "_is_full_backward_hook", "_non_persistent_buffers_set", "call_super_init"}
_PLAIN = (
    *(bool, int, float, complex, str, bytes, slice, type(None), type(...)),
    *(torch.dtype, torch.device, torch.Size, torch.memory_format, torch.layout),
)


def digest(module: nn.Module, *, unreadable: Callable[[Any], str] | None = None) -> str:
    """SHA-256 of a module's function: classes, code, attributes, tensors, hooks, mode.

    An attribute that cannot be read (an open file, an object of a compiled class) makes the answer
    different every time: a kept proof is then never taken for valid.

    Parameters
    ----------
    module
        any module.
    unreadable
        a name for an attribute that cannot be read; a new one every time by default.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> from torch import nn
    >>> layer = nn.LeakyReLU(0.1)
    >>> before = digest(layer)
    >>> layer.negative_slope = 5.0
    >>> digest(layer) == before
    False
    """
    reader = _Reader(unreadable or (lambda value: uuid.uuid4().hex))
    reader.read(module)
    everywhere = nn.modules.module
    for hooks in (everywhere._global_forward_hooks, everywhere._global_forward_pre_hooks):
        reader.read(hooks)
    return reader.hash.hexdigest()


def tensor_bytes(tensor: Tensor) -> bytes:
    """Shape, type and entries."""
    entries = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    head = f"{tuple(tensor.shape)} {tensor.dtype}".encode()
    return _length(head) + head + entries.view(torch.uint8).numpy().astype(np.uint8).tobytes()


class _Reader:
    """Walks over values; one that was met before is written as its number."""

    def __init__(self, unreadable: Callable[[Any], str]) -> None:
        self.hash, self.unreadable = hashlib.sha256(), unreadable
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []

    def read(self, value: Any) -> None:
        if isinstance(value, _PLAIN):
            return self._write("plain", f"{type(value).__name__} {value!r}".encode())
        if isinstance(value, type):
            return self._write("class", _title(value).encode())
        if id(value) in self.seen:
            return self._write("again", str(self.seen[id(value)]).encode())
        self.seen[id(value)] = len(self.seen)
        self.kept.append(value)  # so that no identity is used twice
        self._write("kind", _title(type(value)).encode())
        parts = [] if isinstance(value, Tensor) else _parts_of(value)
        if isinstance(value, Tensor):
            self._write("tensor", self._entries(value))
        elif parts is None:
            self._write("unreadable", self.unreadable(value).encode())
        for name, part in parts or ():
            self._write("part", name.encode())
            self.read(part)
        return self._write("end", b"")

    def _entries(self, tensor: Tensor) -> bytes:
        try:
            return tensor_bytes(tensor)
        except (RuntimeError, TypeError, NotImplementedError):  # on no device, quantised, sparse
            return self.unreadable(tensor).encode()

    def _write(self, label: str, content: bytes) -> None:
        self.hash.update(_length(label.encode()) + label.encode() + _length(content) + content)


#: Attributes that say all of an object, by its class. Of code not where it stands in a file.
_ATTRIBUTES: dict[Any, str] = {
    types.CodeType: "co_code co_consts co_names co_varnames",
    types.MethodType: "__func__ __self__",
    property: "fget fset",
    (staticmethod, classmethod): "__func__",
    partial: "func args keywords",
    types.BuiltinFunctionType: "__qualname__",
    types.ModuleType: "__name__",
    torch._ops.OpOverload: "__qualname__ __name__",
}


def _parts_of(value: Any) -> list[tuple[str, Any]] | None:
    """Of what is no tensor; ``None`` for what cannot be read."""
    for kinds, names in _ATTRIBUTES.items():
        if isinstance(value, kinds):
            return [(name, getattr(value, name)) for name in names.split()]
    if isinstance(value, (Mapping, list, tuple)):
        items = value.items() if isinstance(value, Mapping) else value
        return [(str(index), item) for index, item in enumerate(items)]
    if isinstance(value, types.FunctionType):
        bound = [
            None if c == types.CellType() else c.cell_contents for c in value.__closure__ or ()
        ]
        read = [value.__defaults__, value.__kwdefaults__, bound, _globals_of(value)]
        return [("code", value.__code__), ("read", read)]
    if isinstance(value, np.ndarray):
        return [("array", [value.shape, str(value.dtype), value.tobytes()])]
    if isinstance(value, (set, frozenset)):
        return [("members", sorted(value, key=repr))]
    if isinstance(value, torch.Generator):
        return [("state", value.get_state())]
    if isinstance(value, nn.Module):
        kind = type(value)
        # Attributes that a class of ours only notes down.
        noted = (
            getattr(kind, "outside_digest", ()) if kind.__module__.startswith("pnp_lip.") else ()
        )
        own = [(k, one) for k, one in vars(value).items() if k not in (*_UNREAD, *noted)]
        return [*_class_parts(kind), *sorted(own)]
    calls = [vars(kind).get("__call__") for kind in type(value).__mro__[:-1]]
    return [("call", calls), *sorted(vars(value).items())] if hasattr(value, "__dict__") else None


def _class_parts(kind: type) -> Iterator[tuple[str, Any]]:
    """Functions and plain values that instances find in their class."""
    kinds = (types.FunctionType, property, staticmethod, classmethod, *_PLAIN)
    for owner in kind.__mro__:
        found = {} if owner in (nn.Module, object) else vars(owner)
        for name, value in sorted(found.items()):
            if isinstance(value, kinds) and name not in ("__doc__", "__module__"):
                yield f"{_title(owner)}.{name}", value


def _globals_of(function: types.FunctionType) -> dict[str, Any]:
    """Numbers, tensors and functions that its code reads by name."""
    kinds = (types.FunctionType, Tensor, *_PLAIN)
    names = sorted(set(_names(function.__code__)) & function.__globals__.keys())
    found = {name: function.__globals__[name] for name in names}
    return {name: value for name, value in found.items() if isinstance(value, kinds)}


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _title(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _length(content: bytes) -> bytes:
    return len(content).to_bytes(8, "little")
