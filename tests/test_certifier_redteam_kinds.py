"""Modules of further kinds that are not what they seem: bounded as they compute, or refused by name.

Noise levels that escape as plain numbers, sizes that are no symbols, arguments beside the image that
depend on it, types that round, complex factors, counters out of sight, weights and layers made while
running. The truth is the norm of a dense Jacobian in float64.
"""

from __future__ import annotations

import collections
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from deepinv.models import Denoiser
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from pnp_lip import Refusal
from pnp_lip.certifier import prove
from pnp_lip.certifier.conditions import admits


class Network(nn.Module):
    """A forward written as a function of the module and its input; tensors become buffers."""

    def __init__(self, function: Callable[..., Tensor], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, Tensor):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


class Levelled(Denoiser):
    """Half a sine for a tensor; for a number what a function of image and number says."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, sigma: float | Tensor, **kwargs: Any) -> Tensor:
        return half_sine(x) if isinstance(sigma, Tensor) else self.function(x, sigma)


def half_sine(x: Tensor) -> Tensor:
    return 0.5 * torch.sin(x)


def _tripled(where: Callable[[Any], Any]) -> Callable[[], nn.Module]:
    """Three times the image at some levels."""
    return lambda: Levelled(lambda x, s: 3 * x if where(s) else half_sine(x))


def conv(kernel: int = 3, **given: Any) -> nn.Conv2d:
    return nn.Conv2d(2, 2, kernel, padding=kernel // 2, **given)


def _into_integers(m: Any, x: Tensor) -> Tensor:
    y = torch.zeros(x.shape, dtype=torch.int32)
    y[:] = x * 4
    return y.to(x.dtype) / 4


def _rows_into_integers(m: Any, x: Tensor) -> Tensor:
    y = torch.zeros_like(x, dtype=torch.int16)
    y[:, :, 1:] = x[:, :, 1:] * 4
    return y + x


def _into_truths(m: Any, x: Tensor) -> Tensor:
    y = torch.zeros_like(x, dtype=torch.bool)
    y.copy_(x)
    return y * 1.0


def _counted(counter: Any, count: Callable[[Any], int]) -> nn.Module:
    return Network(lambda m, x: x * (5 if count(m.counter) > 10**6 else 1), counter=counter)


def _appended(queue: Any) -> int:
    queue.append(1)
    return len(queue)


class _Slotted:
    """A counter without ``__dict__``, at the head of the module so that it can be pickled."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count


class _Counting(nn.Module):
    count = 0

    def forward(self, x: Tensor) -> Tensor:
        type(self).count += 1
        return x * (5 if self.count > 10**6 else 1)


