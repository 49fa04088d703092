r"""The weights :math:`W = \mathrm{diag}(1/s^2)` of a Gaussian data term, from deepinv's fidelities."""

from __future__ import annotations

import torch
from deepinv.optim.data_fidelity import L2, DataFidelity, StackedPhysicsDataFidelity
from torch import Tensor

from pnp_lip.errors import PnpLipError
from pnp_lip.solvers.measurements import Measurement, parts_of

__all__ = ["DataTermError", "noise_weights"]


class DataTermError(PnpLipError, TypeError):
    """A physics or a data fidelity that the method has no theorem for."""


def noise_weights(fidelity: DataFidelity | None, y: Measurement) -> list[float | Tensor]:
    """The diagonal of ``W``, for every part of the observation."""
    parts = parts_of(y)
    each: list[DataFidelity]
    if isinstance(fidelity, StackedPhysicsDataFidelity):
        each = list(fidelity.data_fidelity_list)
        if len(each) != len(parts):
            raise DataTermError(
                f"expected one data fidelity for each of {len(parts)} observations, got {len(each)}"
            )
    else:
        each = [L2() if fidelity is None else fidelity] * len(parts)
    return [_weight(one, part) for one, part in zip(each, parts, strict=True)]


def _weight(fidelity: DataFidelity, part: Tensor) -> float | Tensor:
    if type(fidelity) is not L2:
        raise DataTermError(
            f"expected deepinv's L2 data fidelity, got {type(fidelity).__name__}: PrimalDual takes "
            f"other convex fidelities"
        )
    weight = torch.as_tensor(fidelity.norm)
    if not bool((weight > 0).all() and weight.isfinite().all()):
        raise DataTermError("expected a finite noise level sigma > 0 in L2")
    if weight.numel() == 1:
        return float(weight)
    if weight.numel() == len(part):
        weight = weight.reshape(-1, *[1] * (part.ndim - 1))
    return weight.to(part.device, part.real.dtype if part.is_complex() else part.dtype)
