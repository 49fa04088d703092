"""A certificate verified again, without the code that made it.

1. the file is complete, and every entry has its type and range;
2. the weights hash to what the certificate says;
3. every bound of a weight is proved again from its stored cells, in ball arithmetic;
4. the bounds and the errors of execution are composed again, in rational arithmetic: by the theorem
   of a class, or along the graph of operators, which is exported again and must be the stored one;
   the sentences say these numbers;
5. the witness attains its gain, if the network is at hand, and does not contradict the bound.

What is not verified again is listed in the answer.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pnp_lip.checker.architecture import of_network, of_state
from pnp_lip.checker.file import Stored, StoredWitness, read_certificate
from pnp_lip.checker.proof import Proof
from pnp_lip.checker.rejection import CertificateRejected
from pnp_lip.checker.sentences import require_sentences
from pnp_lip.plain_modules import network_kind
from pnp_lip.weights import weight_hash

__all__ = ["Confirmation", "check_certificate"]

#: Relative tolerance for a gain that is computed again in float64.
_GAIN_TOLERANCE = 1e-9
#: What nothing here verifies, as it is called in the file.
_UNCHECKED = ("the texts called rule", "gap", "versions")


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
    assumed
        bounds of operators that have no rule here, on which the answer rests.
    conditions
        on sizes.
    """

    upper: float
    averagedness: float | None
    lower: float
    unchecked: tuple[str, ...]
    assumed: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()


def check_certificate(
    certificate: str | Path | dict[str, Any] | _Certificate,
    subject: nn.Module | Mapping[str, Tensor],
    *,
    progress: bool = False,
) -> Confirmation:
    """Verify a certificate again, independently of the prover.

    Parameters
    ----------
    certificate
        a file written by ``Certificate.save``, its content, or the value.
    subject
        the network, or the state dict of a ``LipschitzDenoiser`` (or of one that is
        relaxed). With a state dict the class is the one that the certificate names.
    progress
        show a bar on stderr while norms are proved again, if it takes long.

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
    proof = Proof(data, progress=progress)
    proof.run(plan)
    require_sentences(data)
    _check_witness(data, network)
    left = [*_UNCHECKED, *_calls(data), *([] if network is not None else ["gain of the witness"])]
    assumed = tuple(proof.ledger.assumed)
    return Confirmation(
        data.upper, data.averagedness, data.lower, tuple(left), assumed, data.conditions
    )


def _calls(data: Stored) -> list[str]:
    """Graphs speak about the ways of calling that they were made for."""
    kinds = dict.fromkeys(
        "an image alone" if g.kind == "none" else f"'{g.level}' as a {g.kind}" for g in data.graphs
    )
    return [f"ways of calling the network other than with {', '.join(kinds)}"] if kinds else []


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
