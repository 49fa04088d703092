r"""Confidence intervals of a difference of means, :math:`E f(X) - E f(Y)`, from independent samples.

*Student*: Welch's interval, :math:`\bar a - \bar b \pm t_\nu \sqrt{s_a^2/n + s_b^2/m}`. Its confidence is
asymptotic: it needs finite second moments and large samples, not normal values.

*Bernstein*: for values in an interval of length *R*, :math:`\pm` the sum over both samples of
:math:`\sqrt{2 s^2 \ln(8/\delta)/n} + 7 R \ln(8/\delta)/(3(n-1))`. It
holds for every sample size (Maurer and Pontil, *Empirical Bernstein bounds and sample-variance
penalization*, COLT 2009, Theorem 4, for two samples and two sides with :math:`\delta/4` each).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import stats

__all__ = ["bernstein_interval", "student_interval"]


def student_interval(
    a: Sequence[float], b: Sequence[float], confidence: float
) -> tuple[float, float]:
    """Welch's interval of the difference of the means of ``a`` and ``b``, at least two values each."""
    (mean_a, square_a), (mean_b, square_b) = _moments(a), _moments(b)
    if square_a == square_b == 0:
        return mean_a - mean_b, mean_a - mean_b
    interval = stats.ttest_ind(a, b, equal_var=False).confidence_interval(confidence)
    return float(interval.low), float(interval.high)


def bernstein_interval(
    a: Sequence[float], b: Sequence[float], confidence: float, length: float
) -> tuple[float, float]:
    """The interval of the module for values that lie in an interval of ``length``."""
    log = math.log(8 / (1 - confidence))
    (mean_a, square_a), (mean_b, square_b) = _moments(a), _moments(b)
    half = sum(
        math.sqrt(2 * square * log / count) + 7 * length * log / (3 * (count - 1))
        for square, count in ((square_a, len(a)), (square_b, len(b)))
    )
    return mean_a - mean_b - half, mean_a - mean_b + half


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Mean and unbiased variance."""
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
