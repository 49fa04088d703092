"""A certificate verified again, without the code that made it.

1. the file is complete, and every entry has its type and range;
2. the weights hash to what the certificate says;
3. every bound of a weight is proved again from its stored cells, in ball arithmetic;
4. the bounds are composed again, in rational arithmetic, and the sentences say these numbers;
5. the witness attains its gain, if the network is at hand, and does not contradict the bound.

What is not verified again is listed in the answer.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pnp_lip.checker.architecture import (
    Affine,
    Chain,
    Entrywise,
    Plan,
    Relaxation,
    Step,
    of_network,
    of_state,
)
from pnp_lip.checker.composition import (
    Claim,
    in_sequence,
    of_entrywise,
    of_gradient_step,
    of_linear,
    of_relaxation,
)
from pnp_lip.checker.file import Layer, Stored, StoredWitness, read_certificate
from pnp_lip.checker.layer import CertificateRejected, check_layer
from pnp_lip.plain_modules import network_kind
from pnp_lip.weights import weight_hash

__all__ = ["Confirmation", "check_certificate"]

#: Relative tolerance for a gain that is computed again in float64.
_GAIN_TOLERANCE = 1e-9
#: What nothing here verifies, as it is called in the file.
_UNCHECKED = ("rule and execution of the network and of its layers", "gap", "versions")


class _Certificate(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Confirmation:
    """A certificate that holds.

    Attributes
    ----------
    upper, averagedness, lower
        what was verified.
    unchecked
        entries of the file that were only read, not verified.
    """

    upper: float
    averagedness: float | None
    lower: float
    unchecked: tuple[str, ...]


def check_certificate(
    certificate: str | Path | dict[str, Any] | _Certificate,
    subject: nn.Module | Mapping[str, Tensor],
) -> Confirmation:
    """Verify a certificate again, independently of the prover.

    Parameters
    ----------
    certificate
        a file written by ``Certificate.save``, its content, or the value.
    subject
        the network, or the state dict of a ``LipschitzDenoiser`` (or of one that is
        relaxed). With a state dict the class is the one that the certificate names.

    Returns
    -------
    Confirmation
        What was verified, and what was not.

    Raises
    ------
    CertificateRejected
        with the reason, for whatever could not be proved again.
    ImportError
        python-flint is not installed.

    Examples
    --------
    >>> from pnp_lip import LipschitzDenoiser, certify
    >>> denoiser = LipschitzDenoiser(1, depth=2, nf=4, kernel_size=3, pretrained=None)
    >>> bool(check_certificate(certify(denoiser), denoiser))
    True
    """
    known = isinstance(certificate, (str, Path, dict))
    data = read_certificate(certificate if known else certificate.to_dict())  # type: ignore[arg-type, union-attr]
    network = subject if isinstance(subject, nn.Module) else None
    state = subject.state_dict() if isinstance(subject, nn.Module) else dict(subject)
    found = weight_hash(state)
    if found != data.sha256:
        raise CertificateRejected(
            f"the weights hash to {found[:12]}..., the certificate is about {data.sha256[:12]}...: they "
            f"are not the ones that were certified"
        )
    if network is not None and data.network != network_kind(network):
        raise CertificateRejected(
            f"the certificate is about a '{data.network}', the network is a '{network_kind(network)}'"
        )
    plan = of_state(state, data.network) if network is None else of_network(network)
    _Check(data).run(plan)
    _check_claims(data)
    _check_witness(data, network)
    left = _UNCHECKED if network is not None else (*_UNCHECKED, "gain of the witness")
    return Confirmation(data.upper, data.averagedness, data.lower, left)


class _Check:
    """Steps 3 and 4 of the module's docstring; layers are used up in order."""

    def __init__(self, data: Stored) -> None:
        self.data, self.layers = data, list(data.layers)

    def run(self, plan: Plan) -> None:
        whole = self._claim(plan)
        if self.layers:
            raise CertificateRejected(
                f"the certificate has a layer '{self.layers[0].name}', the network has not"
            )
        _require_claim(self.data, whole, "the network")

    def _claim(self, plan: Plan) -> Claim:
        if isinstance(plan, Chain):
            return in_sequence([self._claim(part) for part in plan.parts])
        if isinstance(plan, Relaxation):
            inner = self._claim(plan.part)
            if min(plan.weights) < 0:
                raise CertificateRejected("the relaxation is negative")
            claims = [of_relaxation(inner, weight) for weight in plan.weights]
            return max(claims, key=lambda claim: (claim.upper, claim.alpha or 0))
        layer = self._next(plan.name)
        claim = self._leaf(plan, layer)
        _require_claim(layer, claim, f"layer '{plan.name}'")
        return claim

    def _leaf(self, plan: Step | Affine | Entrywise, layer: Layer) -> Claim:
        if isinstance(plan, Entrywise):
            if layer.bound is not None:
                raise CertificateRejected(f"layer '{plan.name}' has no weight, but a bound of one")
            return of_entrywise(plan.low, plan.high)
        if layer.bound is None:
            raise CertificateRejected(f"layer '{plan.name}' has no bound of its weight")
        arguments = plan.arguments if isinstance(plan, Affine) else {}
        try:
            check_layer(plan.weight, layer.bound, **arguments)
        except CertificateRejected as reason:
            raise CertificateRejected(f"layer '{plan.name}': {reason}") from reason
        norm = Fraction(float(layer.bound["upper"]))
        if isinstance(plan, Affine):
            return of_linear(norm)
        return of_gradient_step(norm, plan.tau, Fraction(1))

    def _next(self, name: str) -> Layer:
        if not self.layers:
            raise CertificateRejected(f"the certificate ends before layer '{name}'")
        layer = self.layers.pop(0)
        if layer.name != name:
            raise CertificateRejected(f"expected layer '{name}', found '{layer.name}'")
        return layer