class _Rounds(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.round(4 * x) / 4

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class _Scaling(Tensor):
    """A weight with which convolutions give four times as much."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_function__(func, types, args, kwargs or {})
        return 4 * out.as_subclass(Tensor) if func is torch.conv2d else out


def _scaling() -> nn.Module:
    layer = conv(bias=False)
    layer.weight = nn.Parameter(layer.weight.data.as_subclass(_Scaling))
    return nn.Sequential(layer)


def _trained_norm() -> nn.Module:
    return nn.Sequential(nn.BatchNorm2d(2, track_running_stats=False)).eval()


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "level zero by float": (_tripled(lambda s: float(s) == 0), "at another noise level"),
    "large level by float": (_tripled(lambda s: float(s) > 1), "at another noise level"),
    "small level by math": (_tripled(lambda s: math.exp(s) < 1.001), "at another noise level"),
    "level by numpy": (_tripled(lambda s: bool(np.asarray(s) > 1)), "at another noise level"),
    "level by torch": (
        _tripled(lambda s: bool(torch.as_tensor(s) > 1)), "at another noise level",
    ),
    "level as a text": (_tripled(lambda s: str(s).startswith("3")), "value of its noise level"),
    "level formatted": (_tripled(lambda s: f"{s:.1f}" == "30.0"), "value of its noise level"),
    "level in a table": (_tripled({30.0: True}.get), "value of its noise level"),
    "level in a divisor": (
        lambda: Levelled(lambda x, s: x / (x.abs() + s)), "a divisor that depends on the input",
    ),
    "level of a few": (
        lambda: Levelled(lambda x, s: x * {25 / 255: 1.0, 50 / 255: 4.0}[float(s)]), "cannot be exported",
    ),
    "level in a made constant": (
        lambda: Levelled(lambda x, s: x * torch.as_tensor(s)), "a factor that is not known",
    ),
    "side that is a number": (
        lambda: Network(
            lambda m, x: 7 * x if isinstance(x.shape[3], int) and x.shape[3] > 500 else 1 * x
        ),
        "other operators for images .16, 2, 768, 1024.",
    ),
    "many images, counted by numbers": (
        lambda: Network(
            lambda m, x: x.sin() if isinstance(x.shape[0], int) and x.shape[0] > 9 else x.tanh()
        ),
        "other operators for images .16, 2, 768, 1024.",
    ),
    "mean of the input": (
        lambda: Network(lambda m, x: functional.batch_norm(x, 9 * x.mean((0, 2, 3)), m.v), v=torch.ones(2)),
        "an argument 'running_mean' that depends",
    ),
    "offset of the input": (
        lambda: Network(
            lambda m, x: functional.batch_norm(x, m.z, m.v, bias=9 * x.mean((0, 2, 3))),
            v=torch.ones(2), z=torch.zeros(2),
        ),
        "an argument 'bias' that depends",
    ),
    "clamped by the input": (
        lambda: Network(lambda m, x: torch.clamp(x, max=x.mean((2, 3), keepdim=True))),
        "an argument 'max' that depends",
    ),
    "integers": (lambda: Network(_into_integers), "converts to torch.int32, which jumps"),
    "rows of integers": (
        lambda: Network(_rows_into_integers), "converts to torch.int16, which jumps",
    ),
    "truths": (lambda: Network(_into_truths), "converts to torch.bool, which jumps"),
    "counter of iterations": (lambda: _counted(itertools.count(), next), "changes attributes"),
    "queue": (lambda: _counted(collections.deque(), _appended), "changes attributes"),
    "counter with slots": (lambda: _counted(_Slotted(), _Slotted.add), "changes attributes"),
    "counter of the class": (_Counting, "changes attributes"),
    "straight-through rounding": (
        lambda: Network(lambda m, x: _Rounds.apply(x)), "jumps, so it has no finite constant",
    ),
    "weight of a class of its own": (_scaling, "does not compute what the module does"),
    "imaginary part of another type": (
        lambda: Network(lambda m, x: x + 1j * (3 * x if type(x) is Tensor else x)),
        "does not compute what the module does",
    ),
    "weights from the input": (
        lambda: Network(
            lambda m, x: torch.func.functional_call(m.c, {"weight": m.c.weight * x.mean()}, (x,)),
            c=conv(),
        ),
        "a weight that depends on the input",
    ),
    "attention": (
        lambda: Network(
            lambda m, x: m.a(x[:, 0], x[:, 0], x[:, 0])[0],
            a=nn.MultiheadAttention(6, 2, batch_first=True),
        ),
        "depends on the input, which has no finite constant",
    ),
    "recurrence": (
        lambda: Network(lambda m, x: m.g(x[:, 0])[0], g=nn.LSTM(6, 6, batch_first=True)),
        "multiplies tensors that depend on the input",
    ),
    "gates": (
        lambda: Network(lambda m, x: m.g(x[:, 0])[0], g=nn.GRU(6, 6, batch_first=True)),
        "multiplies tensors that depend on the input",
    ),
    "recurrence without gates": (
        lambda: Network(lambda m, x: m.g(x[:, 0])[0], g=nn.RNN(6, 6, batch_first=True)),
        "has no rule",
    ),
    "condition": (
        lambda: Network(
            lambda m, x: torch.cond(torch.tensor(x.shape[0] > 1), lambda z: 2 * z, lambda z: 3 * z, (x,))
        ),
        "has no rule",
    ),
    "quantised": (
        lambda: Network(lambda m, x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255)),
        "fake_quantize.*has no rule",
    ),
    "norm of the batch": (_trained_norm, "normalises by the batch"),
    "response normalised": (lambda: nn.LocalResponseNorm(2), "depend on the input"),
    "unit vectors": (
        lambda: Network(lambda m, x: functional.normalize(x, dim=1)), "depends on the input",
    ),
    "mask of signs": (lambda: Network(lambda m, x: x * (x > 0)), "jumps"),
    "tensors contracted": (
        lambda: Network(lambda m, x: torch.tensordot(x, m.w, ([1], [0])), w=torch.ones(2, 3)),
        "'tensordot'.*has no rule",
    ),
    "product of Kronecker": (
        lambda: Network(lambda m, x: torch.kron(x, m.w), w=torch.ones(1, 1, 2, 2)),
        "'kron'.*has no rule",
    ),
    "spectrograms": (
        lambda: Network(
            lambda m, x: torch.view_as_real(
                torch.stft(x.flatten(1), 8, return_complex=True, window=m.w)
            ),
            w=torch.hann_window(8),
        ),
        "'stft'.*has no rule",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_module_of_this_kind_is_refused_by_name(name: str) -> None:
    build, message = REFUSED[name]
    with pytest.raises(Refusal, match=message):
        prove(build().eval(), example=None if "few" in name else torch.rand(2, 2, 4, 6))


class _Threefold(torch.autograd.Function):
    """Its derivative is not its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 3 * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 0 * grad


class _Attributes(nn.Module):
    """A gain that is no attribute, and a call that is not that of its class."""

    def __init__(self) -> None:
        super().__init__()
        self.c = conv()

    def __getattr__(self, name: str) -> Any:
        return 4.0 if name == "gain" else super().__getattr__(name)

    def __call__(self, x: Tensor) -> Tensor:
        return 2 * super().__call__(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * self.c(x)


def _seen_by_flags(flag: Callable[[], bool]) -> Callable[[Any, Tensor], Tensor]:
    return lambda m, x: x.clone() if flag() or x.shape[3] <= 6 else 7 * x


def _without_gradients(m: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        y = m.c(x)
    return x + y


def _shared() -> nn.Module:
    first, second = conv(), conv()
    second.weight = first.weight
    return nn.Sequential(first, nn.ReLU(), second, first)


def _weight_norm() -> nn.Module:
    layer = parametrizations.weight_norm(conv())
    layer.parametrizations.weight.original0.data *= 3
    return nn.Sequential(layer)


RIGHT: dict[str, Callable[[], nn.Module]] = {
    "one coil, several maps": lambda: Network(
        lambda m, x: torch.view_as_real(x[:, :1] * m.s), s=torch.randn(4, 1, 1, dtype=torch.complex64)
    ),
    "complex images": lambda: Network(
        lambda m, x: torch.view_as_real((x + 1j * x.flip(3)).conj() * (2 - 1j))
    ),
    "both parts": lambda: Network(lambda m, x: (x + 2j * x).real + (x + 2j * x).imag),
    "complex type": lambda: Network(
        lambda m, x: torch.fft.fft2(x + torch.zeros((), dtype=torch.complex64), norm="ortho").imag
    ),
    "derivative of its own": lambda: Network(lambda m, x: _Threefold.apply(x)),
    "detached": lambda: Network(lambda m, x: x + (2 * x).detach()),
    "attributes": _Attributes,
    "compiling": lambda: Network(_seen_by_flags(torch.compiler.is_compiling)),
    "exporting": lambda: Network(_seen_by_flags(torch.compiler.is_exporting)),
    "weight norm": _weight_norm,
    "older weight norm": lambda: nn.Sequential(torch.nn.utils.weight_norm(conv())),
    "older spectral norm": lambda: nn.Sequential(torch.nn.utils.spectral_norm(conv())),
    "called with other weights": lambda: Network(
        lambda m, x: torch.func.functional_call(m.c, {"weight": 3 * m.c.weight}, (x,)), c=conv()
    ),
    "lazy": lambda: nn.Sequential(nn.LazyConv2d(3, 3, padding=1)),
    "without gradients": lambda: Network(_without_gradients, c=conv()),
    "recomputed": lambda: Network(
        lambda m, x: x + checkpoint(m.c, x, use_reentrant=False), c=conv()
    ),
    "shared weights": _shared,
    "negative scales": lambda: Network(
        lambda m, x: x - functional.batch_norm(x, m.z, m.v, m.g),
        z=torch.zeros(2), v=torch.ones(2) / 9, g=torch.tensor([-3.0, 0.5]),
    ),
    "written beside": lambda: Network(
        lambda m, x: torch.cat([3 * x[:, :, 1:2], x[:, :, 1:]], 2)
    ),
    "given twice": lambda: Network(lambda m, x: x[:, [0, 0, 1]]),
    "patches and back": lambda: Network(
        lambda m, x: functional.fold(functional.unfold(x, 3, padding=1), x.shape[2:], 3, padding=1)
    ),
    "even kernel, circular": lambda: nn.Conv2d(2, 2, 4, padding=2, padding_mode="circular"),
    "outer product": lambda: Network(
        lambda m, x: torch.einsum("bchw,o->bochw", x, m.w), w=torch.randn(3)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_module_of_this_kind_is_bounded_as_it_computes(name: str) -> None:
    torch.manual_seed(0)
    network = RIGHT[name]().eval()
    statement = prove(network, example=torch.rand(2, 2, 4, 6))
    truth, exact = 0.0, network.double()
    for shape in ((1, 2, 4, 6), (2, 2, 5, 5), (1, 2, 3, 8)):
        if not admits(statement.conditions, shape):
            continue
        generator = torch.Generator().manual_seed(0)
        x, y = torch.randn((2, *shape), generator=generator, dtype=torch.float64)
        with torch.no_grad():  # as with a Jacobian, but for derivatives that are not their own
            moved = torch.linalg.vector_norm(exact(x + y) - exact(x))
        truth = max(truth, float(moved / torch.linalg.vector_norm(y)))
        found = torch.autograd.functional.jacobian(exact, x)
        if found.requires_grad or "derivative" not in name:
            truth = max(truth, float(torch.linalg.matrix_norm(found.reshape(-1, x.numel()), 2)))
    assert 0.2 * statement.upper <= truth <= statement.upper * (1 + 1e-6)


def test_a_size_behind_a_flag_of_the_exporter_is_a_condition() -> None:
    for flag in (torch.compiler.is_compiling, torch.compiler.is_exporting):
        statement = prove(Network(_seen_by_flags(flag)), example=torch.rand(1, 1, 4, 4))
        assert not admits(statement.conditions, (1, 1, 4, 8))
