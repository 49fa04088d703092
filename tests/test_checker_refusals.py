"""What the checker has no theorem for is named as assumed, or rejected, however it was certified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import pnp_lip.checker.proof  # noqa: F401  (registers the rules)
from pnp_lip.checker import CertificateRejected
from pnp_lip.checker.audit import Audit
from pnp_lip.checker.export import exported
from pnp_lip.checker.file import Layer
from pnp_lip.checker.graph_file import Graph, Node
from pnp_lip.checker.ledger import Ledger
from pnp_lip.checker.walk import Walk

pytest.importorskip("flint", reason="checking a certificate needs python-flint")

aten = torch.ops.aten
_HUGE = 1e9


class _Network(nn.Module):
    """``computed`` of an image; for images of one size where ``fixed``."""

    def __init__(self, computed: Callable[[Tensor], Any], *, fixed: bool = True) -> None:
        super().__init__()
        self.computed, self.fixed = computed, fixed

    def forward(self, x: Tensor) -> Any:
        if self.fixed and not all(type(side) is int for side in x.shape):
            raise TypeError("expected whole numbers")
        return self.computed(x)


class _Generous(Ledger):
    """Every layer that is asked for, with a huge bound."""

    def take(self, name: str | None, among: list[int]) -> Layer:
        among.clear()
        return Layer(name or "", _HUGE, None, None, None)


def _walked(
    computed: Callable[[Tensor], Any],
    shape: tuple[int, ...],
    *operators: str,
    fixed: bool = True,
    constant: tuple[str, ...] = (),
) -> list[str]:
    """What is assumed of these operators, where every tensor on the way of the image claims a huge bound.

    Nodes named in ``constant`` claim none.
    """
    network = _Network(computed, fixed=fixed).eval()
    found = exported(network, Graph("", shape, None, "none", ()))
    reached, nodes = set[Any](), list[Node]()
    for node in found.nodes:
        if node is found.image or any(one in reached for one in node.all_input_nodes):
            reached.add(node)
        tensor = isinstance(node.meta.get("val"), Tensor) or node.op == "output"
        bounded = node in reached and tensor and node.name not in constant
        upper = 1e300 if node.op == "output" else _HUGE
        own = (0,) if str(node.target).removeprefix("aten.").split(".")[0] in operators else ()
        nodes.append(Node("", "", "", upper if bounded else None, None, own))
    ledger = _Generous((), progress=False)
    Audit(Walk(Graph("", shape, None, "none", tuple(nodes)), found, ledger), None).run()  # type: ignore[arg-type]
    return list(ledger.assumed)


def _held(*values: float) -> Tensor:
    return torch.tensor(values)


_NAN, _INFINITE = float("nan"), float("inf")
#: Operators with arguments about which the checker has no theorem, on images of four sides.
ASSUMED: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "softplus": ("softplus", lambda x: functional.softplus(x, 2.0, 14.0)),
    "softplus backwards": ("softplus", lambda x: functional.softplus(x, -1.0)),
    "celu": ("celu", lambda x: functional.celu(x.abs(), -0.5)),
    "elu": ("elu", lambda x: aten.elu.default(x, 1.0, 1.0, -1.0)),
    "beta of addmm": ("addmm", lambda x: torch.addmm(_held(1.0), x[0, 0], torch.eye(4), beta=0.5)),
    "order of a norm": ("linalg_vector_norm", lambda x: torch.linalg.vector_norm(x, 1, dim=1)),
    "whole numbers": ("to", lambda x: x.to(torch.int64)),
    "complex numbers": ("to", lambda x: x.to(torch.complex64).to(torch.int64)),
    "not a number": ("mul", lambda x: (x * _NAN)[..., :0]),
    "infinite": ("mul", lambda x: (x * _INFINITE)[..., :0]),
    "infinite downward": ("mul", lambda x: (x * -_INFINITE)[..., :0]),
    "some not a number": ("mul", lambda x: (x * _held(1.0, 1.0, 1.0, _NAN))[..., :1]),
    "some infinite": ("div", lambda x: (x / _held(1.0, 1.0, 1.0, _INFINITE))[..., :1]),
    "divided by zero": ("div", lambda x: (x / _held(0.0))[..., :0]),
    "divided by zeros": ("div", lambda x: (x / _held(1.0, 2.0, 1.0, 0.0))[..., :1]),
    "divided by zeros from below": ("div", lambda x: (x / _held(-1.0, -1.0, -2.0, 0.0))[..., :1]),
    "divided by both signs": ("div", lambda x: x / _held(-1.0, 1.0, 1.0, 2.0)),
    "kernel": ("conv2d", lambda x: functional.conv2d(x, _held(1.0, _NAN).view(2, 1, 1, 1))[:, :1]),
    "matrix": ("mm", lambda x: x[0, 0].mm(_held(1.0, _INFINITE).expand(4, 2))[:, :1]),
    "matrices of several axes": ("linear", lambda x: functional.linear(x, torch.ones(4))),
    "mask as an index": ("index", lambda x: x[..., torch.tensor([True, False, True, True])]),
    "repeated matrices": (
        "matmul", lambda x: aten.matmul.default(x, torch.ones(3, 4, 4)),
    ),
    "aligned corners": (
        "upsample_bilinear2d",
        lambda x: functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
    ),
    "half a sample": ("upsample_nearest2d", lambda x: functional.interpolate(x, scale_factor=1.5)),
    "half as many samples": (
        "upsample_nearest2d", lambda x: functional.interpolate(x, scale_factor=0.5),
    ),
    "border of an average": (
        "avg_pool2d", lambda x: functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    ),
    "last window of an average": (
        "avg_pool2d", lambda x: functional.avg_pool2d(x, 3, 2, ceil_mode=True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ASSUMED)
def test_an_operator_with_other_arguments_is_named_as_assumed(name: str) -> None:
    operator, computed = ASSUMED[name]
    assumed = _walked(computed, (1, 1, 4, 4), operator)
    assert assumed[0].startswith("the bound 1000000000.0 of")
    assert all(f"({operator}." in one for one in assumed)


#: Operators on images of any size.
OF_ANY_SIZE: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "sum": ("sum", lambda x: x.sum((2, 3))),
    "aligned corners": (
        "upsample_bicubic2d",
        lambda x: functional.interpolate(x, scale_factor=2, mode="bicubic", align_corners=True),
    ),
    "factor": (
        "upsample_bicubic2d",
        lambda x: functional.interpolate(x, scale_factor=65 / 64, mode="bicubic"),
    ),
    "size": (
        "upsample_bicubic2d",
        lambda x: functional.interpolate(x, (x.shape[2] + 1, x.shape[3]), mode="bicubic"),
    ),
    "pooled to three": ("adaptive_avg_pool2d", lambda x: functional.adaptive_avg_pool2d(x, 3)),
    "counted from the end": ("index", lambda x: x[:, :, torch.tensor([0, -1])]),
    "repeated": ("repeat", lambda x: x.repeat(1, 1, 1, x.shape[3])),
    "a size as a factor": ("mul", lambda x: x * x.shape[3]),
}


@pytest.mark.parametrize("name", OF_ANY_SIZE)
def test_what_depends_on_an_unknown_size_is_named_as_assumed(name: str) -> None:
    operator, computed = OF_ANY_SIZE[name]
    (assumed,) = _walked(computed, (2, 3, 6, 8), operator, fixed=False)
    assert f"({operator}." in assumed


#: Networks whose operators read two tensors that depend on the image, or are of no known kind.
REJECTED: dict[str, tuple[tuple[str, ...], Callable[[Tensor], Tensor], str]] = {
    "product": (("mul",), lambda x: x * x, "two of its arguments depend on the image"),
    "quotient": (
        ("div",), lambda x: x / (x.abs() - 1.0), "two of its arguments depend on the image",
    ),
    "weight": (
        ("conv2d",), lambda x: functional.conv2d(x, x), "two of its arguments depend on",
    ),
    "limits": (
        ("clamp",), lambda x: torch.clamp(x, 0.5 * x.flip(3)), "its bounds depend on the image",
    ),
    "mask": (
        ("gt", "masked_fill"), lambda x: x.masked_fill(x > 0.5, 0.0),
        "its mask depends on the image",
    ),
    "filling": (
        ("masked_fill",), lambda x: x.masked_fill(torch.ones(4).bool(), x[0, 0, 0, 0]),
        "its mask depends on the image",
    ),
    "choice": (
        ("gt", "where"), lambda x: torch.where(x > 0.5, x, 2 * x),
        "its mask depends on the image",
    ),
    "three tensors": (
        ("einsum",),
        lambda x: torch.ops.aten.einsum.default("abcd,de,ef->abcf", [x, torch.eye(4), torch.eye(4)]),
        "its equation is",
    ),
    "axes that are not written": (
        ("einsum",), lambda x: aten.einsum.default("...d,de->...e", [x, torch.eye(4)]),
        "its equation is",
    ),
    "variance": (
        ("_native_batch_norm_legit_no_training",),
        lambda x: functional.batch_norm(
            torch.cat([x, x], 1), torch.zeros(2), _held(1.0, -2.0), eps=1.0
        )[:, :1],
        "a variance is not positive",
    ),
    "a diagonal": (
        ("einsum",), lambda x: aten.einsum.default("abcc,c->abc", [x, torch.ones(4)]),
        "it reads a diagonal",
    ),
    "an axis of the image alone": (
        ("einsum",), lambda x: aten.einsum.default("abcd,c->abc", [x, torch.ones(4)]),
        "it sums over an axis of one tensor alone",
    ),
    "an axis of the image": (
        ("einsum",), lambda x: aten.einsum.default("abcd->abc", [x]),
        "it sums over axes of the image alone",
    ),
    "a contraction with what is not finite": (
        ("einsum",), lambda x: aten.einsum.default("abcd,e->abcde", [x, _held(1.0, _NAN)])[..., :1],
        "its constant contains NaN",
    ),
    "two images contracted": (
        ("einsum",), lambda x: aten.einsum.default("abcd,abde->abce", [x, x]),
        "its equation is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REJECTED)
def test_an_operator_about_which_nothing_can_be_said_is_rejected(name: str) -> None:
    operators, computed, reason = REJECTED[name]
    with pytest.raises(CertificateRejected, match=reason):
        _walked(computed, (1, 1, 4, 4), *operators)


def test_a_row_that_is_repeated_for_every_pixel_is_rejected() -> None:
    with pytest.raises(CertificateRejected, match="may repeat a tensor once for every pixel"):
        _walked(lambda x: x - x.amax(3, keepdim=True), (2, 3, 6, 8), "amax", fixed=False)


def test_what_reads_the_place_of_a_maximum_is_rejected() -> None:
    """And so is a network that returns it."""

    def places(x: Tensor) -> Tensor:
        return torch.max(x, 1).indices

    with pytest.raises(CertificateRejected, match="reads what jumps with the image"):
        _walked(lambda x: places(x) * 2, (1, 1, 4, 4), "max", constant=("max_1", "getitem_1"))
    with pytest.raises(CertificateRejected, match="the network returns no tensor"):
        _walked(places, (1, 1, 4, 4), "max", constant=("max_1", "getitem_1"))


@pytest.mark.parametrize(
    ("computed", "constant", "reason"),
    [
        (lambda x: -x, (), ""),
        (lambda x: -x, ("neg",), "node 1 depends on the image and claims no bound"),
        (lambda x: -x, ("output",), "the output of a graph has no bound"),
        (lambda x: 3.5, (), "the network returns no tensor"),
    ],
)
def test_every_node_that_depends_on_the_image_has_a_bound(
    computed: Callable[[Tensor], Any], constant: tuple[str, ...], reason: str
) -> None:
    if not reason:
        assert _walked(computed, (1, 1, 4, 4), constant=constant) == []
        return
    with pytest.raises(CertificateRejected, match=reason):
        _walked(computed, (1, 1, 4, 4), constant=constant)


class _Switched(nn.Module):
    """A network that may behave in several ways."""

    def __init__(self) -> None:
        super().__init__()
        self.mode, self.calls = "plain", 0
        self.register_buffer("one", torch.ones(4))
        self.register_buffer("other", torch.full((4,), 0.5))

    def forward(self, x: Tensor, sigma: float = 0.1) -> Any:
        one = getattr(self, "other" if self.mode == "other tensors" and sigma > 0.2 else "one")
        y = x * one
        if self.mode == "counts":
            self.one.add_(1)  # type: ignore[operator]
        if self.mode == "changes its input":
            x.mul_(0.5)
        if self.mode == "two results":
            return y, y
        if self.mode == "random":
            return y + torch.rand(4)
        if self.mode == "remembers":
            self.calls += 1
            return y * self.calls
        if self.mode == "knows that it is exported":
            return y if torch.compiler.is_compiling() else y * 1.01
        if self.mode == "other operators" and sigma > 0.2:
            return y.neg()
        return y * sigma

    def __deepcopy__(self, memo: Any) -> Any:
        if self.mode == "one of its kind":
            raise RuntimeError("there is one of me")
        copied = _Switched()
        copied.mode, copied.calls = self.mode, self.calls
        return copied.train(self.training)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("counts", "changes its own tensors when it is called"),
        ("changes its input", "changes its input, or returns several values"),
        ("two results", "changes its input, or returns several values"),
        ("random", "two answers for one input"),
        ("remembers", "two answers for one input"),
        ("knows that it is exported", "computes something else than the network"),
        ("other operators", "other operators at another noise level"),
        ("other tensors", "reads other tensors at another noise level"),
        ("one of its kind", "cannot be copied: there is one of me"),
    ],
)
def test_a_network_that_is_no_map_of_its_input_is_rejected(mode: str, reason: str) -> None:
    network, graph = _Switched().eval(), Graph("", (1, 1, 4, 4), "sigma", "number", ())
    found = exported(network, graph)
    assert len(found.programs) == 4
    assert sorted(found.names.values()) == ["", "one", "other"]
    assert [found.names[name] for name in found.inputs] == [""]
    network.mode = mode
    with pytest.raises(CertificateRejected, match=reason):
        exported(network, graph)
