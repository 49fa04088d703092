"""``sup ||P(omega)|| < s``, by refining cells until each passes the test stated in ``cover``.

A cell that fails is split. If its centre alone already rules the target out, the search stops and
reports a better lower bound, from which it can go on with a larger target: the test is monotone in
``s``, so cells that have passed stay passed. No number leaves this module unproved.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

import torch
from torch import Tensor

from pnp_lip.norms.ascent import Maximum, ascend, best_of
from pnp_lip.norms.cells import children, radius, root_bits, roots, sine_squared
from pnp_lip.norms.eigen import estimates
from pnp_lip.norms.gram import GramPolynomial, gram_polynomial
from pnp_lip.norms.kernel import Kernel
from pnp_lip.norms.smallest_eigenvalue import NO_FLOOR, proved_floor
from pnp_lip.norms.taylor import MAX_ORDER, remainder, taylor_test
from pnp_lip.norms.verified import factorisation_completes, shifted_threshold
from pnp_lip.rounding import sqrt_down

_FINEST_BITS = 50


@dataclass(frozen=True, eq=False)
class Problem:
    """One kernel, its Gram polynomial and its root cells."""

    gram: GramPolynomial
    half_degrees: tuple[float, ...]
    bits: tuple[int, ...]
    centres: Tensor

    @property
    def groups(self) -> int:
        return len(self.gram.symmetric)

    @property
    def cell_budget(self) -> int:
        """How many cells may be tried before the gap is widened: 10 to 20 s of work."""
        return max(4096, 50_000_000 // (100 + self.gram.order**2 // 4))


@dataclass(frozen=True, eq=False)
class Search:
    """Where a refinement stands: what has passed, what is open at ``level``, what was tried.

    ``open`` and the values of ``passed`` are ``[n, 1 + axes]``: group and centre.
    """

    level: int
    open: Tensor
    passed: dict[int, Tensor] = field(default_factory=dict)
    tried: int = 0

    @property
    def done(self) -> bool:
        return len(self.open) == 0


def pose(kernel: Kernel) -> Problem:
    """The covering problem of a kernel."""
    bits = root_bits(kernel.half_degrees)
    return Problem(gram_polynomial(kernel), kernel.half_degrees, bits, roots(bits))


def start(problem: Problem) -> Search:
    """The search with every root of every group open."""
    count = len(problem.centres)
    group = torch.arange(problem.groups).repeat_interleave(count)
    return Search(0, torch.cat([group[:, None], problem.centres.repeat(problem.groups, 1)], 1))


def first_maximum(problem: Problem) -> tuple[Maximum, list[float]]:
    """A lower bound of the supremum over all groups, and an estimate for every group."""
    step = max(1, 2**21 // problem.gram.order**2)
    sample = problem.centres[:: max(1, len(problem.centres) // 64)]
    seen = [
        max(
            estimates(problem.gram.at(g, part, problem.bits)).max().item()
            for part in (sample if problem.groups > 1 else sample[:1]).split(step)
        )
        for g in range(problem.groups)
    ]
    likely = sorted(range(problem.groups), key=lambda g: -seen[g])[:2]
    maxima = [best_of(problem.gram, g, problem.centres, problem.bits) for g in likely]
    return max(maxima, key=lambda maximum: maximum.square), seen


def floors(problem: Problem, seen: list[float], slack: float) -> list[tuple[float, float]]:
    """A proved floor for each group whose norm matters and whose symbol is flat."""
    if not problem.bits:
        return [NO_FLOOR] * problem.groups
    worth = 0.25 * max(seen)
    return [
        proved_floor(problem.gram, g, problem.centres, problem.bits, problem.half_degrees, slack)
        if seen[g] >= worth
        else NO_FLOOR
        for g in range(problem.groups)
    ]


def refine(
    problem: Problem,
    search: Search,
    target: float,
    floor: list[tuple[float, float]],
    known: Fraction,
) -> tuple[Search, Maximum | None]:
    """Test and split until every cell passes, or the target is seen to be out of reach.

    Parameters
    ----------
    problem
        what is to be covered.
    search
        where to go on.
    target
        ``s``.
    floor
        per group, as proved by `floors`.
    known
        the square of the best lower bound so far.

    Returns
    -------
    tuple[Search, Maximum | None]
        The search, done or stopped, and a maximum above ``known`` if the stop was due to one.
    """
    square = Fraction(target) ** 2
    while not search.done:
        passed = _test(problem, search, target, floor)
        passed = _second_chance(problem, search, square, known, passed)
        search = replace(
            search,
            open=search.open[~passed],
            passed={**search.passed, search.level: _joined(search, passed)},
            tried=search.tried + len(passed),
        )
        if search.done:
            break
        kappa = _kappa(problem, search.level)
        hopeless = 8 * kappa * square <= square - known or not problem.bits
        if hopeless or len(search.open) > 64:
            better = _probe(problem, search, known)
            if better is not None:
                return search, better
        branches = 4 if len(problem.bits) == 2 else 2 ** len(problem.bits)
        costly = search.tried + branches * len(search.open) > problem.cell_budget
        if hopeless or costly or max(problem.bits) + search.level >= _FINEST_BITS:
            return search, None
        split = children(search.open, tuple(b + search.level for b in problem.bits))
        search = replace(search, level=search.level + 1, open=split)
    return search, None


def _joined(search: Search, passed: Tensor) -> Tensor:
    before = search.passed.get(search.level)
    now = search.open[passed]
    return now if before is None else torch.cat([before, now])


def _kappa(problem: Problem, level: int) -> Fraction:
    bits = tuple(b + level for b in problem.bits)
    return sine_squared(radius(problem.half_degrees, bits))


def _test(
    problem: Problem, search: Search, target: float, floor: list[tuple[float, float]]
) -> Tensor:
    """Which open cells are proved to satisfy ``lambda_max(G(c)) < s^2 - (s^2 - lo) sin^2 r``."""
    gram, square = problem.gram, Fraction(target) ** 2
    kappa = _kappa(problem, search.level)
    bits = tuple(b + search.level for b in problem.bits)
    passed = torch.zeros(len(search.open), dtype=torch.bool)
    step = max(1, 2**18 // gram.order**2)
    for group in search.open[:, 0].unique().tolist():
        threshold = square - (square - Fraction(floor[group][1])) * kappa
        theta = shifted_threshold(threshold, gram.error, gram.order)
        if theta <= 0.0:
            continue
        for rows in (search.open[:, 0] == group).nonzero()[:, 0].split(step):
            matrices = gram.at(group, search.open[rows, 1:], bits)
            limits = torch.full((len(rows),), theta, dtype=torch.float64)
            passed[rows] = factorisation_completes(matrices, limits)
    return passed


def _second_chance(
    problem: Problem, search: Search, square: Fraction, known: Fraction, passed: Tensor
) -> Tensor:
    """`taylor_test` for what failed, where it can help: few columns, small remainder."""
    bits = tuple(b + search.level for b in problem.bits)
    if problem.gram.order > MAX_ORDER or len(bits) not in (1, 2):
        return passed
    if 4 * remainder(problem.half_degrees, bits) * square > square - known:
        return passed
    for group in search.open[~passed, 0].unique().tolist():
        rows = ((search.open[:, 0] == group) & ~passed).nonzero()[:, 0]
        for part in rows.split(4096):
            points = search.open[part, 1:]
            passed[part] = taylor_test(
                problem.gram, group, points, bits, problem.half_degrees, square
            )
    return passed


def _probe(problem: Problem, search: Search, known: Fraction) -> Maximum | None:
    """A maximum clearly above ``known``, climbed to from one of at most 16 open cells."""
    generator = torch.Generator().manual_seed(search.tried)
    chosen = torch.randperm(len(search.open), generator=generator)[:16]
    bits = tuple(b + search.level for b in problem.bits)
    seen = [
        (estimates(problem.gram.at(g, point[None], bits), 12).item(), g, point)
        for g, point in ((int(row[0]), row[1:]) for row in search.open[chosen])
    ]
    _, group, point = max(seen, key=lambda entry: entry[0])
    turns = point.double() * torch.tensor([2.0**-b for b in bits], dtype=torch.float64)
    found = ascend(problem.gram, group, 2 * torch.pi * turns)
    return found if found.square > known * (1 + Fraction(1, 10**12)) else None


def target_for(square: Fraction, gap: Fraction) -> float:
    """``(1 + gap) * lower``, to the nearest float."""
    return float((1 + gap) * Fraction(sqrt_down(square)))
