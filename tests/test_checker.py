"""The checker stands alone, reads strictly, and says what it does not verify."""

from __future__ import annotations

import ast
import base64
import copy
import json
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import pnp_lip.checker
from pnp_lip import Guard, LipschitzDenoiser, Relaxed, Tiled, VolumeDenoiser, certify
from pnp_lip.certifier.certificate import FORMAT as WRITTEN
from pnp_lip.checker import CertificateRejected, check_certificate
from pnp_lip.checker.architecture import keeps_shape, of_network, of_state
from pnp_lip.checker.file import FORMAT as READ
from pnp_lip.checker.file import read_certificate
from pnp_lip.checker.graph_file import read_graph
from pnp_lip.checker.plan import Chain, Exportable, Relaxation
from pnp_lip.checker.strict_json import require_depth
from pnp_lip.layers import ConvGradientStep, GradientStep, ReLU
from pnp_lip.weights import weight_hash

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


#: Of entries: what they may not be, and what they may.
VALUES: dict[tuple[str | int, ...], tuple[list[Any], list[Any]]] = {
    ("network",): ([None, 1.0, True, []], ["", "Other"]),
    ("sha256",): ([None, 1.0], ["0"]),
    ("rule",): ([None, 1.0], ["because"]),
    ("upper",): ([None, 1, True, "1", -0.5, float("inf"), float("nan")], [0.0, 1e300]),
    ("lower",): ([None, 1, -0.5, float("inf")], [0.0, 1e300]),
    ("averagedness",): ([1, True, "1", -0.1, 1.0001], [None, 0.0, 1.0]),
    ("gap",): ([None, 0.0, 1e-10, 1.5], [1e-9, 1.0]),
    ("conditions",): ([None, "H", [1], ["x" * 501]], [[], ["x" * 500, "y"]]),
    ("versions",): ([None, [], {"torch": 2}], [{}, {"torch": "2"}]),
    ("claims",): ([None, [], {}], []),
    ("claims", "network"): ([None, 1.0], ["x"]),
    ("claims", "computation"): ([None, 1.0], ["x"]),
    ("claims", "execution"): ([1.0, []], [None, "x"]),
    ("execution",): ([1.0, [], {}, {"relative": 0.0}], [None]),
    **{
        ("execution", key): ([None, 1, -1.0, float("inf")], [0.0, 2.0])
        for key in ("relative", "offset", "growth", "shift")
    },
    ("witness",): ([1.0, [], {}], [None]),
    ("witness", "gain"): ([None, 1, -1.0], [0.0]),
    ("witness", "sigma"): ([1, -1.0, "0.1"], [None, 0.0, 0.1]),
    ("witness", "shape"): (["x", [], [0], [1.0], [True], [-1, -1], [2**26 + 1]], []),
    ("witness", "x"): ([None, "=", "AAAA"], []),
    ("witness", "y"): ([None, "=", "AAAA"], []),
    ("layers",): ([None, {}, [1.0]], [[]]),
    ("layers", 0, "name"): ([None, 1.0], ["other"]),
    ("layers", 0, "rule"): ([None, 1.0], ["other"]),
    ("layers", 0, "upper"): ([None, 1, -1.0], [0.0]),
    ("layers", 0, "averagedness"): ([1, -0.1, 1.1], [None, 0.5]),
    ("layers", 0, "bound"): ([None, 1.0, []], []),
    ("layers", 0, "norm_upper"): ([None, -1.0], []),
    ("layers", 0, "norm_lower"): ([None, -1.0], []),
    ("layers", 0, "gap"): ([None, 0.5], []),
    ("layers", 0, "execution"): ([1.0, {}], [None]),
    ("graphs",): ([None, {}], [[]]),
}


def _put(data: Data, place: tuple[str | int, ...], value: Any) -> Data:
    inner: Any = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return data


@pytest.mark.parametrize("place", VALUES, ids=str)
def test_every_entry_is_read_with_its_type_and_range(
    place: tuple[str | int, ...], made: tuple[LipschitzDenoiser, Data]
) -> None:
    wrong, right = VALUES[place]
    for value in wrong:
        with pytest.raises(CertificateRejected):
            read_certificate(_put(copy.deepcopy(made[1]), place, value))
    for value in right:
        read_certificate(_put(copy.deepcopy(made[1]), place, value))


