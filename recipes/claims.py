"""What is proved of a denoiser, in the sentences of its certificate."""

from __future__ import annotations

from pnp_lip.certifier import Certificate, Statement

__all__ = ["claims_of"]


def claims_of(statement: Statement | None, sha256: str) -> dict[str, str] | None:
    """The claims of a certificate about the denoiser as a method applies it; ``None`` without a proof.

    Parameters
    ----------
    statement
        what is proved.
    sha256
        hash of the weights.
    """
    if statement is None:
        return None
    certificate = Certificate(statement, None, sha256, 0.0, network="denoiser as it is applied")
    claims = {name: text for name, text in certificate.claims.items() if text}
    if statement.averagedness is not None:
        claims["averagedness"] = (
            f"It is averaged with the constant {statement.averagedness!r}: "
            f"D = (1 - a) I + a N with a nonexpansive N."
        )
    return claims
