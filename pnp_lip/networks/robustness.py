r"""Radii within which a prediction cannot change, from a proved Lipschitz constant.

With :math:`\ell` the constant of the logits, :math:`m` the margin between the first and the second, and
the norm of the logits in which :math:`\ell` was proved, which the statement says:

* one logit, the class being its sign: :math:`|f|/\ell`;
* *l2*, :math:`\|f(x)-f(y)\|_2 \le \ell\|x-y\|_2`: :math:`m/(\sqrt 2\,\ell)`, because
  :math:`f_i - f_j = \langle e_i - e_j, f\rangle` is :math:`\sqrt 2\,\ell`-Lipschitz;
* *mixed*, :math:`|f_i(x)-f_i(y)| \le \ell\|x-y\|_2` for each *i*: :math:`m/(2\ell)`;
* *l1*, :math:`\|f(x)-f(y)\|_1 \le \ell\|x-y\|_2`, as for a
  :class:`~pnp_lip.networks.prototypes.NearestPrototype`: :math:`m/\ell`.

(Tsuzuku, Sato, Sugiyama, NeurIPS 2018.) A radius is rounded down from the logits as given; what
executing the network in floating point adds to them is not part of it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pnp_lip.certifier import Statement

__all__ = ["certified_accuracy", "certified_radius", "predict"]

#: What the constant of a difference of two logits is multiplied by.
_FACTORS = {"l2": math.sqrt(2), "mixed": 2.0, "l1": 1.0}

#: Of fewer than eight roundings in float64.
_DOWN = 1 - 2.0**-49


def predict(logits: Tensor) -> Tensor:
    """Classes ``[B]`` of ``logits`` ``[B, K]``; for ``K = 1`` whether the logit is positive."""
    _require_logits(logits)
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(dim=1)


def certified_radius(logits: Tensor, statement: Statement) -> Tensor:
    """Euclidean radii ``[B]`` (float64) of open balls in which the prediction stays.

    Parameters
    ----------
    logits
        ``[B, K]``; ``K = 1`` is a binary classifier by sign, for which all norms agree.
    statement
        what :func:`pnp_lip.certifier.prove` or :func:`prove_outputs` says of the map from input to
        logits: its constant and the norm of its outputs. A temperature belongs to the loss.

    Raises
    ------
    ValueError
        misshapen logits, something else than a statement, or a constant that is zero.

    Examples
    --------
    >>> import torch
    >>> from pnp_lip.certifier import prove
    >>> classifier = torch.nn.Identity()
    >>> logits = classifier(torch.tensor([[3.0, 1.0]]))
    >>> round(float(certified_radius(logits, prove(classifier))), 4)  # (3 - 1) / sqrt(2)
    1.4142
    """
    _require_logits(logits)
    if not isinstance(statement, Statement):
        raise ValueError(
            f"expected a Statement, which says in which norm of the logits it holds, got {statement!r}: "
            f"pass what prove(network) or prove_outputs(network) returns"
        )
    if statement.upper == 0:
        raise ValueError("expected a network that depends on its input, got the constant 0")
    values = logits.detach().double()
    if values.shape[1] == 1:
        return _DOWN * values[:, 0].abs() / statement.upper
    best = values.topk(2, dim=1).values
    return _DOWN * (best[:, 0] - best[:, 1]) / (_FACTORS[statement.outputs] * statement.upper)


def certified_accuracy(
    logits: Tensor, labels: Tensor, radius: float, statement: Statement
) -> float:
    """Share of inputs that are classified correctly in the whole closed ball of ``radius`` >= 0.

    Parameters
    ----------
    logits, statement
        as in :func:`certified_radius`.
    labels
        classes ``[B]``, 0 and 1 for ``K = 1``.
    radius
        in the units of the input; 0 gives the accuracy, except that ties count as wrong.

    Raises
    ------
    ValueError
        as in :func:`certified_radius`, or labels of another length.
    """
    radii = certified_radius(logits, statement)
    if labels.shape != radii.shape:
        raise ValueError(f"labels must have shape {tuple(radii.shape)}, got {tuple(labels.shape)}")
    right = (predict(logits) == labels.to(logits.device)) & (radii > radius)
    return float(right.double().mean())


def _require_logits(logits: Tensor) -> None:
    if logits.ndim != 2 or logits.shape[1] < 1 or not torch.isfinite(logits).all():
        raise ValueError(f"logits must be finite of shape [B, K], got {tuple(logits.shape)}")
