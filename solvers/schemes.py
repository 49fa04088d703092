"""The schemes of steps by the names under which solvers take them."""

from __future__ import annotations

from pnp_lip.errors import InputError
from pnp_lip.solvers.anderson import Anderson
from pnp_lip.solvers.steps import Halpern, KrasnoselskiiMann, Scheme, Steps

__all__ = ["SCHEMES", "Anderson", "Halpern", "KrasnoselskiiMann", "Scheme", "Steps", "scheme_named"]

#: The schemes by the names under which solvers take them.
SCHEMES: dict[str, type[Scheme]] = {
    "anderson": Anderson,
    "halpern": Halpern,
    "krasnoselskii-mann": KrasnoselskiiMann,
}


def scheme_named(scheme: str | Scheme) -> Scheme:
    """A scheme by its name, or the one given.

    Raises
    ------
    InputError
        an unknown name.
    """
    if isinstance(scheme, Scheme):
        return scheme
    if scheme not in SCHEMES:
        raise InputError(f"expected a scheme among {', '.join(SCHEMES)}, got {scheme!r}")
    return SCHEMES[scheme]()
