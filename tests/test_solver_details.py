"""What solvers hand on, and the numbers that decide where they look next."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from deepinv.physics import Denoising, GaussianNoise
from torch import Tensor

from pnp_lip import LipschitzDenoiser
from pnp_lip.solvers import ForwardBackward, running
from pnp_lip.solvers.data_term import _is_batch
from pnp_lip.solvers.iteration import StoppingRule
from pnp_lip.solvers.root_search import RootSearch
from pnp_lip.solvers.solution import FixedPointMap
from pnp_lip.solvers.strength import Level


def test_a_level_is_the_number_that_was_given_or_a_share_of_the_noise() -> None:
    physics = Denoising(GaussianNoise(0.25))
    assert Level.of(0.1, None).at(physics) == 0.1
    assert Level.of(1, None).at(physics) == 1.0
    for strength in (2, 0.5, 3.0):
        assert Level.of(None, strength).at(physics) == strength * 0.25
    assert Level.of(None, "auto").automatic
    assert not Level.of(None, 2).automatic
    levels = torch.tensor([0.1, 0.2])
    assert torch.equal(torch.as_tensor(Level.of(levels, None).at(physics)), levels)


def test_a_search_goes_on_by_what_the_secant_says_within_limits() -> None:
    middle = 1.6 ** (1.1 * 1.0 / 2.0)  # the secant rises by 2 for a factor of 1.6
    for rise, factor in ((0.5, 4.0), (2.0, middle), (2.95, 1.2)):
        search = RootSearch(target=1.0, first=1.0)
        search.add(math.exp(-3.0), 1)
        assert search.next == pytest.approx(1.6)
        search.add(math.exp(-3.0 + rise), 1)
        assert search.next == pytest.approx(1.6 * factor)
    low = RootSearch(target=1.0, first=1.0)
    low.add(math.e, 1)
    assert low.next == pytest.approx(1 / 1.6)
    low.add(math.exp(0.9), 1)
    assert low.next == pytest.approx(1 / 1.6 / 4)


def test_a_weight_is_one_for_each_image_only_if_there_are_as_many() -> None:
    assert _is_batch(torch.ones(3), 3)
    assert not _is_batch(torch.ones(3), 2)
    assert not _is_batch(torch.ones(1), 1)
    assert not _is_batch(torch.tensor(2.0), 3)
    assert not _is_batch(2.0, 3)


class _Ended(Exception):
    """Raised in the place of the loop."""


def test_the_loop_is_given_what_the_run_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def noted(step: Any, w: Tensor, rule: StoppingRule, **given: Any) -> None:
        seen.update(given, step=step, w=w, rule=rule)
        raise _Ended

    monkeypatch.setattr(running, "iterate", noted)
    start, step, measure = torch.zeros(1, 1, 2, 2), torch.relu, torch.abs
    exact, part = (lambda: torch.relu), (lambda rows: None)
    plan: Any = SimpleNamespace(scale=0.5, exists=False, scheme="scheme")
    with pytest.raises(_Ended):
        running.run(
            FixedPointMap(step, torch.neg, start, measure),
            SimpleNamespace(),  # type: ignore[arg-type]
            plan,
            StoppingRule(tol=0.5, max_iter=7),
            start=start,
            exact=exact,
            part=part,
            progress="label",
        )
    assert (seen["step"], seen["measure"], seen["exact"], seen["part"]) == (
        step,
        measure,
        exact,
        part,
    )
    assert (seen["scheme"], seen["progress"], seen["callback"]) == ("scheme", "label", None)
    rule = seen["rule"]
    assert (rule.tol, rule.max_iter, rule.scale, rule.exists) == (0.5, 7, 0.5, False)
    assert seen["w"] is start


def test_a_callback_is_called_with_every_iteration_and_its_image(
    small_denoiser: LipschitzDenoiser,
) -> None:
    seen: list[tuple[int, tuple[int, ...]]] = []
    solver = ForwardBackward(small_denoiser, 0.1, max_iter=4, tol=1e-12)
    y = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    solver.solve(y, Denoising(), callback=lambda k, x: seen.append((k, tuple(x.shape))))
    assert seen == [(k, (1, 1, 8, 8)) for k in (1, 2, 3, 4)]
