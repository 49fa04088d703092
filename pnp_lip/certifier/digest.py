"""One hash of everything that a module's function depends on, as far as it can be read.

A proof that was kept speaks about the function it was made for. Weights alone do not say which that
is: a slope, a hook, ``train()``, a padding mode or a tensor outside the state dict changes it too. So
the hash covers the classes and the code of ``forward``, every attribute, hooks and closures, with
lengths before contents, so that two different modules do not read alike.
"""

from __future__ import annotations

import hashlib
import sys
import sysconfig
import types
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["digest", "tensor_bytes"]

#: What torch keeps for itself: neither read by ``forward`` nor stable between two runs.
_UNREAD = {"_version", "_is_full_backward_hook", "_non_persistent_buffers_set", "call_super_init"}
_UNREAD |= {"__doc__", "__module__", "__annotations__", "__parameters__", "__orig_bases__"}
_UNREAD |= {"__slotnames__", "__dataclass_fields__"}  # which a copy and a decorator leave on a class
_PLAIN = (
    *(bool, int, float, complex, str, bytes, slice, type(None), type(...)),
    *(torch.dtype, torch.device, torch.Size, torch.memory_format, torch.layout),
)
#: What is read of a class and of the names that a function reads; of libraries, without collections.
_FIXED = (*_PLAIN, types.FunctionType, types.MethodType, partial, Tensor, np.ndarray, nn.Module)
_READ = (*_FIXED, types.BuiltinFunctionType, types.SimpleNamespace, list, tuple, set, dict)
#: Where libraries lie whose collections, such as caches, change without anybody's doing.
_LIBRARIES = [Path(one.__file__).resolve().parent for one in (sysconfig, torch, np)]


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
        if isinstance(value, type) and not _is_read(value, False):
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
    """With what its code reads by name, also from modules, among them those that it imports itself."""
    names, own, used = sorted(set(_names(function.__code__))), function.__globals__, list[Any]()
    package = sys.modules.get(own.get("__package__") or "")
    spaces = [own, sys.modules, getattr(package, "__dict__", {})]
    for space in spaces:
        for name, value in [(name, space[name]) for name in names if name in space]:
            if isinstance(value, types.ModuleType) and not _is_library(vars(value)):
                spaces += [vars(value)] if all(vars(value) is not one for one in spaces) else []
            elif _is_read(value, _is_library(space)):
                used.append((name, value))
    cells = function.__closure__ or ()
    bound = [None if cell == types.CellType() else cell.cell_contents for cell in cells]
    default = (function.__defaults__, function.__kwdefaults__, vars(function))
    return [function.__code__, *default, bound, used]


def _is_read(value: Any, by_library: bool) -> bool:
    """Classes and objects of classes count where they are no library's."""
    kind = value if isinstance(value, type) else type(value)
    space = getattr(sys.modules.get(kind.__module__), "__dict__", {})
    own = not (by_library or _is_library(space))
    return own or isinstance(value, _FIXED if by_library else _READ)


def _is_library(space: Mapping[str, Any]) -> bool:
    """Whether a module with these names belongs to torch or the standard library, by its file."""
    spec = space.get("__spec__")
    return _lies_in_library(space.get("__file__") or getattr(spec, "origin", "") or "")


@lru_cache(maxsize=4096)
def _lies_in_library(file: str) -> bool:
    path = Path(file).resolve()
    installed = {"site-packages", "dist-packages"}
    within = [path.relative_to(folder) for folder in _LIBRARIES if path.is_relative_to(folder)]
    return file in ("built-in", "frozen") or any(installed.isdisjoint(one.parts) for one in within)


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _of_class(kind: type) -> list[Any]:
    """Functions and values of a class and of those that it inherits from."""
    parts, kinds = list[Any](), (property, staticmethod, classmethod, *_READ)
    for owner in kind.__mro__:
        found = {} if owner in (nn.Module, object) else vars(owner)
        own = [(name, one) for name, one in sorted(found.items()) if isinstance(one, kinds)]
        parts += [_title(owner), *(pair for pair in own if pair[0] not in _UNREAD)]
    return parts


def _of_module(module: nn.Module) -> list[Any]:
    """Its class and its attributes; not what a class of ours only notes down."""
    kind = type(module)
    noted = getattr(kind, "outside_digest", ()) if kind.__module__.startswith("pnp_lip.") else ()
    unread = {*_UNREAD, *noted}
    return [*_of_class(kind), *sorted(pair for pair in vars(module).items() if pair[0] not in unread)]


def _of_object(value: Any) -> list[Any] | None:
    return [type(value), *sorted(vars(value).items())] if hasattr(value, "__dict__") else None


#: What says all of an object, by its class; of code not where it stands in a file.
_PARTS: dict[Any, Callable[[Any], Any]] = {
    type: _of_class,
    types.CodeType: lambda code: [code.co_code, code.co_consts, code.co_names, code.co_varnames],
    types.FunctionType: _of_function,
    types.MethodType: lambda method: [method.__func__, method.__self__],
    types.BuiltinFunctionType: lambda function: [function.__qualname__, function.__self__],
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
