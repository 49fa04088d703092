"""Graphs of operators in certificates: exported again, compared, and bounded again by other code."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pnp_lip import LipschitzDenoiser, certify
from pnp_lip.certifier import Certificate, lipschitz, local_rules, register_operator, register_rule
from pnp_lip.certifier.operators.entrywise import SLOPES
from pnp_lip.checker import CertificateRejected, check_certificate, composition, pointwise
from pnp_lip.checker.audit import Audit
from pnp_lip.checker.export import exported
from pnp_lip.checker.file import read_certificate
from pnp_lip.checker.found import Exported
from pnp_lip.checker.graph_file import Graph
from pnp_lip.checker.ledger import Ledger
from pnp_lip.checker.walk import Walk
from pnp_lip.networks import Committee

pytest.importorskip("flint", reason="checking a certificate needs python-flint")

Data = dict[str, Any]

#: Of operators that have some besides the image, not their defaults.
OTHER_ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "leaky_relu": [{"negative_slope": 2.5}, {"negative_slope": -0.5}],
    "elu": [{"alpha": 2.0}, {"alpha": 0.3, "scale": 1.7, "input_scale": 2.0}, {"alpha": -1.0}],
    "gelu": [{"approximate": "tanh"}, {"approximate": "none"}],
}


class Skipping(nn.Module):
    """Skips, pooling, a transposed convolution, a join, a difference."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, padding=1)
        self.up = nn.ConvTranspose2d(2, 2, 2, stride=2)
        self.last = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = functional.leaky_relu(self.first(x), 0.2)
        deep = self.up(functional.avg_pool2d(wide, 2))
        return x - 0.25 * self.last(torch.cat([wide, deep], 1))


class Flow(nn.Module):
    """Two steps of a gradient flow, written with plain operators."""

    def __init__(self, *, tied: bool = True) -> None:
        super().__init__()
        self.weights = nn.ParameterList([torch.randn(2, 1, 3, 3) / 8 for _ in range(2)])
        self.tied = tied

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights:
            back = weight if self.tied else weight.flip(2)
            inner = functional.relu(functional.conv2d(x, weight, padding=1))
            x = x - functional.conv_transpose2d(inner, back, padding=1)
        return x


def _made(network: nn.Module) -> tuple[nn.Module, Data]:
    images = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return network, json.loads(json.dumps(certify(network, images=images).to_dict()))


@pytest.fixture(scope="module")
def skipping() -> tuple[nn.Module, Data]:
    torch.manual_seed(0)
    return _made(Skipping().eval())


@pytest.fixture(scope="module")
def flow() -> tuple[nn.Module, Data]:
    torch.manual_seed(1)
    return _made(Flow().eval())


def test_a_network_of_operators_is_confirmed(skipping: tuple[nn.Module, Data]) -> None:
    network, data = skipping
    confirmed = check_certificate(data, network)
    assert confirmed.upper == data["upper"]
    assert not confirmed.assumed
    assert confirmed.conditions == tuple(data["conditions"])
    assert any("ways of calling" in one for one in confirmed.unchecked)
    assert Certificate.from_dict(data).to_dict() == data


def test_a_flow_that_was_written_by_hand_is_confirmed_as_nonexpansive(
    flow: tuple[nn.Module, Data],
) -> None:
    network, data = flow
    assert data["upper"] == 1.0
    assert check_certificate(data, network).averagedness == data["averagedness"]


