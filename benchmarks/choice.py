"""One number of a method, chosen on validation images: never at the edge of what was tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["best_inside"]

#: Values that a search may add beyond those that it starts with.
_MOST = 8


def best_inside(score: Callable[[float], float], tries: Sequence[float]) -> dict[float, float]:
    """Scores of ``tries``, continued at the same ratio until the best is neither first nor last.

    Parameters
    ----------
    score
        what is to be large, of a value.
    tries
        at least two increasing positive values.

    Returns
    -------
    dict[float, float]
        The score of every value that was tried, by increasing value.

    Raises
    ------
    ValueError
        the score still rises after eight more values.

    Examples
    --------
    >>> best_inside(lambda x: -abs(x - 8), [1, 2])
    {1: -7, 2: -6, 4.0: -4, 8.0: 0, 16.0: -8}
    """
    found = {value: score(value) for value in tries}
    for _ in range(_MOST):
        values = sorted(found)
        best = max(values, key=lambda value: found[value])
        if best == values[-1]:
            following = best * best / values[-2]
        elif best == values[0]:
            following = best * best / values[1]
        else:
            return {value: found[value] for value in values}
        found[following] = score(following)
    raise ValueError(f"the best of {sorted(found)} is still at an end: start elsewhere")