def test_what_is_read_is_what_stands_in_the_file(data: Data) -> None:
    data["conditions"], data["witness"]["sigma"] = ["H == 4"], 0.25
    read, witness = read_certificate(data), data["witness"]
    for key in ("network", "sha256", "upper", "lower", "averagedness", "execution", "claims"):
        assert getattr(read, key) == data[key]
    assert read.conditions == ("H == 4",)
    assert read.graphs == ()
    for layer, stored in zip(read.layers, data["layers"], strict=True):
        for key in ("name", "upper", "averagedness", "bound", "execution"):
            assert getattr(layer, key) == stored[key]
    assert read.witness is not None
    assert (read.witness.gain, read.witness.sigma) == (witness["gain"], 0.25)
    for key in "xy":
        raw = base64.b64decode(witness[key])
        values = struct.unpack(f"<{len(raw) // 8}d", raw)
        assert getattr(read.witness, key).flatten().tolist() == list(values)
        assert list(getattr(read.witness, key).shape) == witness["shape"]


_GRAPH: Data = {
    "path": "a.b",
    "shape": [1, 2, 4, 8],
    "level": "sigma",
    "kind": "tensor",
    "nodes": [["input", "", "B", 1.0, 0.0, []], ["aten.relu", "#0", "B", None, None, [1, 0]]],
}
#: What a graph of a certificate with two layers may not contain, and what it may.
GRAPHS: dict[tuple[str | int, ...], tuple[list[Any], list[Any]]] = {
    ("path",): ([None, 1], ["", "a"]),
    ("shape",): ([None, [], [0], [1.0], [True], [2**22 + 1], [2**21, 3]], [[2**22], [2**20, 4]]),
    ("level",): ([None, 1], ["noise"]),
    ("kind",): ([None, "none", "any"], ["number"]),
    ("nodes",): ([None, [], [["input"]], ["input"], [[None] * 6], [["x"] * 7]], []),
    ("nodes", 0, 0): ([None, 1, "x" * 10001], ["x" * 10000]),
    ("nodes", 0, 1): ([None, 1, "x" * 10001], ["x" * 10000]),
    ("nodes", 0, 2): ([None, 1, "x" * 10001], ["x" * 10000]),
    ("nodes", 0, 3): ([1, -1.0, "1", float("inf")], [None, 0.0, 1e9]),
    ("nodes", 0, 4): ([1, -0.1, 1.1], [None, 0.0, 1.0]),
    ("nodes", 0, 5): ([None, 0, [2], [-1], [True], [0.0], ["0"]], [[0], [1, 1]]),
}


@pytest.mark.parametrize("place", GRAPHS, ids=str)
def test_every_entry_of_a_graph_is_read_with_its_type_and_range(
    place: tuple[str | int, ...],
) -> None:
    wrong, right = GRAPHS[place]
    for value in wrong:
        with pytest.raises(CertificateRejected, match=r"of graph 7|graph 7 "):
            read_graph(_put(copy.deepcopy(_GRAPH), place, value), 7, 2)
    for value in right:
        read_graph(_put(copy.deepcopy(_GRAPH), place, value), 7, 2)


def test_a_graph_is_read_as_it_stands() -> None:
    graph = read_graph(_GRAPH, 0, 2)
    assert (graph.path, graph.shape, graph.level, graph.kind) == (
        "a.b",
        (1, 2, 4, 8),
        "sigma",
        "tensor",
    )
    first, second = graph.nodes
    assert (first.operator, first.arguments, first.shape) == ("input", "", "B")
    assert (first.upper, first.averagedness, first.layers) == (1.0, 0.0, ())
    assert (second.upper, second.averagedness, second.layers) == (None, None, (1, 0))
    plain = {**_GRAPH, "level": None, "kind": "none"}
    assert read_graph(plain, 0, 2).level is None


def test_entries_stand_twelve_deep_and_not_deeper() -> None:
    inner: Any = {}
    for depth in range(12):
        inner = {"x": inner} if depth % 2 else [inner]
    require_depth(inner)
    with pytest.raises(CertificateRejected, match="nested more than 12"):
        require_depth([inner])


def test_a_missing_file_is_no_rejection(made: tuple[LipschitzDenoiser, Data]) -> None:
    with pytest.raises(FileNotFoundError):
        check_certificate("nowhere.json", made[0])


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
    assert keeps_shape(Guard(made[0]))
    assert not keeps_shape(Guard(nn.Conv2d(1, 1, 3)))
    assert not keeps_shape(Relaxed(nn.Conv2d(1, 1, 3), 0.5))


def _small() -> LipschitzDenoiser:
    torch.manual_seed(0)
    return LipschitzDenoiser(1, depth=2, nf=4, kernel_size=3, pretrained=None).eval()