def test_a_step_towards_stored_patterns_is_confirmed_as_averaged() -> None:
    """``x - W^T softmax(W x) / 2``: the Jacobian of softmax is symmetric, from 0 to 1/2."""

    class Memory(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patterns = nn.Parameter(torch.randn(6, 4) / 4)

        def forward(self, x: Tensor) -> Tensor:
            near = torch.softmax(functional.linear(x, self.patterns), -1)
            return x - functional.linear(near, self.patterns.T) / 2

    torch.manual_seed(0)
    network = Memory().eval()
    data = json.loads(json.dumps(certify(network, images=torch.rand(1, 4)).to_dict()))
    square = float(torch.linalg.matrix_norm(network.patterns.double(), 2)) ** 2
    assert data["upper"] == 1.0
    assert square / 8 <= data["averagedness"] <= 1.01 * square / 8
    assert check_certificate(data, network).averagedness == data["averagedness"]


def _node(data: Data, operator: str) -> list[Any]:
    return next(n for n in data["graphs"][0]["nodes"] if n[0] == f"aten.{operator}")


def _change(operator: str, place: int, value: Any) -> Callable[[Data], Any]:
    return lambda data: _node(data, operator).__setitem__(place, value)


def _graph(**entries: Any) -> Callable[[Data], Any]:
    return lambda data: data["graphs"][0].update(entries)


def _without_graph(data: Data) -> None:
    """As if the first way of calling had never been bounded, nor what it assumed about sizes."""
    data["graphs"].pop(0)


TAMPERED: dict[str, tuple[Callable[[Data], Any], str]] = {
    "bound": (_change("conv2d.default", 3, 1e-3), "claimed bound 0.001 of node"),
    "raised bound": (_change("conv2d.default", 3, 1e3), "claimed bound .* of node"),
    "averagedness": (_change("conv2d.default", 4, 0.1), "claimed averagedness 0.1 of node|is below"),
    "no bound": (_change("conv2d.default", 3, None), "depends on the image and claims no bound"),
    "operator": (_change("leaky_relu.default", 0, "aten.relu.default"), r"is aten.relu.default\("),
    "slope": (_change("leaky_relu.default", 1, "#7, 0.1"), "the network runs aten.leaky_relu"),
    "stride": (_change("conv_transpose2d.input", 1, "#9, #3, #4, [1, 1]"), "the network runs aten.conv"),
    "parent": (_change("cat.default", 1, "[#0, #0], 1"), r"is aten.cat.default\(\[#0, #0\], 1\)"),
    "shape": (_change("avg_pool2d.default", 2, "B, 2, H, W"), "of shape"),
    "name of a weight": (
        lambda d: d["graphs"][0]["nodes"][0].__setitem__(1, "last.weight"),
        "node 0 of the certificate is weight.last.weight",
    ),
    "missing node": (lambda d: d["graphs"][0]["nodes"].pop(8), "node 8 of the certificate"),
    "missing last node": (lambda d: d["graphs"][0]["nodes"].pop(), "nodes for 'the network' on images"),
    "another way to call": (_graph(shape=[3, 2, 8, 8]), "cannot be exported again"),
    "level": (_graph(kind="tensor", level="sigma"), "cannot be exported again"),
    "path": (_graph(path="first"), "a graph of a part that the network has not"),
    "missing graph": (_without_graph, "the statement holds only for B == 1"),
    "no graphs": (lambda d: d.update(graphs=[]), "cannot be checked again without a graph"),
    "layer of a node": (_change("conv2d.default", 5, []), "ends before layer"),
    "layer of another": (_change("conv2d.default", 5, [4]), "expected layer 'first', found"),
    "two layers": (
        lambda d: _node(d, "leaky_relu.default")[5].append(0), "names layers that its operator has not",
    ),
    "no such layer": (_change("conv2d.default", 5, [99]), r"names the layers \[99\], there are"),
    "extra layer": (lambda d: d["layers"].append(d["layers"][0]), "a layer 'first', the network has not"),
    "nodes as text": (_graph(nodes=["x"]), "node 0 of graph 0 as 6 entries"),
    "kind": (_graph(kind="any"), "of the kind any"),
    "execution": (
        lambda d: d["layers"][0]["execution"].update(relative=0.0),
        "execution error of layer 'first' has 0.0 as its relative",
    ),
    "execution of what has none": (
        lambda d: d["layers"][1].update(execution=d["layers"][0]["execution"]),
        "claims an execution error, of which nothing is proved",
    ),
    "conditions": (lambda d: d.update(conditions=[]), "holds only for C == 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_a_graph_that_was_tampered_with_is_rejected(
    name: str, skipping: tuple[nn.Module, Data]
) -> None:
    network, data = skipping[0], copy.deepcopy(skipping[1])
    tamper, reason = TAMPERED[name]
    tamper(data)
    with pytest.raises(CertificateRejected, match=reason):
        check_certificate(data, network)


def test_other_weights_and_another_network_are_rejected(skipping: tuple[nn.Module, Data]) -> None:
    network, data = copy.deepcopy(skipping[0]), skipping[1]
    with torch.no_grad():
        network.get_parameter("last.weight").mul_(2)
    with pytest.raises(CertificateRejected, match="not the ones that were certified"):
        check_certificate(data, network)
    louder = copy.deepcopy(skipping[0])
    louder.get_submodule("first").register_forward_hook(lambda module, args, out: 5 * out)
    with pytest.raises(CertificateRejected, match="the network runs aten"):
        check_certificate(data, louder)


def _walks(
    network: nn.Module, data: Data
) -> Iterator[tuple[Graph, Exported, Callable[[Graph], Any]]]:
    """Every graph with a function that walks through an edited one."""
    read = read_certificate(data)
    for graph in read.graphs:
        found = exported(network, graph)

        def run(edited: Graph, found: Exported = found) -> composition.Claim:
            ledger = Ledger(read.layers, progress=False)
            audit = Audit(Walk(edited, found, ledger), None)  # type: ignore[arg-type]
            claim: composition.Claim = audit.run()[0]
            return claim

        yield graph, found, run


@pytest.mark.parametrize("tied", [True, False])
def test_no_node_can_claim_less_than_its_operands_prove(tied: bool) -> None:
    torch.manual_seed(2)
    network, data = _made(Flow(tied=tied).eval())
    assert (data["upper"] == 1.0) == tied
    for graph, _, run in _walks(network, data):
        assert run(graph).upper <= Fraction(data["upper"])
        for index, node in enumerate(graph.nodes):
            if not node.upper:
                continue
            lower = [replace(node, upper=node.upper * 0.999)]
            if node.averagedness != 0:
                lower += [replace(node, averagedness=(node.averagedness or 1.0) * 0.9)]
            for edited in lower:
                nodes = (*graph.nodes[:index], edited, *graph.nodes[index + 1 :])
                with pytest.raises(CertificateRejected, match="is below what its layers prove"):
                    run(replace(graph, nodes=nodes))


class Entrywise(nn.Module):
    """Every scalar nonlinearity, one after the other."""

    def forward(self, x: Tensor) -> Tensor:
        for f in (
            functional.relu, functional.relu6, functional.hardtanh, functional.elu, functional.celu,
            functional.selu, functional.gelu, functional.silu, functional.mish, functional.hardswish,
            functional.hardsigmoid, functional.softplus, torch.sigmoid, torch.tanh,
            functional.logsigmoid, functional.softshrink, torch.abs, torch.sin, torch.cos, torch.atan,
            torch.asinh, torch.erf, functional.softsign, functional.tanhshrink,
        ):  # fmt: skip
            x = f(x)
        x = functional.elu(functional.leaky_relu(x, 1.5), 2.0)
        x = (
            functional.gelu(x, approximate="tanh")
            .clamp(min=0.1)
            .masked_fill(torch.zeros(1).bool(), 0.0)
        )
        return functional.softmax(functional.prelu(x, torch.full((1,), 0.3)), 1)


class Moving(nn.Module):
    """Operators that move, select, join, repeat and sum entries of ``[B, 4, H, W]``."""

    def forward(self, x: Tensor) -> Tensor:
        x = (
            x.permute(0, 1, 3, 2)
            .flip(2)
            .roll(1, 3)
            .reshape(x.shape[0], 2, 2, x.shape[3], x.shape[2])
        )
        x = torch.where(
            torch.tensor([[[[[True]], [[False]]]]]), x.flatten(1, 2).unflatten(1, (2, 2)), 0.0
        )
        a, b = x.flatten(1, 2).chunk(2, 1)
        x = torch.maximum(a, 0.5 * b) + torch.cat([a[:, :1], b[:, 1:]], 1)
        x = torch.lerp(x, x.repeat(1, 2, 1, 1)[:, :2], 0.25) - torch.stack([a, b], 1).amax(1)
        x = x.sum(1, keepdim=True).expand(-1, 2, -1, -1) / torch.tensor([[[2.0]], [[3.0]]])
        x = x[:, torch.tensor([0, 1, 0])].sort(1).values.topk(2, 1).values
        x = x.unfold(2, 3, 1).median(-1).values + x[:, :, 1:-1].unfold(3, 1, 1)[..., 0]
        x = x.index_select(1, torch.tensor([1, 1])).logsumexp(1, keepdim=True).expand(-1, 2, -1, -1)
        return functional.pad(1.0 - x, (1, 2)).mean((2, 3))


class Windowed(nn.Module):
    """Padding, pooling, interpolation, matrices, batch norm on ``[B, 2, H, W]``."""

    def __init__(self) -> None:
        super().__init__()
        self.reflected = nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")
        self.turned = nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular", groups=2, bias=False)
        self.norm = nn.BatchNorm2d(2)
        self.dense = nn.Linear(2, 3)
        self.matrix = nn.Parameter(torch.randn(3, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.turned(self.reflected(x)))
        x = functional.max_pool2d(functional.interpolate(x, scale_factor=2), 3, 2, 1)
        x = functional.interpolate(x, scale_factor=2, mode="bilinear")
        x = functional.interpolate(x, scale_factor=0.5, mode="bicubic")
        x = torch.einsum("bchw,dc->bdhw", x, self.matrix)
        x = torch.einsum("bdhw,dc->bcwh", x, self.matrix)
        x = functional.pad(x, (1, 1, 1, 1), mode="replicate")
        x = functional.adaptive_avg_pool2d(x.double().float(), 1).flatten(1)
        return self.dense(x) @ self.matrix


@pytest.mark.parametrize(
    ("network", "channels"),
    [(Entrywise(), 1), (Moving(), 4), (Windowed(), 2)],
    ids=["entrywise", "moving", "windowed"],
)
def test_every_operator_of_a_large_network_is_proved_again(
    network: nn.Module, channels: int
) -> None:
    torch.manual_seed(3)
    certificate = certify(network.eval(), images=torch.rand(1, channels, 8, 12))
    assert not check_certificate(certificate, network).assumed


def test_a_network_that_takes_a_noise_level_is_confirmed_in_every_way_it_was_exported() -> None:
    class Mapped(nn.Module):
        def forward(self, x: Tensor, sigma: Any = 0.1) -> Tensor:
            level = sigma.view(-1, 1, 1, 1) if isinstance(sigma, Tensor) else sigma
            return 0.5 * torch.cat([x, torch.ones_like(x) * level], 1).clamp(max=level)

    network, data = _made(Mapped().eval())
    assert {graph["kind"] for graph in data["graphs"]} == {"none", "tensor", "number"}
    check_certificate(data, network)


class Branch(nn.Module):
    """A denoiser of ours inside a network of operators."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x + 0.5 * self.part(x.flip(3), torch.full((x.shape[0],), 0.1))


def test_a_part_of_ours_inside_a_network_is_checked_by_its_theorem() -> None:
    torch.manual_seed(0)
    denoiser = LipschitzDenoiser(1, depth=2, nf=4, kernel_size=3, pretrained=None)
    network, data = _made(Branch(denoiser).eval())
    assert check_certificate(data, network).averagedness == data["averagedness"]
    data["layers"][1]["averagedness"] *= 0.99
    with pytest.raises(CertificateRejected, match=r"of layer 'part.layers.0' is below"):
        check_certificate(data, network)


def test_an_operator_without_a_rule_here_is_named_as_assumed() -> None:
    class Wave(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tan(torch.tanh(x))

    with local_rules():
        register_operator(torch.ops.aten.tan.default)(
            lambda op, x: op.bounded(x, 3.5, "on [-1, 1]")
        )
        network, data = _made(Wave())
    (assumed,) = check_certificate(data, network).assumed
    assert assumed == "the bound 3.5 of 'tan' (tan.default)"


class Mine(nn.Module):
    """A class of the user, for which only the prover has a rule."""

    def forward(self, x: Tensor, level: Tensor | None = None) -> Tensor:
        return x


def test_a_part_whose_theorem_only_the_prover_knows_is_named_as_assumed() -> None:
    with local_rules():
        register_rule(Mine, keeps_shape=True, arguments=("level",))(
            lambda module, name, settings: lipschitz("mine", 1.0)
        )
        network, data = _made(Branch(Mine()))
    assert check_certificate(data, network).assumed == ("the bound 1.0 of 'part' (Mine)",)


def test_a_class_whose_theorem_the_checker_does_not_know_is_rejected_by_name() -> None:
    with local_rules():
        register_rule(Mine, keeps_shape=True)(lambda module, name, settings: lipschitz("mine", 1.0))
        certificates = [certify(one) for one in (Mine(), Committee([nn.Identity(), nn.ReLU()]))]
    for value, network in zip(
        certificates, (Mine(), Committee([nn.Identity(), nn.ReLU()])), strict=True
    ):
        with pytest.raises(CertificateRejected, match="cannot be checked again without a graph"):
            check_certificate(value, network)


@pytest.mark.parametrize(
    "value", [Fraction(4), Fraction(9, 4), Fraction(2), Fraction(1, 10**40), Fraction(10**50)]
)
def test_roots_are_not_below_the_square_root_and_exact_for_squares(value: Fraction) -> None:
    root = composition.root_up(value)
    assert root**2 >= value
    assert root**2 <= value * (1 + Fraction(1, 2**180))
    assert composition.root_up(Fraction(0.3) ** 2) == Fraction(0.3)


@pytest.mark.parametrize("name", sorted(pointwise._SLOPES))
def test_every_slope_of_the_checker_holds_on_a_grid_and_is_no_looser_than_that_of_the_prover(
    name: str,
) -> None:
    operator = getattr(getattr(torch.ops.aten, name.split(".")[0]), name.split(".")[1])
    t = torch.arange(-30, 30, 1e-3, dtype=torch.float64)
    for arguments in OTHER_ARGUMENTS.get(name.split(".")[0], [{}]):
        low, high = pointwise._SLOPES[name](**arguments)
        words = {key: value for key, value in arguments.items() if isinstance(value, str)}
        plain = [value for value in arguments.values() if not isinstance(value, str)]
        slopes = operator(t, *plain, **words).diff() / t.diff()
        assert float(low) - 1e-7 <= float(slopes.min())
        assert float(slopes.max()) <= float(high) + 1e-7
        looser = SLOPES[operator](**arguments)
        assert Fraction(looser[0]) <= low
        assert high <= Fraction(looser[1])
