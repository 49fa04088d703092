"""A certificate verified again, without the code that made it.

1. the weights hash to what the certificate says;
2. every bound of a weight is proved again from its stored cells, in ball arithmetic;
3. the bounds are composed again, in rational arithmetic;
4. the witness attains its gain, if the network is at hand, and does not contradict the bound.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pnp_lip.certifier.certificate import FORMAT, Certificate
from pnp_lip.certifier.witness import gain
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
from pnp_lip.checker.layer import CertificateRejected, check_layer
from pnp_lip.weights import weight_hash

__all__ = ["check_certificate"]

#: Relative tolerance for a gain that is computed again in float64.
_GAIN_TOLERANCE = 1e-6

Data = dict[str, Any]


def check_certificate(
    certificate: str | Path | Data | Certificate, subject: nn.Module | Mapping[str, Tensor]
) -> None:
    """Verify a certificate again, independently of the prover.

    Args:
        certificate: a file written by :meth:`Certificate.save`, its content, or the value.
        subject: the network, or the state dict of a ``LipschitzDenoiser`` (or of one that is
            relaxed). With a state dict the class is the one that the certificate names.

    Raises:
        CertificateRejected: with the reason, for whatever could not be proved again.
        ImportError: python-flint is not installed.
    """
    data = _read(certificate)
    network = subject if isinstance(subject, nn.Module) else None
    state = subject.state_dict() if isinstance(subject, nn.Module) else dict(subject)
    found = weight_hash(state)
    if found != data.get("sha256"):
        raise CertificateRejected(
            f"the weights hash to {found[:12]}..., the certificate is about "
            f"{str(data.get('sha256'))[:12]}...: they are not the ones that were certified"
        )
    plan = of_state(state, data["network"]) if network is None else of_network(network)
    try:
        _Check(data).run(plan)
    except (KeyError, TypeError, AttributeError) as problem:
        raise CertificateRejected(f"the certificate cannot be read: {problem!r}") from problem
    _check_witness(data, network)


def _read(certificate: str | Path | Data | Certificate) -> Data:
    if isinstance(certificate, Certificate):
        certificate = certificate.to_dict()
    if not isinstance(certificate, dict):
        try:
            certificate = json.loads(Path(certificate).read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise CertificateRejected(f"not a certificate: {error}") from error
    if not isinstance(certificate, dict) or certificate.get("format") != FORMAT:
        raise CertificateRejected(f"not a certificate: expected the format '{FORMAT}'")
    return certificate


class _Check:
    """Steps 2 and 3 of the module's docstring; layers are used up in order."""

    def __init__(self, data: Data) -> None:
        self.data, self.layers = data, list(data["layers"])

    def run(self, plan: Plan) -> None:
        whole = self._claim(plan)
        if self.layers:
            raise CertificateRejected(
                f"the certificate has a layer '{self.layers[0]['name']}', the network has not"
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

    def _leaf(self, plan: Step | Affine | Entrywise, layer: Data) -> Claim:
        if isinstance(plan, Entrywise):
            return of_entrywise(plan.low, plan.high)
        bound = layer["bound"]
        if not isinstance(bound, dict):
            raise CertificateRejected(f"layer '{plan.name}' has no bound of its weight")
        arguments = plan.arguments if isinstance(plan, Affine) else {}
        try:
            check_layer(plan.weight, bound, **arguments)
        except CertificateRejected as reason:
            raise CertificateRejected(f"layer '{plan.name}': {reason}") from reason
        norm = Fraction(float(bound["upper"]))
        if isinstance(plan, Affine):
            return of_linear(norm)
        return of_gradient_step(norm, plan.tau, Fraction(1))

    def _next(self, name: str) -> Data:
        if not self.layers:
            raise CertificateRejected(f"the certificate ends before layer '{name}'")
        layer: Data = self.layers.pop(0)
        if layer["name"] != name:
            raise CertificateRejected(f"expected layer '{name}', found '{layer['name']}'")
        return layer


def _require_claim(entry: Data, proved: Claim, what: str) -> None:
    """The numbers of ``entry`` claim no more than what is proved."""
    upper, averagedness = entry["upper"], entry["averagedness"]
    if not isinstance(upper, float) or not Fraction(upper) >= proved.upper:
        raise CertificateRejected(
            f"the claimed bound {upper!r} of {what} is below what its layers prove, "
            f"{float(proved.upper)!r}"
        )
    if averagedness is None:
        return
    if proved.alpha is None or not Fraction(averagedness) >= proved.alpha:
        shown = None if proved.alpha is None else float(proved.alpha)
        raise CertificateRejected(
            f"the claimed averagedness {averagedness!r} of {what} is below what its layers prove, "
            f"{shown!r}"
        )


def _check_witness(data: Data, network: nn.Module | None) -> None:
    lower = data["lower"]
    if not isinstance(lower, float) or not lower <= data["upper"] * (1 + _GAIN_TOLERANCE):
        raise CertificateRejected(f"the lower bound {lower!r} contradicts the upper bound")
    if data["witness"] is None:
        if lower > 0:
            raise CertificateRejected("a lower bound is claimed without a witness")
        return
    witness = Certificate.from_dict(data).witness
    assert witness is not None
    if witness.gain != lower:
        raise CertificateRejected("the lower bound is not the gain of the witness")
    if network is None:
        return
    exact = copy.deepcopy(network).cpu().double()
    level = [] if witness.sigma is None else [witness.sigma]
    found = gain(lambda image: exact(image, *level), witness.x, witness.y)
    if not torch.isfinite(torch.tensor(found)) or found < lower * (1 - _GAIN_TOLERANCE):
        raise CertificateRejected(f"the witness has the gain {found!r}, not {lower!r} as claimed")
