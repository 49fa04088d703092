"""The checker stands alone, reads strictly, and says what it does not verify."""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import pnp_lip.checker
from pnp_lip import LipschitzDenoiser, Relaxed, Tiled, certify
from pnp_lip.certifier.certificate import FORMAT as WRITTEN
from pnp_lip.checker import CertificateRejected, check_certificate
from pnp_lip.checker.architecture import keeps_shape
from pnp_lip.checker.file import FORMAT as READ

pytest.importorskip("flint", reason="checking a certificate needs python-flint")

Data = dict[str, Any]
_PACKAGE = Path(pnp_lip.checker.__file__).parents[1]


def _imported(module: str) -> set[str]:
    """Modules of the package that a module imports, those of its package's ``__init__`` included."""
    path = _PACKAGE.parent / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            if parts[0] == "pnp_lip":
                found |= {".".join(parts[:end]) for end in range(2, len(parts) + 1)}
    return {name for name in found if _exists(name)}


def _exists(module: str) -> bool:
    path = _PACKAGE.parent / Path(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_the_checker_reaches_no_code_of_the_prover() -> None:
    reached, waiting = set(), {"pnp_lip.checker"}
    waiting |= {f"pnp_lip.checker.{path.stem}" for path in (_PACKAGE / "checker").glob("[a-z]*.py")}
    while waiting:
        module = waiting.pop()
        reached.add(module)
        waiting |= _imported(module) - reached
    assert "pnp_lip.checker.layer" in reached
    forbidden = ("pnp_lip.certifier", "pnp_lip.norms", "pnp_lip.solvers", "pnp_lip.networks")
    assert not [module for module in reached if module.startswith(forbidden)]


def test_writer_and_reader_agree_on_the_format() -> None:
    assert WRITTEN == READ


@pytest.fixture(scope="module")
def made() -> tuple[LipschitzDenoiser, Data]:
    torch.manual_seed(0)
    denoiser = LipschitzDenoiser(1, depth=2, nf=4, kernel_size=3, pretrained=None).eval()
    return denoiser, json.loads(json.dumps(certify(denoiser).to_dict()))


@pytest.fixture
def data(made: tuple[LipschitzDenoiser, Data]) -> Data:
    return copy.deepcopy(made[1])


def test_what_is_not_verified_is_listed(made: tuple[LipschitzDenoiser, Data]) -> None:
    denoiser, data = made
    confirmed = check_certificate(data, denoiser)
    assert (confirmed.upper, confirmed.averagedness) == (data["upper"], data["averagedness"])
    assert confirmed.lower == data["lower"]
    assert "versions" in confirmed.unchecked
    assert "the texts called rule" in confirmed.unchecked
    assert not confirmed.assumed
    assert "gain of the witness" in check_certificate(data, denoiser.state_dict()).unchecked


def _in_layer(**entries: Any) -> Callable[[Data], Any]:
    return lambda data: data["layers"][0].update(entries)


def _in_cover(**entries: Any) -> Callable[[Data], Any]:
    return lambda data: data["layers"][0]["bound"]["cover"].update(entries)


def _in_bound(**entries: Any) -> Callable[[Data], Any]:
    return lambda data: data["layers"][0]["bound"].update(entries)


EDITS: dict[str, tuple[Callable[[Data], Any], str]] = {
    "claim": (lambda d: d["claims"].update(network="Lip <= 0.5"), "first claim does not say"),
    "claim of execution": (lambda d: d["claims"].update(execution=None), "third claim"),
    "claim of the computation": (lambda d: d["claims"].update(computation="exact"), "second claim"),
    "error of execution": (
        lambda d: d["execution"].update(relative=0.0), "error of the network has 0.0 as its relative",
    ),
    "offset of execution": (lambda d: d["execution"].update(shift=-1.0), "-1.0 as its 'shift'"),
    "larger error than claimed": (lambda d: d["execution"].update(relative=1.0), "third claim"),
    "error of a layer": (
        lambda d: d["layers"][1]["execution"].update(relative=1e-9), "of layer 'layers.1' has 1e-09",
    ),
    "growth of a layer": (
        lambda d: d["layers"][1]["execution"].update(growth=0.9), "0.9 as its growth, below",
    ),
    "graph": (lambda d: d.update(graphs=[{}]), "graph 0 has no entry"),
    "network": (lambda d: d.update(network="Other"), "the network is a 'LipschitzDenoiser'"),
    "network of entries": (lambda d: d.update(network={}), "as its 'network'"),
    "half a norm": (_in_layer(norm_upper=0.5), "other norms than its bound"),
    "doubled norm": (_in_layer(norm_lower=2.0), "other norms than its bound"),
    "gap": (_in_layer(gap=0.0), "says the gap 0.0"),
    "truth as averagedness": (lambda d: d.update(averagedness=True), "as its 'averagedness'"),
    "lower, a little": (
        lambda d: (d.update(lower=d["lower"] * (1 + 9e-7)), d["witness"].update(gain=d["lower"])),
        "the witness has the gain",
    ),
    "no witness": (lambda d: d.update(witness=None), "without a witness"),
    "empty witness": (lambda d: d.update(witness={}), "the witness has no entry"),
    "witness of another shape": (
        lambda d: d["witness"].update(shape=[1, 1, 3, 3]), "not those of the shape",
    ),
    "witness of a huge shape": (
        lambda d: d["witness"].update(shape=[10**9, 10**9]), "the witness has the shape",
    ),
    "witness that is no text": (lambda d: d["witness"].update(x="?"), "cannot be decoded"),
    "whole number": (lambda d: d.update(upper=1), "as its 'upper'"),
    "infinite": (lambda d: d.update(upper=float("inf")), "inf as its 'upper'"),
    "negative": (_in_layer(upper=-1.0), "as its 'upper'"),
    "averagedness above one": (_in_layer(averagedness=1.5), "as its 'averagedness'"),
    "unknown entry": (lambda d: d.update(note="trust me"), "unknown entries"),
    "unknown entry of a layer": (_in_layer(note="trust me"), "unknown entries"),
    "layers that are none": (lambda d: d.update(layers=[1]), "layer 0 as entries"),
    "conditions": (lambda d: d.update(conditions=["H == 4"]), "first claim does not say"),
    "conditions that are none": (lambda d: d.update(conditions=[4]), "conditions as short texts"),
    "older format": (lambda d: d.update(format="pnp_lip certificate 2"), "make it again"),
    "roots": (_in_cover(bits=[40, 40]), "roots, got the bits"),
    "exponent": (_in_cover(exponent=10**400), "a power of two as exponent"),
    "fraction as exponent": (_in_cover(exponent=1e308), "a power of two as exponent"),
    "no exponent": (lambda d: d["layers"][0]["bound"]["cover"].pop("exponent"), "exponent, got None"),
    "huge bound": (_in_bound(upper=10**400), "other norms|cannot be read"),
    "target that is no number": (_in_cover(target=float("nan")), "a positive target"),
    "floors of text": (_in_cover(floors=["x"]), "the cover cannot be read"),
    "cells of text": (_in_cover(cells={"0": ["x"]}), "the cover cannot be read"),
    "witness of the cover": (_in_cover(witness="x"), "the cover cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_rejected_with_its_reason(
    name: str, data: Data, made: tuple[LipschitzDenoiser, Data]
) -> None:
    edit, reason = EDITS[name]
    edit(data)
    with pytest.raises(CertificateRejected, match=reason):
        check_certificate(data, made[0])


@pytest.mark.parametrize(
    "key",
    ["upper", "lower", "averagedness", "network", "rule", "gap", "execution", "versions", "witness",
     "claims", "layers", "conditions", "sha256", "graphs"],
)  # fmt: skip
def test_a_missing_entry_is_named(
    key: str, data: Data, made: tuple[LipschitzDenoiser, Data]
) -> None:
    del data[key]
    with pytest.raises(CertificateRejected, match=f"no entry .*'{key}'"):
        check_certificate(data, made[0])


@pytest.mark.parametrize("key", ["name", "rule", "upper", "execution", "gap", "bound"])
def test_a_missing_entry_of_a_layer_is_named(
    key: str, data: Data, made: tuple[LipschitzDenoiser, Data]
) -> None:
    del data["layers"][1][key]
    with pytest.raises(CertificateRejected, match=f"no entry .*'{key}'"):
        check_certificate(data, made[0])


FILES: dict[str, tuple[Callable[[str], str], str]] = {
    "entry twice": (lambda text: text.replace("{", '{"upper": 0.001,', 1), "'upper' occurs twice"),
    "infinity": (lambda text: text.replace('"lower": ', '"lower": Infinity, "x": ', 1), "Infinity"),
    "too large a number": (
        lambda text: text.replace('"upper": 1.0', '"upper": 1e400', 1),
        "inf as",
    ),
    "deep": (lambda text: '{"a": ' * 10**5 + "1" + "}" * 10**5, "is not a certificate"),
    "deep, but readable": (lambda text: "[" * 500 + "]" * 500, "nested more than"),
    "no JSON": (lambda text: "proved", "is not a certificate"),
    "a list": (lambda text: "[1]", "expected the certificate as entries"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_certificate_is_rejected(
    name: str, data: Data, made: tuple[LipschitzDenoiser, Data], tmp_path: Path
) -> None:
    change, reason = FILES[name]
    path = tmp_path / "certificate.json"
    path.write_text(change(json.dumps(data)), encoding="utf-8")
    with pytest.raises(CertificateRejected, match=reason):
        check_certificate(path, made[0])


def test_a_part_that_is_not_plain_is_rejected(made: tuple[LipschitzDenoiser, Data]) -> None:
    denoiser = copy.deepcopy(made[0])
    activation: Any = denoiser.layers[0].activation
    activation.register_forward_hook(lambda module, args, out: 5 * out)
    with pytest.raises(CertificateRejected, match="forward hooks"):
        check_certificate(made[1], denoiser)


def test_tiles_that_are_another_function_are_rejected(made: tuple[LipschitzDenoiser, Data]) -> None:
    value = certify(Tiled(made[0], 8), sigma=(0.1,))
    check_certificate(value, Tiled(made[0], 8))
    small = Tiled(made[0], 8)
    small.halo = 1
    with pytest.raises(CertificateRejected, match="that is another function"):
        check_certificate(value, small)


def test_wrappers_keep_shapes_where_what_they_wrap_does(
    made: tuple[LipschitzDenoiser, Data],
) -> None:
    assert keeps_shape(Relaxed(made[0], 0.5))
    assert not keeps_shape(Relaxed(torch.nn.Conv2d(1, 1, 3), 0.5))
