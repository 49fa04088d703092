"""The root of every error that this package raises about what it was given.

An error of another class is a fault of the package, not of its user.
"""

from __future__ import annotations

__all__ = ["PnpLipError"]


class PnpLipError(Exception):
    """Something the caller can mend; the message says what was expected, what came, and the remedy."""
