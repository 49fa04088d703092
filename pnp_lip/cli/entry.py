"""Parse, run, and tell a mistake of the user from a fault of the program."""

from __future__ import annotations

import contextlib
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pnp_lip.cli.failure import UNREAD, WRONG_INPUT, described
from pnp_lip.cli.parser import build_parser
from pnp_lip.cli.usage import UsageError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 on success; 1 for a bound or a certificate that does not hold; 2 for wrong input; 3 where
        the iterations ran out or ended without converging (the result is written); 70 for a fault
        of this program; 130 if interrupted; 141, without a word, if nobody reads the output any
        more. Of many images the largest.

    Raises
    ------
    KeyboardInterrupt
        with ``--traceback``, if interrupted.
    """
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _let_go_of_the_output()
        return UNREAD


def _run(arguments: Sequence[str] | None) -> int:
    try:
        options = build_parser().parse_args(arguments)
    except UsageError as error:
        print(error, file=sys.stderr)
        return WRONG_INPUT
    try:
        run: Callable[[Any], int] = pkgutil.resolve_name(options.run)
        return run(options)
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        if options.traceback:
            raise
        code, sentence = described(error)
        print(f"pnp-lip {options.command}: {sentence}", file=sys.stderr)
        return code


def _let_go_of_the_output() -> None:
    """What is still to be written goes nowhere, or Python would complain when it ends."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
