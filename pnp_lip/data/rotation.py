"""Where a sinogram sees the axis of rotation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["axis_of_rotation"]

#: How much the mass of complete projections of one object may vary between views, of its mean.
_VARIATION = 0.05


def axis_of_rotation(sinogram: Tensor, angles: Tensor) -> tuple[float, float] | None:
    r"""The row of the axis of rotation, and its standard error, from centres of mass.

    .. math:: c(\theta) = r + \bar x\cos\theta + \bar y\sin\theta

    is the centre of mass of the parallel projection at the angle :math:`\theta` of an object whose own
    centre of mass is :math:`(\bar x, \bar y)`, if each projection sees all of it: :math:`r`, the row of the
    axis, is found by least squares.

    Parameters
    ----------
    sinogram
        line integrals ``[D, V]``, a row for each detector pixel.
    angles
        of the ``V`` views in degrees.

    Returns
    -------
    tuple of float or None
        row, counted from 0, and standard error in rows; ``None`` if there are fewer than five views, or
        the views differ in their mass, so that they cannot all have seen the whole object.

    Examples
    --------
    >>> import torch
    >>> from pnp_lip.data.rotation import axis_of_rotation
    >>> point = torch.zeros(9, 6)
    >>> point[5] = 1  # seen in one row from everywhere: it lies on the axis
    >>> row, error = axis_of_rotation(point, torch.arange(6) * 30.0)
    >>> round(row, 6), round(error, 6)
    (5.0, 0.0)
    """
    numbers, theta = sinogram.double(), torch.deg2rad(angles.double())
    mass = numbers.sum(0)
    alike = (mass - mass.mean()).abs() < _VARIATION * mass.mean()  # and the mean is positive
    if len(theta) < 5 or not bool(alike.all()):
        return None
    rows = torch.arange(len(numbers), dtype=torch.float64, device=numbers.device)
    centres = rows @ numbers / mass
    design = torch.stack([torch.ones_like(theta), theta.cos(), theta.sin()], dim=1)
    inverse = torch.linalg.pinv(design)
    found = inverse @ centres
    misfit = centres - design @ found
    error = misfit.norm() / math.sqrt(len(theta) - 3) * inverse[0].norm()
    return float(found[0]), float(error)
