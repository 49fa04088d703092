"""Whether a physics still is what its class says."""

from __future__ import annotations

from deepinv.physics import LinearPhysics

__all__ = ["is_stock"]

#: What decides the function of a physics besides its parameters.
_FUNCTIONS = ("A", "A_adjoint", "A_adjoint_A", "U", "V", "U_adjoint", "V_adjoint")


def is_stock(physics: LinearPhysics) -> bool:
    """Whether no function of this object was replaced after the class was defined."""
    if any(name in vars(physics) for name in _FUNCTIONS):
        return False
    given = (vars(physics).get(f"_{name}") for name in ("U", "V", "U_adjoint", "V_adjoint"))
    return all(
        function is None
        or getattr(function, "__qualname__", "").startswith("DecomposablePhysics.__init__")
        for function in given
    )
