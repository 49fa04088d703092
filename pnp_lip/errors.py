"""The root of every error that this package raises about what it was given.

An error of another class is a fault of the package, not of its user.
"""

from __future__ import annotations

__all__ = ["InputError", "MissingFileError", "PnpLipError"]


class PnpLipError(Exception):
    """Something the caller can mend; the message says what was expected, what came, and the remedy."""


class InputError(PnpLipError, ValueError):
    """A value, a file or a combination of options that cannot be used."""


class MissingFileError(PnpLipError, FileNotFoundError):
    """A file or a folder that is not there; the message says what was looked for."""