def _require_claim(entry: Stored | Layer, proved: Claim, what: str) -> None:
    """The numbers of ``entry`` claim no more than what is proved."""
    if not Fraction(entry.upper) >= proved.upper:
        raise CertificateRejected(
            f"the claimed bound {entry.upper!r} of {what} is below what its layers prove, "
            f"{_decimal(proved.upper)}"
        )
    if entry.averagedness is None:
        return
    if proved.alpha is None or not Fraction(entry.averagedness) >= proved.alpha:
        shown = None if proved.alpha is None else _decimal(proved.alpha)
        raise CertificateRejected(
            f"the claimed averagedness {entry.averagedness!r} of {what} is below what its layers "
            f"prove, {shown}"
        )


def _decimal(value: Fraction) -> str:
    try:
        return repr(float(value))
    except OverflowError:
        return "more than 1e308"


def _check_claims(data: Stored) -> None:
    """The sentences speak about these weights and these numbers.

    What is proved here holds for every size, so it holds under any conditions.

    Raises
    ------
    CertificateRejected
        a sentence about something else.
    """
    sizes = f" with {', '.join(data.conditions)}" if data.conditions else ""
    network = (
        f"In real arithmetic, the {data.network or 'network'} with the weights of SHA-256 "
        f"{data.sha256[:16]}... satisfies |D(x) - D(y)| <= {data.upper!r} |x - y| for all images of "
        f"every size{sizes}, and at every noise level if it takes one."
    )
    if data.claims["network"] != network:
        raise CertificateRejected("the first claim does not say what the numbers of the file say")
    said = data.claims["execution"]
    if (said is None) != (data.execution is None):
        raise CertificateRejected("the third claim does not say what the numbers of the file say")
    if said is not None and data.execution is not None:
        relative, offset = (data.execution[key] for key in ("relative", "offset"))
        if f"by at most {relative!r} |x| + {offset!r} sqrt(pixels)" not in said:
            raise CertificateRejected(
                "the third claim does not name the execution error of the file"
            )


def _check_witness(data: Stored, network: nn.Module | None) -> None:
    if data.lower > data.upper * (1 + _GAIN_TOLERANCE):
        raise CertificateRejected(
            f"the lower bound {data.lower!r} contradicts the upper bound {data.upper!r}"
        )
    witness = data.witness
    if witness is None:
        if data.lower > 0:
            raise CertificateRejected("a lower bound is claimed without a witness")
        return
    if witness.gain != data.lower:
        raise CertificateRejected("the lower bound is not the gain of the witness")
    if network is not None:
        found = _gain(network, witness)
        if not math.isfinite(found) or found < data.lower * (1 - _GAIN_TOLERANCE):
            raise CertificateRejected(
                f"the witness has the gain {found!r}, not {data.lower!r} as claimed"
            )


@torch.no_grad()
def _gain(network: nn.Module, witness: StoredWitness) -> float:
    """``|D(x) - D(y)| / |x - y|``, computed again in float64; not a number where it cannot be."""
    exact = copy.deepcopy(network).cpu().double()
    level = [] if witness.sigma is None else [witness.sigma]
    try:
        images = [exact(image.clone(), *level) for image in (witness.x, witness.y)]
    except (RuntimeError, TypeError, ValueError) as error:
        raise CertificateRejected(f"the network does not take the witness: {error}") from error
    apart = torch.linalg.vector_norm(witness.x - witness.y)
    return float(torch.linalg.vector_norm(images[0] - images[1]) / apart)
