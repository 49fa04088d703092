"""What code reads by name counts in the digest, whatever the file that holds it is called.

Only the standard library and torch, known by the folders they lie in, are read less closely: their caches
change without anybody's doing.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pnp_lip.certifier import digest

SOURCE = """
import functools

import helper
import torch
from torch import nn

TABLE = [1.0]

class Config:
    gain = 1.0

class Settings:
    def __init__(self):
        self.own = 1.0

    @property
    def gain(self):
        return self.own

SETTINGS = Settings()
ACTIVATION = nn.LeakyReLU(1.0)
PARTIAL = functools.partial(torch.mul, other=1.0)
LOOKUP = {"gain": 1.0}.get

class Function(torch.autograd.Function):
    factor = 1.0

    @staticmethod
    def forward(ctx, x):
        return Function.factor * x

def scaled(x):
    import helper_two
    from helper_three import GAIN

    x = helper_two.GAIN * GAIN * x
    x = LOOKUP("gain") * scaled.factor * PARTIAL(ACTIVATION(x))
    return TABLE[0] * Config.gain * SETTINGS.gain * helper.GAIN * helper.part.GAIN * Function.apply(x)

scaled.factor = 1.0

class Network(nn.Module):
    def forward(self, x):
        return scaled(x)
"""
EDITS: dict[str, Callable[[Any], Any]] = {
    "collection": lambda code: setattr(code, "TABLE", [5.0]),
    "entry of a collection": lambda code: code.TABLE.__setitem__(0, 5.0),
    "attribute of a class": lambda code: setattr(code.Config, "gain", 5.0),
    "attribute of an object": lambda code: setattr(code.SETTINGS, "own", 5.0),
    "property of an object": lambda code: setattr(
        code.Settings, "gain", property(lambda self: 5.0)
    ),
    "attribute of a function": lambda code: setattr(code.scaled, "factor", 5.0),
    "slope of a module": lambda code: setattr(code.ACTIVATION, "negative_slope", 5.0),
    "argument of a partial": lambda code: code.PARTIAL.keywords.update(other=5.0),
    "object of a method": lambda code: code.LOOKUP.__self__.update(gain=5.0),
    "name in a module": lambda code: setattr(code.helper, "GAIN", 5.0),
    "name in a module of a module": lambda code: setattr(code.helper.part, "GAIN", 5.0),
    "name in a module imported inside": lambda code: setattr(
        sys.modules["helper_two"], "GAIN", 5.0
    ),
    "name imported inside": lambda code: setattr(sys.modules["helper_three"], "GAIN", 5.0),
    "attribute of a function of autograd": lambda code: setattr(code.Function, "factor", 5.0),
}


def _loaded(name: str, folder: Path, source: str) -> types.ModuleType:
    """A module of this name from a file of this name, as ``import`` finds it on a user's path."""
    file = folder / f"{name}.py"
    file.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    return code


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", ["mine", "types", "random", "statistics"])
def test_a_user_s_file_is_read_whatever_its_name(
    name: str, edit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = _loaded(
        "helper", tmp_path, "import types\nGAIN = 1.0\npart = types.ModuleType('part')"
    )
    helper.part.__dict__.update(GAIN=1.0, __file__=str(tmp_path / "part.py"))
    monkeypatch.setitem(sys.modules, "helper", helper)
    for other in ("helper_two", "helper_three"):
        monkeypatch.setitem(sys.modules, other, _loaded(other, tmp_path, "GAIN = 1.0"))
    code = _loaded(name, tmp_path, SOURCE)
    monkeypatch.setitem(sys.modules, name, code)
    network = code.Network()
    before = digest(network)
    assert digest(network) == before
    EDITS[edit](code)
    assert digest(network) != before


def test_caches_of_the_standard_library_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of its functions is called by name; its cache fills whenever anybody compiles a pattern."""
    import re

    import torch

    class Matches(torch.nn.Module):
        compiled = staticmethod(re.compile)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    before = digest(Matches())
    re.compile("a pattern that nobody else has compiled")
    assert digest(Matches()) == before
