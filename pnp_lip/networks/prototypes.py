r"""Classification by the nearest prototype of learned features, with the exact distance to the boundary.

For prototypes :math:`p_i` of class :math:`c(i)`, :math:`a_i(z) = \langle z, p_i\rangle - \frac12\|p_i\|^2`
is largest where :math:`p_i` is nearest, and

.. math:: s_{ij}(z) = \frac{a_i(z) - a_j(z)}{\|p_i - p_j\|}, \qquad
          h_c(z) = \max_{c(i) = c}\ \min_{c(j) \ne c}\ s_{ij}(z)

is a max-min of affine functions with gradients of length 1, a piecewise affine 1-Lipschitz function of
the kind that the paper's networks represent exactly. :math:`h_c(z) > 0` exactly where the nearest
prototype has class *c*, so at most one of them is positive, and the logits :math:`f_c = \max(h_c, 0)`
satisfy

.. math:: \|f(z) - f(z')\|_2 \le \|f(z) - f(z')\|_1 \le \|z - z'\|_2:

where the class is the same, this is the bound of :math:`h_c`; where it is not, the segment from *z* to
:math:`z'` has a point with :math:`h_c = 0`, a later or the same one with :math:`h_{c'} = 0`, and
:math:`h_c(z) + h_{c'}(z')` is at most the sum of the distances to them. Hence the prediction cannot
change within the margin itself, as its statement says to :func:`pnp_lip.networks.certified_radius`.

Voráček and Hein give the radius without features (*Provably adversarially robust nearest
prototype classifiers*, ICML 2022). Nonexpansive features in front keep it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["NearestPrototype"]

#: Entries of a table of pairs that is held at once.
_ENTRIES = 2**24


class NearestPrototype(nn.Module):
    r"""The logits :math:`f_c` of the module; it maps ``[B, features]`` to ``[B, classes]``.

    Parameters
    ----------
    prototypes
        ``[classes, count, features]``, ``count`` for each class.

    Raises
    ------
    ValueError
        another shape, or fewer than two classes.
    """

    def __init__(self, prototypes: Tensor) -> None:
        super().__init__()
        if prototypes.ndim != 3 or len(prototypes) < 2 or prototypes.shape[1] < 1:
            raise ValueError(
                f"expected prototypes of shape [classes, count, features] for at least two classes, "
                f"got {tuple(prototypes.shape)}"
            )
        self.prototypes = nn.Parameter(prototypes.detach().clone())

    def scores(self, z: Tensor) -> Tensor:
        r""":math:`a_i(z)` as ``[B, classes, count]``."""
        flat = self.prototypes.flatten(0, 1)
        scores = z @ flat.T - 0.5 * flat.square().sum(1)
        return scores.unflatten(1, self.prototypes.shape[:2])

    def class_scores(self, z: Tensor) -> Tensor:
        """The largest score of every class (``[B, classes]``): cheap, and of the same prediction."""
        return self.scores(z).amax(2)

    def forward(self, z: Tensor) -> Tensor:
        scores = self.scores(z)
        winners = scores.detach().amax(2).argmax(1)
        first, second = self._deciding_pairs(scores.detach(), winners)
        flat = scores.flatten(1)
        gap = (flat.gather(1, first[:, None]) - flat.gather(1, second[:, None]))[:, 0]
        points = self.prototypes.flatten(0, 1)
        margin = gap / torch.linalg.vector_norm(points[first] - points[second], dim=1)
        logits = torch.zeros(len(z), len(self.prototypes), dtype=z.dtype, device=z.device)
        return logits.scatter(1, winners[:, None], margin.clamp(min=0)[:, None])

    def training_margin(self, z: Tensor, labels: Tensor) -> Tensor:
        r""":math:`\min_j s_{ij}(z)` (``[B]``) for the nearest prototype *i* of the right class.

        At most :math:`h_c(z)`, and of the same sign: what training enlarges. Unlike the logits it
        says how wrong a wrong prediction is.
        """
        points = self.prototypes.flatten(0, 1)
        first, second = (points[index] for index in self._closest_pairs(z.detach(), labels))
        apart = first - second
        lengths = apart.square().sum(1).clamp(min=1e-6).sqrt()
        return ((z - 0.5 * (first + second)) * apart).sum(1) / lengths

    @torch.no_grad()
    def _closest_pairs(self, z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Flat indices (``[B]``) of *i* and *j* of :meth:`training_margin`."""
        classes, count = self.prototypes.shape[:2]
        scores = self.scores(z)
        first = labels * count + scores[torch.arange(len(z), device=z.device), labels].argmax(1)
        flat = self.prototypes.flatten(0, 1)
        halves = 0.5 * flat.square().sum(1)
        squares = torch.addmm(halves, flat[first], flat.T, alpha=-1).add_(halves[first, None])
        scores = scores.flatten(1)
        gaps = scores.gather(1, first[:, None]) - scores
        signed = gaps.div_(squares.mul_(2).clamp_(min=1e-6).sqrt_()).unflatten(1, (classes, count))
        own = torch.arange(classes, device=z.device) == labels[:, None]
        signed.masked_fill_(own[:, :, None], torch.inf)
        return first, signed.flatten(1).argmin(1)

    @torch.no_grad()
    def _deciding_pairs(self, scores: Tensor, winners: Tensor) -> tuple[Tensor, Tensor]:
        """The indices of the max and of the min, for the class of the nearest prototype."""
        classes, count = self.prototypes.shape[:2]
        flat = self.prototypes.flatten(0, 1)
        first, second = torch.empty_like(winners), torch.empty_like(winners)
        for c in range(classes):
            rows = (winners == c).nonzero()[:, 0]
            others = torch.arange(len(flat), device=flat.device)
            others = others[others // count != c]
            lengths = torch.cdist(self.prototypes[c], flat[others])
            for part in rows.split(max(1, _ENTRIES // lengths.numel())):
                if len(part):
                    pairs = scores[part, c][:, :, None] - scores[part].flatten(1)[:, None, others]
                    lowest, index = (pairs / lengths).min(2)
                    best = lowest.argmax(1)
                    first[part] = c * count + best
                    second[part] = others[index.gather(1, best[:, None])[:, 0]]
        return first, second
