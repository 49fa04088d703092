"""One hash of everything that a module's function depends on, as far as it can be read.

A proof that was kept speaks about the function it was made for. Weights alone do not say which that
is: a slope, a hook, ``train()``, a padding mode or a tensor outside the state dict changes it too. So
the hash covers the classes and the code of ``forward``, every attribute, hooks and closures, with
lengths before contents, so that two different modules do not read alike.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import types
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["digest", "tensor_bytes"]

#: What torch keeps for itself: neither read by ``forward`` nor stable between two runs.
_UNREAD = {"_version", "_is_full_backward_hook", "_non_persistent_buffers_set", "call_super_init"}
_UNREAD |= {"__doc__", "__module__", "__annotations__", "__parameters__", "__orig_bases__"}
#: What a copy and a decorator leave on a class.
_UNREAD |= {"__slotnames__", "__dataclass_fields__"}
_END = type("End", (), {"__repr__": lambda self: ""})()
_PLAIN = (
    *(bool, int, float, complex, str, bytes, slice, type(None), type(...)),
    *(torch.dtype, torch.device, torch.Size, torch.memory_format, torch.layout),
)
#: What is read of a class and of the names that a function reads, wherever their classes lie.
_READ = (
    *(types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.SimpleNamespace),
    *(partial, Tensor, np.ndarray, nn.Module, list, tuple, set, dict, *_PLAIN),
)
#: Where libraries lie whose collections, such as caches, change without anybody's doing.
_real_path = lru_cache(maxsize=4096)(os.path.realpath)
_LIBRARIES = [os.path.dirname(_real_path(one.__file__)) + os.sep for one in (os, torch, np)]


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
    everywhere = nn.modules.module
    hooks = (everywhere._global_forward_hooks, everywhere._global_forward_pre_hooks)
    reader.read([module, *hooks])
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
    """Walks over values, depth first; one that was met before is written as its number."""

    def __init__(self, unreadable: Callable[[Any], str]) -> None:
        self.hash, self.unreadable = hashlib.sha256(), unreadable
        self.seen: dict[int, int] = {}
        self.kept: list[Any] = []

    def read(self, value: Any) -> None:
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if isinstance(one, memoryview):
                self._write("entries", one)
            elif one is _END or isinstance(one, _PLAIN):
                self._write("plain", f"{type(one).__name__} {one!r}".encode())
            elif isinstance(one, type) and not _is_read(one):
                self._write("class", _title(one).encode())
            elif id(one) in self.seen:
                self._write("again", str(self.seen[id(one)]).encode())
            else:
                waiting += self._parts(one)

    def _parts(self, value: Any) -> list[Any]:
        """What is to be read of a new value, the last first."""
        self.seen[id(value)] = len(self.seen)
        self.kept.append(value)  # so that no identity is used twice
        self._write("kind", _title(type(value)).encode())
        try:
            read = next(read for kind, read in _PARTS.items() if isinstance(value, kind))
            return [_END, *reversed(list(read(value)))]
        except Exception:  # an open file, a generator; a tensor on no device, quantised, sparse
            return [_END, f"unreadable {self.unreadable(value)}"]

    def _write(self, label: str, content: bytes | memoryview) -> None:
        self.hash.update(_length(label.encode()) + label.encode() + _length(content))
        self.hash.update(content)


def _of_function(f: types.FunctionType) -> list[Any]:
    """With what its code reads by name, also from modules, among them those that it imports itself.

    Of the functions of libraries only what they are.
    """
    own, names, used = f.__globals__, sorted(set(_names(f.__code__))), list[Any]()
    package = sys.modules.get(own.get("__package__") or "")
    spaces = [] if _is_library(own) else [own, sys.modules, getattr(package, "__dict__", {})]
    for space in spaces:
        for name, value in [(name, space[name]) for name in names if name in space]:
            if isinstance(value, types.ModuleType) and not _is_library(vars(value)):
                spaces += [vars(value)] if all(vars(value) is not one for one in spaces) else []
            elif _is_read(value):
                used.append((name, value))
    cells = f.__closure__ or ()
    bound = [None if cell == types.CellType() else cell.cell_contents for cell in cells]
    return [f.__code__, f.__defaults__, f.__kwdefaults__, vars(f), bound, used]


def _is_read(value: Any) -> bool:
    """Classes and objects of classes count where they are no library's."""
    kind = value if isinstance(value, type) else type(value)
    space = vars(sys.modules.get(kind.__module__, _Reader))
    return isinstance(value, _READ) or not _is_library(space)


def _is_library(space: Mapping[str, Any]) -> bool:
    """Whether a module with these names is torch's, numpy's or Python's, by the folder it lies in."""
    origin = getattr(space.get("__spec__"), "origin", None) or ""
    file = _real_path(space.get("__file__") or origin)
    inside = [file.removeprefix(folder) for folder in _LIBRARIES if file.startswith(folder)]
    return origin in ("built-in", "frozen") or any("-packages" not in rest for rest in inside)


def _names(code: types.CodeType) -> list[str]:
    inner = [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return [*code.co_names, *(name for one in inner for name in _names(one))]


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
    return [
        *_of_class(kind),
        *sorted(pair for pair in vars(module).items() if pair[0] not in unread),
    ]


def _of_object(value: Any) -> list[Any]:
    """Its class and its attributes; where it has none, all that a file of it would hold."""
    own = vars(value).items() if hasattr(value, "__dict__") else [pickle.dumps(value)]
    return [type(value), *sorted(own)]


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
    Tensor: lambda one: [one.device.type, *_tensor_parts(one)],
    np.ndarray: lambda one: [one.shape, str(one.dtype), one.tobytes()],
    torch.Generator: lambda one: [one.get_state()],
    nn.Module: _of_module,
    object: _of_object,
}


def _title(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _length(content: bytes | memoryview) -> bytes:
    return len(content).to_bytes(8, "little")
