"""Parse, run, and tell a mistake of the user from a fault of the program."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pnp_lip.cli.failure import WRONG_INPUT, described
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
        of this program; 130 if interrupted. Of many images the largest.

    Raises
    ------
    KeyboardInterrupt
        with ``--traceback``, if interrupted.
    """
    try:
        options = build_parser().parse_args(arguments)
    except UsageError as error:
        print(error, file=sys.stderr)
        return WRONG_INPUT
    try:
        run: Callable[[Any], int] = pkgutil.resolve_name(options.run)
        return run(options)
    except (Exception, KeyboardInterrupt) as error:
        if options.traceback:
            raise
        code, sentence = described(error)
        print(f"pnp-lip {options.command}: {sentence}", file=sys.stderr)
        return code
