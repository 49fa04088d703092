"""The sentences of a certificate, which must say what its numbers say."""

from __future__ import annotations

from pnp_lip.checker.file import Stored
from pnp_lip.checker.rejection import CertificateRejected

__all__ = ["require_sentences"]

#: The second claim.
_COMPUTATION = (
    "Every number that enters this bound was computed with its rounding errors accounted for, assuming "
    "IEEE binary64 arithmetic and a library whose Cholesky factorisation uses the classical sums."
)


def require_sentences(data: Stored) -> None:
    """The sentences are those that certificates make, about these weights and these numbers.

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
    if data.claims["computation"] != _COMPUTATION:
        raise CertificateRejected("the second claim is not the one that certificates make")
    if data.claims["execution"] != _execution_claim(data):
        raise CertificateRejected("the third claim does not say what the numbers of the file say")


def _execution_claim(data: Stored) -> str | None:
    if data.execution is None:
        return None
    return (
        f"Executed in float32, an output differs from that of a network of the first claim (with its "
        f"thresholds as computed) by at most {data.execution['relative']!r} |x| + "
        f"{data.execution['offset']!r} sqrt(pixels), in any order of summation, without TF32, Winograd "
        f"or FFT convolutions, underflow or overflow."
    )
