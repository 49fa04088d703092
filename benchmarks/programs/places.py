"""Steps that work in place, on aliases and views; branches; state: what a description does not show."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.programs.draw import Draw, Run, step

__all__: list[str] = []


@step("in place")
def _in_place(draw: Draw, u: Tensor, w: Tensor) -> Run:
    """One call in place on a tensor, an alias or a view; what is returned may be another alias."""
    change, view = _change(draw), _view(draw, u)
    after: Any = draw.of(["itself", "itself", "view", "other"])

    def run(u: Tensor, w: Tensor) -> Tensor:
        seen = view(u)
        change(seen, w)
        return {"itself": u, "view": seen, "other": w}[after]

    return run


def _change(draw: Draw) -> Any:
    c = draw.factor()
    relu, leaky = draw.keep(nn.ReLU(inplace=True)), draw.keep(nn.LeakyReLU(2.0, inplace=True))
    return draw.of(
        [lambda v, w: v.mul_(c), lambda v, w: v.add_(1.0), lambda v, w: v.div_(c),
         lambda v, w: v.neg_(), lambda v, w: torch.relu_(v), lambda v, w: functional.leaky_relu_(v, c),
         lambda v, w: v.clamp_(-1, 1), lambda v, w: v.abs_(), lambda v, w: v.sin_(),
         lambda v, w: relu(v), lambda v, w: leaky(v), lambda v, w: functional.elu_(v, 2.0),
         lambda v, w: v.zero_(), lambda v, w: v.fill_(2.0), lambda v, w: v.sigmoid_(),
         lambda v, w: functional.celu(v, 0.5, inplace=True), lambda v, w: v.tanh_(),
         lambda v, w: v.copy_(v.flip(-1)), lambda v, w: v.copy_(c * v + v.mean())]
    )  # fmt: skip


def _view(draw: Draw, u: Tensor) -> Any:
    a, b = draw.axis(u), draw.axis(u)
    return draw.of(
        [lambda u: u, lambda u: u, lambda u: u.view(len(u), -1), lambda u: u[..., ::2],
         lambda u: u.transpose(a, b), lambda u: u.select(a, 0), lambda u: u.chunk(2, a)[0],
         lambda u: u[:, 0], lambda u: u.narrow(a, 0, 1), lambda u: u.diagonal(0, a, b),
         lambda u: u.detach(), lambda u: u.unsqueeze(1), lambda u: u.unbind(a)[-1],
         lambda u: u.split(1, a)[0], lambda u: u.flatten(1), lambda u: u.view_as(u),
         lambda u: u.permute(0, *range(u.ndim - 1, 0, -1)),
         lambda u: u[..., 1:].transpose(0, -1), lambda u: u.contiguous()]
    )  # fmt: skip


@step("two tensors in place")
def _two_in_place(draw: Draw, u: Tensor, w: Tensor) -> Run:
    c, a = draw.factor(), draw.axis(u)

    def added(u: Tensor, w: Tensor) -> Tensor:
        z = u
        z += c * w
        return u

    def channel(u: Tensor, w: Tensor) -> Tensor:
        u[:, 0] = c * w[:, -1]
        return draw_back(u, w)

    def scattered(u: Tensor, w: Tensor) -> Tensor:
        u[..., ::2] = w[..., ::2]
        return u

    def chained(u: Tensor, w: Tensor) -> Tensor:
        v = u.clone()
        v.copy_(w).mul_(c).add_(u)
        w -= v
        return v

    def swapped(u: Tensor, w: Tensor) -> Tensor:
        kept = u.clone()
        u.copy_(w)
        w.copy_(kept)
        return u

    def filled(u: Tensor, w: Tensor) -> Tensor:
        out = torch.zeros_like(u)
        out.narrow(a, 0, 1).add_(w.narrow(a, 0, 1), alpha=2)
        out[..., -1] = u[..., 0]
        return out

    back = draw.of([0, 1])
    draw_back = lambda u, w: (u, w)[back]  # noqa: E731
    return draw.of(
        [added, channel, scattered, chained, swapped, filled, lambda u, w: u.add_(w, alpha=2),
         lambda u, w: u.lerp_(w, 0.25), lambda u, w: u.sub_(w).mul_(c), lambda u, w: w.copy_(u),
         lambda u, w: u.masked_fill_(torch.arange(u.shape[-1]) % 2 == 0, 0.5)]
    )  # fmt: skip


class _Switches(nn.Module):
    """Plain attributes that decide what runs."""

    def __init__(self, draw: Draw) -> None:
        super().__init__()
        self.flag, self.times = draw.of([True, False]), draw.of([0, 1, 2, 3])
        self.mode, self.gains = draw.of(["relu", "tanh"]), [draw.factor(), draw.factor()]

    def forward(self, x: Tensor) -> Tensor:
        if self.flag:
            x = self.gains[0] * x
        for index in range(self.times):
            x = x + self.gains[index % 2] * getattr(torch, self.mode)(x)
        return x if x.shape[-1] > 3 else -x


@step("branches on attributes")
def _branches(draw: Draw, u: Tensor, w: Tensor) -> Run:
    switches, wrong = draw.keep(_Switches(draw)), draw.of([0.5, 3.0])
    return draw.of(
        [lambda u, w: switches(u), lambda u, w: switches(u) - w,
         lambda u, w: wrong * u if u.shape[1] % 2 else u - w,
         lambda u, w: wrong * u if isinstance(u, nn.Parameter) else 2 * u,
         lambda u, w: u if switches.training else wrong * u]
    )  # fmt: skip


class _Hooked(nn.ReLU):
    """A subclass, with a hook, whose forward does something else."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.register_forward_hook(lambda module, args, out: gain * out)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) - x


class _Counting(nn.Module):
    """Not a map: it counts its calls, in an attribute or in a buffer."""

    seen: Tensor

    def __init__(self, buffer: bool) -> None:
        super().__init__()
        self.buffer, self.calls = buffer, 0
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.buffer:
            self.seen += 1.0
            return x * self.seen
        self.calls += 1
        return x * self.calls


@step("what a description does not show")
def _hidden(draw: Draw, u: Tensor, w: Tensor) -> Run:
    hooked, replaced = draw.keep(_Hooked(draw.factor())), draw.keep(nn.Tanh())
    replaced.forward = lambda x: 3 * x
    counting = draw.keep(_Counting(draw.of([True, False])))
    return draw.of(
        [lambda u, w: hooked(u), lambda u, w: replaced(u), lambda u, w: hooked(u) + w,
         lambda u, w: counting(u), lambda u, w: u + 0.1 * torch.rand_like(u),
         lambda u, w: u if u.sum() > 0 else -2 * u, lambda u, w: u.view(torch.int32).float()]
    )  # fmt: skip
