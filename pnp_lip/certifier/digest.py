"""One hash of everything that a module's function depends on, as far as it can be read.

A proof that was kept speaks about the function it was made for. Weights alone do not say which that
is: a slope, a hook, ``train()``, a padding mode or a tensor outside the state dict changes it too. So
the hash covers the classes and the code of ``forward``, every attribute, hooks and closures, with
lengths before contents, so that two different modules do not read alike.
"""

from __future__ import annotations

import hashlib
import sys
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
_UNREAD |= {"__doc__", "__module__", "__annotations__", "__parameters__", "__orig_bases__"}
_UNREAD |= {"__slotnames__"}  # which a copy leaves on its class
_PLAIN = (
    *(bool, int, float, complex, str, bytes, slice, type(None), type(...)),
    *(torch.dtype, torch.device, torch.Size, torch.memory_format, torch.layout),
)
#: What is read of a class and of the names that a function reads from its module.
_READ = (
    *(types.FunctionType, types.SimpleNamespace, Tensor, np.ndarray, list, tuple, set, dict),
    *_PLAIN,
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
    return b"".join(map(bytes, _tensor_parts(tensor)))


def _tensor_parts(tensor: Tensor) -> tuple[bytes, memoryview]:
    """Shape and type, and the entries as they lie in memory: those of maps take gigabytes."""
    entries = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    head = f"{tuple(tensor.shape)} {tensor.dtype}".encode()
    return _length(head) + head, entries.view(torch.uint8).numpy().data


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
        if isinstance(value, Tensor):
            return self._write("tensor", *self._entries(value))
        parts = next(
            (read(value) for kind, read in _PARTS.items() if isinstance(value, kind)), None
        )
        if parts is None:
            return self._write("unreadable", self.unreadable(value).encode())
        for part in parts:
            self.read(part)
        return self._write("end", b"")

    def _entries(self, tensor: Tensor) -> tuple[bytes | memoryview, ...]:
        try:
            return _tensor_parts(tensor)
        except (RuntimeError, TypeError, NotImplementedError):  # on no device, quantised, sparse
            return (self.unreadable(tensor).encode(),)

    def _write(self, label: str, *content: bytes | memoryview) -> None:
        length = sum(map(len, content)).to_bytes(8, "little")
        self.hash.update(_length(label.encode()) + label.encode() + length)
        for part in content:
            self.hash.update(part)


def _of_function(function: types.FunctionType) -> list[Any]:
    """With the numbers, tensors, functions and collections that its code reads by name."""
    names = sorted(set(_names(function.__code__)) & function.__globals__.keys())
    known = {name: function.__globals__[name] for name in names}
    # Collections of libraries, such as caches, change without anybody's doing.
    library = str(function.__module__).split(".")[0] in ("torch", *sys.stdlib_module_names)
    kinds = (types.FunctionType, Tensor, *_PLAIN) if library else _READ
    used = {name: value for name, value in known.items() if isinstance(value, kinds)}
    cells = function.__closure__ or ()
    bound = [None if cell == types.CellType() else cell.cell_contents for cell in cells]
    return [function.__code__, function.__defaults__, function.__kwdefaults__, bound, used]


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _of_module(module: nn.Module) -> list[Any]:
    """Functions and values of its classes, and its own; not what a class of ours only notes down."""
    kind, kinds = type(module), (property, staticmethod, classmethod, *_READ)
    noted = getattr(kind, "outside_digest", ()) if kind.__module__.startswith("pnp_lip.") else ()
    parts: list[Any] = []
    for owner in kind.__mro__:
        found = {} if owner in (nn.Module, object) else vars(owner)
        own = [(name, one) for name, one in sorted(found.items()) if isinstance(one, kinds)]
        parts += [owner, *(pair for pair in own if pair[0] not in _UNREAD)]
    unread = {*_UNREAD, *noted}
    return parts + sorted(pair for pair in vars(module).items() if pair[0] not in unread)


def _of_object(value: Any) -> list[Any] | None:
    calls = [vars(kind).get("__call__") for kind in type(value).__mro__[:-1]]
    return [calls, *sorted(vars(value).items())] if hasattr(value, "__dict__") else None


#: What says all of an object, by its class; of code not where it stands in a file.
_PARTS: dict[Any, Callable[[Any], Any]] = {
    types.CodeType: lambda code: [code.co_code, code.co_consts, code.co_names, code.co_varnames],
    types.FunctionType: _of_function,
    types.MethodType: lambda method: [method.__func__, method.__self__],
    types.BuiltinFunctionType: lambda function: [function.__qualname__],
    types.ModuleType: lambda module: [module.__name__],
    torch._ops.OpOverload: lambda operator: [operator.__qualname__, operator.__name__],
    property: lambda one: [one.fget, one.fset],
    (staticmethod, classmethod): lambda one: [one.__func__],
    partial: lambda one: [one.func, one.args, one.keywords],
    Mapping: lambda one: list(one.items()),
    (list, tuple): list,
    (set, frozenset): lambda one: sorted(one, key=repr),
    np.ndarray: lambda one: [one.shape, str(one.dtype), one.tobytes()],
    torch.Generator: lambda one: [one.get_state()],
    nn.Module: _of_module,
    object: _of_object,
}


def _title(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _length(content: bytes) -> bytes:
    return len(content).to_bytes(8, "little")