#: Denoisers of ours, wrapped and not.
OURS: dict[str, Callable[[], nn.Module]] = {
    "denoiser": _small,
    "less than the step": lambda: Relaxed(_small(), 0.3),
    "more than the step": lambda: Relaxed(_small(), 1.7),
    "relaxed twice": lambda: Relaxed(Relaxed(_small(), 0.5), 0.5),
    "guarded": lambda: Guard(Relaxed(_small(), 0.5)),
    "tiled": lambda: Tiled(Relaxed(_small(), 0.5), 8, halo=4),
    "relaxed tiles": lambda: Relaxed(Tiled(_small(), 8), 0.5),
    "planes": lambda: VolumeDenoiser(Guard(Relaxed(_small(), 0.5)), (1, 0, 2)),
    "convolution": lambda: _step(0.7),
    "dense": lambda: GradientStep(5, 8, tau=0.3),
    "too long a step": lambda: _step(40.0),
    "uphill": lambda: _step(-0.5),
    "in float64": lambda: _step(0.7).double(),
    "activation": ReLU,
}
_SHAPES = {"planes": (1, 1, 6, 6, 6), "dense": (1, 5)}


def _step(tau: float) -> nn.Module:
    torch.manual_seed(0)
    step = ConvGradientStep(torch.randn(3, 1, 3, 3) / 9)
    nn.init.normal_(step.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        step.tau.fill_(tau)
    return step


def _numbers(data: Data) -> list[tuple[str | int, ...]]:
    """Places of what is claimed of the network and of its layers."""
    found: list[tuple[str | int, ...]] = []
    for inner in [(), *[("layers", index) for index in range(len(data["layers"]))]]:
        one: Any = data
        for key in inner:
            one = one[key]
        found += [(*inner, key) for key in ("upper", "averagedness") if one[key]]
        found += [(*inner, "execution", key) for key, v in (one["execution"] or {}).items() if v]
    return found


@pytest.mark.parametrize("name", OURS)
def test_no_number_of_a_denoiser_of_ours_can_be_less(name: str) -> None:
    """Every bound, averagedness and error of execution, of the whole and of each layer."""
    network = OURS[name]()
    images = torch.rand(_SHAPES.get(name, (1, 1, 12, 12)))
    data = json.loads(json.dumps(certify(network, images=images, sigma=(0.1,)).to_dict()))
    confirmed = check_certificate(data, network)
    assert (confirmed.upper, confirmed.averagedness) == (data["upper"], data["averagedness"])
    subjects: list[Any] = [network]
    if type(network) in (LipschitzDenoiser, Relaxed) and "tiles" not in name:
        subjects.append(network.state_dict())
    for place in _numbers(data):
        less, inner = copy.deepcopy(data), data
        for key in place:
            inner = inner[key]
        _put(less, place, float(inner) * 0.999)
        for subject in subjects:
            with pytest.raises(CertificateRejected, match="below what"):
                check_certificate(less, subject)
    for subject in subjects:
        check_certificate(data, subject)


STATES: dict[str, tuple[str, dict[str, Any], str]] = {
    "another class": ("Guard", {}, "do not say how a Guard computes"),
    "no class": ("", {}, "do not say how a network computes"),
    "no relaxation": ("Relaxed", {}, "expected a tensor 'relaxation', found none"),
    "no layers": ("LipschitzDenoiser", {}, "expected layers numbered from 0"),
    "another tensor": ("LipschitzDenoiser", {"mean": torch.zeros(1)}, "has no tensor 'mean'"),
    "without the prefix": (
        "Relaxed", {"relaxation": torch.ones(1), "layers.0.tau": torch.ones(1)},
        "has no tensor 'layers.0.tau'",
    ),
    "a layer too few": (
        "LipschitzDenoiser", {"layers.1.tau": torch.ones(1), "layers.1.weight": torch.ones(1, 1, 1, 1)},
        r"numbered from 0, found \[1\]",
    ),
    "no step": (
        "LipschitzDenoiser", {"layers.0.weight": torch.ones(1, 1, 1, 1)}, "layer 0 has no weight or",
    ),
    "no weight": ("LipschitzDenoiser", {"layers.0.tau": torch.ones(1)}, "no weight or no step length"),
    "a step of two numbers": (
        "LipschitzDenoiser", {"layers.0.tau": torch.ones(2), "layers.0.weight": torch.ones(1, 1, 1, 1)},
        "expected 'layers.0.tau' to be one finite number",
    ),
    "an infinite relaxation": (
        "Relaxed",
        {"relaxation": torch.tensor(float("inf")), "denoiser.layers.0.tau": torch.ones(1),
         "denoiser.layers.0.weight": torch.ones(1, 1, 1, 1)},
        "expected 'relaxation' to be one finite number",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_tensors_that_such_a_network_does_not_have_are_named(name: str) -> None:
    network, state, reason = STATES[name]
    with pytest.raises(CertificateRejected, match=reason):
        of_state(state, network)


def test_a_negative_relaxation_is_rejected() -> None:
    value = certify(Relaxed(_small(), 0.5), images=torch.rand(1, 1, 8, 8))
    wrong = Relaxed(_small(), 0.5)
    wrong.relaxation.fill_(-0.5)
    data = json.loads(json.dumps(value.to_dict()))
    data["sha256"] = weight_hash(wrong.state_dict())
    with pytest.raises(CertificateRejected, match="relaxation is negative"):
        check_certificate(data, wrong)


@pytest.mark.parametrize(
    "weights", [(1.0, 1.0), (1.0, -1.0, 1.0), (0.0, 0.0, 0.0), (1.0, float("inf"), 1.0)]
)
def test_planes_are_averaged_by_a_convex_combination_or_rejected(
    weights: tuple[float, ...],
) -> None:
    volume = VolumeDenoiser(_small())
    volume.weights = weights
    with pytest.raises(
        CertificateRejected, match="expected three numbers >= 0 with a positive sum"
    ):
        of_network(volume)


def test_planes_of_what_may_change_their_size_are_rejected() -> None:
    volume = VolumeDenoiser(_small())
    volume.denoiser = nn.Conv2d(1, 1, 3)
    with pytest.raises(CertificateRejected, match="may give others than it takes"):
        of_network(volume)


def test_tiles_of_what_has_no_known_radius_are_rejected() -> None:
    tiled = Tiled(_small(), 8)
    tiled.denoiser = nn.Conv2d(1, 1, 3)
    with pytest.raises(CertificateRejected, match="receptive field of a Conv2d is not known"):
        of_network(tiled)


def test_tiles_reach_over_the_sum_of_the_kernels_of_both_operators_of_every_layer() -> None:
    """Two layers of 3 x 3: a radius of 4, and no less."""
    tiled = Tiled(_small(), 8)
    tiled.halo = 4
    of_network(tiled)
    tiled.halo = 3
    with pytest.raises(CertificateRejected, match="the radius is 4"):
        of_network(tiled)


def _parts_of(network: nn.Module) -> Any:
    """Of the chain within whatever wraps it."""
    plan: Any = of_network(network)
    while type(plan) is not Chain:
        plan = plan.part
    return plan.parts


def test_layers_are_named_by_their_paths_through_whatever_wraps_them() -> None:
    """As the tensors of the network are, and each with its step and the roundings of ``J`` clips."""
    inner = _small()
    layers: list[Any] = list(inner.layers)
    networks: dict[str, nn.Module] = {
        "": inner,
        "denoiser.": Tiled(inner, 8),
        "denoiser.denoiser.": Relaxed(Guard(inner), 0.5),
        "denoiser.denoiser.denoiser.": VolumeDenoiser(Guard(Relaxed(inner, 0.5))),
    }
    for prefix, network in networks.items():
        parts = _parts_of(network)
        assert [step.name for step in parts] == [f"{prefix}layers.{i}" for i in range(2)]
        for step, layer in zip(parts, layers, strict=True):
            assert step.tau == float(layer.tau)
            assert step.roundings == 3 * len(layer.activation.logits) + 4
            assert torch.equal(step.weight, layer.weight)
    whole: Any = of_network(nn.Conv2d(1, 1, 3), "a.b")
    assert (type(whole), whole.name) == (Exportable, "a.b")


def test_tensors_alone_make_the_plan_of_their_network() -> None:
    for network in (_small(), Relaxed(_small(), 0.3), Relaxed(Relaxed(_small(), 0.5), 0.7)):
        read: Any = of_state(network.state_dict(), type(network).__name__)
        own: Any = of_network(network)
        while isinstance(own, Relaxation):
            assert read.weights == own.weights
            read, own = read.part, own.part
        for one, other in zip(read.parts, own.parts, strict=True):
            assert (one.name, one.tau, one.roundings) == (other.name, other.tau, other.roundings)
            assert torch.equal(one.weight, other.weight)


def test_the_weight_of_a_relaxation_counts_as_stored_and_as_rounded() -> None:
    plan: Any = of_network(Relaxed(_small(), 0.3))
    assert plan.weights == (Fraction(0.3), Fraction(float(torch.tensor(0.3))))
