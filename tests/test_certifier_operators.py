"""Every operator that has a rule is bounded above its dense matrix, at random arguments."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import wraps
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.programs import judged
from pnp_lip.certifier.operators import OPERATORS

aten = torch.ops.aten

#: Of an operator and an input, what a network computes.
Computed = Callable[[Any, Tensor], Tensor]
#: A shape of inputs, and what is computed of them.
Case = tuple[tuple[int, ...], Computed]

_SHAPES = {1: (2, 5), 2: (2, 4, 4), 3: (1, 3, 3, 3)}
#: Operators that the exporter of this torch replaces by others, so that no graph contains them.
REPLACED: set[str] = set()


class _Network(nn.Module):
    """One operator, for inputs of one size."""

    def __init__(self, operator: Any, computed: Computed) -> None:
        super().__init__()
        self.operator, self.computed = operator, computed

    def forward(self, x: Tensor) -> Tensor:
        if not all(type(side) is int for side in x.shape):
            raise TypeError("expected whole numbers")
        return self.computed(self.operator, x)


def _name(operator: Any) -> str:
    return str(operator).removeprefix("aten.")


def _axes(name: str) -> int:
    return next((axes for axes in (1, 2, 3) if f"{axes}d" in name), 2)


def _convolution(name: str, chance: random.Random) -> Case:
    axes, (channels, *sides) = _axes(name), _SHAPES[_axes(name)]
    groups, size = chance.choice([1, channels]), chance.choice([1, 2, 3])
    out = groups * chance.choice([1, 2])
    stride, dilation = [chance.choice([1, 2])] * axes, [chance.choice([1, 1, 2])] * axes
    padding: Any = [chance.choice([0, 1, 2])] * axes
    if "transpose" in name:
        weight = torch.randn(channels, out // groups, *[size] * axes)
        more = [chance.randrange(stride[0])] * axes
        return (channels, *sides), lambda op, x: op(
            x, weight.to(x), None, stride, padding, more, groups, dilation
        )
    weight = torch.randn(out, channels // groups, *[min(size, 2)] * axes)
    if name.endswith("padding"):
        padding, stride = chance.choice(["same", "valid"]), [1] * axes
    bias = torch.randn(out)
    return (channels, *sides), lambda op, x: op(
        x, weight.to(x), bias.to(x), stride, padding, [1] * axes, groups
    )


def _average(name: str, chance: random.Random) -> Case:
    axes = _axes(name)
    size, stride = [chance.choice([2, 3])] * axes, [chance.choice([1, 2, 3])] * axes
    options = [[chance.choice([0, 1])] * axes, chance.random() < 0.5, chance.random() < 0.5]
    if axes > 1 and chance.random() < 0.3:
        options.append(3)
    return _SHAPES[axes], lambda op, x: op(x, size, stride, *options)


def _largest(name: str, chance: random.Random) -> Case:
    axes = _axes(name)
    size, stride = [chance.choice([2, 3])] * axes, [chance.choice([1, 2, 3])] * axes
    padding, dilation = [chance.choice([0, 1])] * axes, [chance.choice([1, 1, 2])] * axes
    size = [2] * axes if dilation[0] == 2 else size
    ceiling = chance.random() < 0.5
    return _SHAPES[axes], lambda op, x: op(x, size, stride, padding, dilation, ceiling)


def _adaptive(name: str, chance: random.Random) -> Case:
    axes = _axes(name)
    target = [chance.choice([1, 2, 3, 5, 8])] * axes
    return _SHAPES[axes], lambda op, x: _first(op(x, target))


def _resized(name: str, chance: random.Random) -> Case:
    axes = _axes(name)
    smooth = "linear" in name or "cubic" in name
    factor = chance.choice([2.0, 3.0, 0.5] if smooth else [2.0, 3.0, 0.5, 1.5, 0.7])
    corners = [chance.random() < 0.5] if smooth else []
    return _SHAPES[axes], lambda op, x: op(x, None, *corners, [factor] * axes)


def _padded(name: str, chance: random.Random) -> Case:
    axes = _axes(name)
    amounts = [chance.choice([0, 1, 2]) for _ in range(2 * axes)]
    return _SHAPES[axes], lambda op, x: op(x, amounts)


def _first(found: Any) -> Tensor:
    return found[0] if isinstance(found, (tuple, list)) else found


def _of(shape: tuple[int, ...], *choices: Computed) -> list[Case]:
    return [(shape, computed) for computed in choices]


def _drawn(make: Callable[[str, random.Random], Case], name: str) -> list[Case]:
    """Three cases with random arguments."""
    torch.manual_seed(0)
    return [make(name, random.Random(f"{seed} {name}")) for seed in range(3)]


def _held(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


_MATRIX, _FACTORS, _MASK = _held(4, 4), _held(2, 4, 1), _held(2, 4, 4) > 0
_ROWS, _LEFT, _RIGHT, _BIAS, _WIDE = (
    _held(3, 4),
    _held(2, 6),
    _held(6, 3),
    _held(3),
    _held(3, 1, 2, 1, 1),
)
_IMAGE = (2, 4, 4)


def _unary(*arguments: tuple[Any, ...], **named: Any) -> list[Case]:
    """One case for each of some tuples of arguments."""

    def computed(given: tuple[Any, ...]) -> Computed:
        return lambda op, x: _first(op(x, *given, **named))

    return [(_IMAGE, computed(given)) for given in arguments or ((),)]


def _binary(**named: Any) -> list[Case]:
    return _of(
        _IMAGE,
        lambda op, x: op(x, 2 * x.flip(2), **named),
        lambda op, x: op(x, x[:, :1] @ _MATRIX.to(x), **named),
        lambda op, x: op(x, _FACTORS.to(x), **named),
        lambda op, x: op(_MATRIX.to(x), x, **named),
    )


def _normalised(*tail: Any) -> list[Case]:
    gain, mean, variance = _held(2), _held(2), _held(2).abs() + 0.1
    return _of(
        _IMAGE,
        lambda op, x: _first(op(x, gain.to(x), mean.to(x), mean.to(x), variance.to(x), *tail)),
        lambda op, x: _first(op(x, None, None, mean.to(x), variance.to(x), *tail)),
    )


def _complex(x: Tensor) -> Tensor:
    return torch.view_as_complex(torch.stack([x, 2 * x.flip(2)], -1))


def _transform(name: str) -> list[Case]:
    """With every norm; ``rfft`` takes real numbers and ``irfft`` gives some, the others neither."""
    axes: dict[str, Any] = {"2": [-2, -1], "n": [1, 3]}

    def computed(norm: str) -> Computed:
        def run(op: Any, x: Tensor) -> Tensor:
            given = x if name.startswith("rfft") else _complex(x)
            found: Tensor = op(given, None, axes.get(name[-1], 2), norm)
            return found if name.startswith("irfft") else torch.view_as_real(found)

        return run

    return [(_IMAGE, computed(norm)) for norm in ("ortho", "forward", "backward")]


_KERNEL, _STACK = _held(2, 1, 3, 3), _held(2, 4, 3)
_CUBE, _BLOCK = _held(2, 4, 4), _held(2, 4, 4, 3)


#: By name without overload, or with it where overloads differ.
CASES: dict[str, list[Case]] = {
    **{f"conv{n}d": _drawn(_convolution, f"conv{n}d") for n in (1, 2, 3)},
    **{f"conv{n}d.padding": _drawn(_convolution, f"conv{n}d.padding") for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": _drawn(_convolution, f"conv_transpose{n}d") for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _drawn(_average, f"{n}d") for n in (1, 2, 3)},
    **{f"max_pool{n}d": _drawn(_largest, f"{n}d") for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": _drawn(_adaptive, f"{n}d") for n in (1, 2, 3)},
    **{f"adaptive_max_pool{n}d": _drawn(_adaptive, f"{n}d") for n in (1, 2)},
    "_adaptive_avg_pool2d": _drawn(_adaptive, "2d"),
    **{f"upsample_nearest{n}d": _drawn(_resized, f"nearest{n}d") for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": _drawn(_resized, f"{n}d") for n in (1, 2, 3)},
    "upsample_linear1d": _drawn(_resized, "linear1d"),
    "upsample_bilinear2d": _drawn(_resized, "linear2d"),
    "upsample_bicubic2d": _drawn(_resized, "cubic2d"),
    "upsample_trilinear3d": _drawn(_resized, "linear3d"),
    **{f"reflection_pad{n}d": _drawn(_padded, f"{n}d") for n in (1, 2, 3)},
    **{f"replication_pad{n}d": _drawn(_padded, f"{n}d") for n in (1, 2, 3)},
    "linear": _of(_IMAGE, lambda op, x: op(x, _ROWS.to(x), _BIAS.to(x))),
    "matmul": _of(_IMAGE, lambda op, x: op(x, _MATRIX.to(x)), lambda op, x: op(_MATRIX.to(x), x)),
    "mm": _of((6,), lambda op, x: op(x, _RIGHT.to(x)), lambda op, x: op(_LEFT.to(x), x.t())),
    "addmm": _of((6,), lambda op, x: op(_BIAS.to(x), x, _RIGHT.to(x))),
    **{f"{name}.Tensor": _binary(alpha=-2) for name in ("add", "sub", "rsub")},
    **{f"{name}.Scalar": _unary((0.7, -2)) for name in ("add", "sub", "rsub")},
    "bmm": _of(_IMAGE, lambda op, x: op(x[0], _STACK.to(x))[None]),
    "convolution_backward": _of(
        _IMAGE,
        lambda op, x: _first(
            op(
                x,
                torch.zeros(1, 1, 4, 4).to(x),
                _KERNEL.to(x),
                None,
                [1, 1],
                [1, 1],
                [1, 1],
                False,
                [0, 0],
                1,
                [True, False, False],
            )
        ),
    ),
    **{
        f"fft_{name}{suffix}": _transform(f"{name}{suffix}")
        for name in ("fft", "ifft", "rfft", "irfft")
        for suffix in ("", "2", "n")
    },
    **{name: _unary(((2, 3),)) for name in ("fft_fftshift", "fft_ifftshift")},
    **{
        name: _of(_IMAGE, lambda op, x: torch.view_as_real(op(_complex(x)).resolve_conj()))
        for name in ("conj", "_conj", "resolve_conj")
    },
    **{
        name: _of(_IMAGE, lambda op, x: op(_complex(x)))
        for name in ("real", "imag", "view_as_real")
    },
    "view_as_complex": _of(
        _IMAGE, lambda op, x: torch.view_as_real(op(torch.stack([x, 2 * x.flip(2)], -1)))
    ),
    "neg": _unary(),
    "mul.Tensor": _of(
        _IMAGE,
        lambda op, x: op(x, _FACTORS.to(x)),
        lambda op, x: op(_WIDE.to(x), x),
        lambda op, x: op(x, torch.tensor(-1.5)),
    ),
    "mul.Scalar": _unary((-0.5,), (3.0,)),
    "div.Tensor": _of(
        _IMAGE,
        lambda op, x: op(x, _FACTORS.to(x).abs() + 0.1),
        lambda op, x: op(x, -_WIDE.to(x).abs()),
        lambda op, x: op(x, torch.tensor(-1.5)),
    ),
    "div.Scalar": _unary((-0.5,), (3.0,)),
    "lerp.Scalar": _of(_IMAGE, *[lambda op, x, c=c: op(x, x.flip(2), c) for c in (0.3, -0.5, 2.0)]),
    "lerp.Tensor": _of(_IMAGE, lambda op, x: op(x, 3 * x.flip(2), torch.tensor(0.3).to(x))),
    **{name: _binary() for name in ("maximum", "minimum", "max.other", "min.other")},
    "where.self": _of(
        _IMAGE,
        lambda op, x: op(_MASK, x, 2 * x.flip(2)),
        lambda op, x: op(_MASK, x[:, :1], 2 * x),
        lambda op, x: op(_MASK, _MATRIX.to(x), x),
    ),
    "where.ScalarOther": _of(_IMAGE, lambda op, x: op(_MASK, 2 * x, 0.5)),
    "where.ScalarSelf": _of(_IMAGE, lambda op, x: op(_MASK, 0.5, 2 * x)),
    "masked_fill.Scalar": _of(
        _IMAGE, lambda op, x: op(x, _MASK, 0.5), lambda op, x: op(x[:, :1], _MASK, 0.5)
    ),
    "masked_fill.Tensor": _of(_IMAGE, lambda op, x: op(x, _MASK, torch.tensor(0.5).to(x))),
    **{name: _unary() for name in ("alias", "detach", "clone", "contiguous", "lift_fresh_copy")},
    "view": _unary(((-1, 8, 4),)),
    "reshape": _unary(((-1, 8, 4),)),
    "_unsafe_view": _unary(((-1, 8, 4),)),
    "unflatten": _unary((2, (2, 2))),
    "flatten": _unary((1,), (2, 3)),
    "permute": _unary(((0, 3, 1, 2),)),
    "transpose": _unary((1, 3)),
    "t": _of((6,), lambda op, x: op(x)),
    "mT": _unary(),
    "numpy_T": _of((6,), lambda op, x: op(x)),
    "squeeze": _of((1, 4), lambda op, x: op(x)),
    "squeeze.dim": _of((1, 4), lambda op, x: op(x, 1)),
    "squeeze.dims": _of((1, 4), lambda op, x: op(x, (1, 2))),
    "unsqueeze": _unary((1,)),
    "movedim": _unary((1, 3)),
    "movedim.intlist": _unary(((1, 2), (2, 3))),
    "swapaxes": _unary((1, 3)),
    "flip": _unary(((2,),), ((1, 3),)),
    "roll": _unary(((1,), (2,)), ((2, 1), (1, 3))),
    "rot90": _unary((1, (2, 3)), (2, (1, 2))),
    "pixel_shuffle": _of((4, 2, 2), lambda op, x: op(x, 2)),
    "pixel_unshuffle": _unary((2,)),
    "channel_shuffle": _of((4, 2, 2), lambda op, x: op(x, 2)),
    "native_channel_shuffle": _of((4, 2, 2), lambda op, x: op(x, 2)),
    "slice": _unary((2, 1, 4, 2), (3, None, 2)),
    "select": _unary((1, 0), (3, -1)),
    "narrow": _unary((2, 1, 2)),
    "diagonal": _unary((0, 2, 3), (1, 1, 2)),
    "tril": _unary((0,), (-1,)),
    "triu": _unary((0,), (1,)),
    **{name: _unary((2, 1)) for name in ("chunk", "unsafe_chunk", "tensor_split.sections")},
    "split.Tensor": _unary((1, 2)),
    "split.sizes": _unary(((1, 3), 2)),
    "split_with_sizes": _unary(((1, 3), 2)),
    "unbind": _unary((1,)),
    "cat": _of(
        _IMAGE,
        lambda op, x: op([x, 2 * x, torch.ones_like(x)], 1),
        lambda op, x: op([x, x.flip(2)], 3),
    ),
    "stack": _of(_IMAGE, lambda op, x: op([x, -x.flip(2)], 2)),
    **{
        name: _of(_IMAGE, lambda op, x: op([x, -x.flip(2)]))
        for name in ("hstack", "vstack", "dstack")
    },
    "fill.Scalar": _of(_IMAGE, lambda op, x: x + op(x.clone(), 3.0)),
    "fill.Tensor": _of(_IMAGE, lambda op, x: x + op(x.clone(), torch.tensor(-2.0))),
    "zero": _of(_IMAGE, lambda op, x: x + op(x.clone())),
    "einsum": _of(
        _IMAGE,
        lambda op, x: op("bchw->bwhc", [x]),
        lambda op, x: op("bchw,dh->bcdw", [x, _ROWS.to(x)]),
        lambda op, x: op("chw, bchw -> bcwh", [_CUBE.to(x), x]),
        lambda op, x: op("bchw,chk->bckw", [x, _STACK.to(x)]),
        lambda op, x: op("bchw,chwk->bk", [x, _BLOCK.to(x)]),
    ),
    "diagonal_scatter": _of(
        _IMAGE,
        lambda op, x: op(x, 3 * x[..., 0], 0, 2, 3),
        lambda op, x: op(torch.zeros_like(x), x[..., :3, 0], 1, 2, 3),
    ),
    "index": _of(
        _IMAGE,
        lambda op, x: op(x, [None, torch.tensor([0, 1, 0, -1])]),
        lambda op, x: op(x, [None, None, torch.tensor([[0], [2]]), torch.tensor([1, 1, 3])]),
    ),
    "index_select": _unary((1, torch.tensor([1, 1, 0]))),
    "im2col": _unary((3, 1, 1, 1), ((2, 3), (2, 1), (0, 2), (2, 1))),
    "col2im": _of(
        (8, 9), lambda op, x: op(x, (4, 4), 2, 1, 0, 1), lambda op, x: op(x, (6, 6), 2, 1, 0, 2)
    ),
    "unfold": _unary((2, 3, 1), (3, 2, 2)),
    "sort": _unary((1,), (3, True)),
    "sort.stable": _of(_IMAGE, lambda op, x: op(x, stable=True, dim=2)[0]),
    "topk": _unary((2, 3), (1, 1, False)),
    "median": _of(_IMAGE, lambda op, x: op(x).reshape(1, 1)),
    "median.dim": _unary((1,), (3,)),
    "kthvalue": _unary((2, 3)),
    "logsumexp": _unary(((1,),), ((2, 3), True)),
    "linalg_vector_norm": _unary((2, (1,)), (float("inf"), (2, 3))),
    "diag_embed": _unary(),
    "slice_scatter": _of(
        _IMAGE,
        lambda op, x: op(x, 3 * x[..., :2], 3, 0, 4, 2),
        lambda op, x: op(torch.zeros_like(x), x[:, :, :2], 2, 1, 3),
    ),
    "select_scatter": _of(_IMAGE, lambda op, x: op(x, -2 * x[:, :, 0], 2, 1)),
    "copy": _of(
        _IMAGE,
        lambda op, x: op(x, x[:, :1] * 2),
        lambda op, x: x + op(x, torch.ones(4).to(x)),
    ),
    **{name: _of(_IMAGE, lambda op, x: x + op(x)) for name in ("zeros_like", "ones_like")},
    "full_like": _of(_IMAGE, lambda op, x: x * op(x, -1.5)),
    **{name: _of(_IMAGE, lambda op, x: x + op(x, (4,))) for name in ("new_zeros", "new_ones")},
    "new_full": _of(_IMAGE, lambda op, x: x - op(x, (4,), 2.5)),
    "expand": _of(_IMAGE, lambda op, x: op(x[:, :1], (-1, 3, 4, 4))),
    "expand_as": _of(_IMAGE, lambda op, x: op(x[:, :1], x.new_zeros(len(x), 3, 4, 4))),
    "repeat": _unary(((1, 2, 1, 3),), ((2, 1, 1, 1, 1),)),
    "tile": _unary(((1, 2, 1, 2),)),
    "repeat_interleave": _unary((3, 2)),
    "constant_pad_nd": _unary(((1, 2), 3.0), ((-1, 1, 0, -1), 0.0)),
    "pad": _unary(
        *[((1, 2, 0, 1), mode) for mode in ("constant", "reflect", "replicate", "circular")]
    ),
    "leaky_relu": _unary((2.5,), (-0.5,), ()),
    "elu": _unary((2.0,), (0.3, 1.7, 2.0), (-1.0,), ()),
    "celu": _unary((0.4,), (3.0,), ()),
    "softplus": _unary((2.0, 30.0), ()),
    "hardtanh": _unary((-3.0, 0.5), ()),
    "softshrink": _unary((1.5,), ()),
    **{
        name: _unary()
        for name in (
            *("relu", "relu6", "selu", "silu", "mish", "hardswish", "hardsigmoid", "sigmoid"),
            *("tanh", "log_sigmoid", "abs", "sin", "cos", "atan", "asinh", "erf", "gelu"),
        )
    },
    "clamp": _unary((-1.0, 0.5), (None, 0.5), (0.0,)),
    "clamp_min": _unary((-0.3,)),
    "clamp_max": _unary((0.3,)),
    "clamp.Tensor": _of(_IMAGE, lambda op, x: op(x, None, _FACTORS.to(x))),
    "clamp_min.Tensor": _of(_IMAGE, lambda op, x: op(x, _FACTORS.to(x))),
    "clamp_max.Tensor": _of(_IMAGE, lambda op, x: op(x[:, :1], _FACTORS.to(x))),
    "prelu": _of(_IMAGE, lambda op, x: op(x, torch.tensor([-1.7, 0.5]).to(x))),
    "_prelu_kernel": _of(
        _IMAGE, lambda op, x: op(x, torch.tensor([2.5, 0.5]).to(x).view(1, 2, 1, 1))
    ),
    **{
        name: _unary((0.5, False))
        for name in ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
    },
    "_to_copy": _of(_IMAGE, lambda op, x: op(op(x, dtype=torch.float64), dtype=x.dtype)),
    "to.dtype": _of(_IMAGE, lambda op, x: op(op(x, torch.float64), x.dtype)),
    "to.device": _of(_IMAGE, lambda op, x: op(op(x, x.device, torch.float64), x.device, x.dtype)),
    **{
        name: _of(_IMAGE, lambda op, x: op(op(x, torch.zeros((), dtype=torch.float64)), x))
        for name in ("to.other", "type_as")
    },
    "to.dtype_layout": _of(_IMAGE, lambda op, x: op(op(x, dtype=torch.float64), dtype=x.dtype)),
    "sum": _of(_IMAGE, lambda op, x: op(x)[None]),
    "sum.dim_IntList": _unary(((2, 3), True), ((1,),)),
    "mean": _of(_IMAGE, lambda op, x: op(x)[None]),
    "mean.dim": _unary(((2, 3), True), ((1,),)),
    "amax": _unary(((2,), True), ((1, 3),), ((),)),
    "amin": _unary(((2,), True), ((1, 3),)),
    "max.dim": _unary((1, True), (3,)),
    "min.dim": _unary((1, True), (3,)),
    "softmax": _unary((1,), (3,)),
    "_softmax": _unary((1, False)),
    "_native_batch_norm_legit_no_training": _normalised(0.1, 1e-3),
    "batch_norm": _normalised(False, 0.1, 1e-3, False),
    "native_batch_norm": _normalised(False, 0.1, 1e-3),
}


def _cases(operator: Any) -> list[Case]:
    name = _name(operator)
    return CASES.get(name, CASES.get(name.split(".")[0], []))


def test_every_rule_has_a_case() -> None:
    assert not {_name(operator) for operator in OPERATORS if not _cases(operator)}


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The operators whose rules are applied."""
    found: set[str] = set()

    def watched(operator: Any, rule: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(rule)
        def applied(*args: Any, **kwargs: Any) -> Any:
            found.add(_name(operator))
            return rule(*args, **kwargs)

        return applied

    for operator, rule in list(OPERATORS.items()):
        monkeypatch.setitem(OPERATORS, operator, watched(operator, rule))
    return found


@pytest.mark.parametrize("operator", sorted(OPERATORS, key=str), ids=_name)
def test_an_operator_is_bounded_above_its_dense_matrix(operator: Any, met: set[str]) -> None:
    name, measured = _name(operator), 0.0
    cases = _cases(operator)[:1] if name in REPLACED else _cases(operator)
    for shape, computed in cases:
        verdict = judged(_Network(operator, computed).eval(), torch.randn(1, *shape))
        assert not verdict.fault
        assert name in REPLACED or not verdict.refusal
        measured = max(measured, verdict.measured)
    assert name in REPLACED or measured > 0
    assert (name in met) != (name in REPLACED)


def test_the_real_part_of_complex_numbers_is_not_taken_for_themselves() -> None:
    def computed(op: Any, x: Tensor) -> Tensor:
        w = torch.fft.fft(x, norm="ortho")
        return torch.view_as_real(w - op(w, x.dtype))

    verdict = judged(_Network(aten.to.dtype, computed), torch.randn(1, 4))
    assert not verdict.fault
    assert verdict.measured == pytest.approx(1.0, rel=1e-6)
