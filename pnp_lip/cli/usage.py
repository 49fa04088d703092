"""A parser that complains in one sentence, as the commands do."""

from __future__ import annotations

import argparse
from typing import NoReturn, TypeAlias

from pnp_lip.errors import PnpLipError

__all__ = ["Parser", "Subparsers", "UsageError"]


class UsageError(PnpLipError):
    """Arguments that do not fit together; the message starts with the command."""


class Parser(argparse.ArgumentParser):
    """Raises :class:`UsageError` where argparse would leave the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message} (see {self.prog} --help)")


#: What a command adds itself to.
Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"
