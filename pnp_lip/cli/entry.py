"""Parse, run, and tell a mistake of the user from a fault of the program."""

from __future__ import annotations

import pkgutil
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pnp_lip.cli.parser import UsageError, build_parser
from pnp_lip.errors import PnpLipError

__all__ = ["main"]

#: Exit code of the sysexits convention for a fault of the program.
_FAULT = 70


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 on success; 1 for a bound or a certificate that does not hold; 2 for wrong input; 3 where
        the iterations ran out or ended without converging (the result is written); 70 for a fault
        of this program; 130 if interrupted.
    """
    try:
        options = build_parser().parse_args(arguments)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        run: Callable[[Any], int] = pkgutil.resolve_name(options.run)
        return run(options)
    except PnpLipError as error:
        return _failed(options, _sentence(error), 2, error)
    except KeyboardInterrupt as error:
        return _failed(options, "interrupted, nothing was written", 130, error)
    except Exception as error:
        if sentence := _of_the_machine(error):
            return _failed(options, sentence, 2, error)
        fault = f"{type(error).__name__}: {_sentence(error)}"
        text = (
            f"a fault of pnp-lip, not of yours ({fault}); --traceback shows where, please report it"
        )
        return _failed(options, text, _FAULT, error)


def _failed(options: Any, sentence: str, code: int, error: BaseException) -> int:
    if options.traceback:
        raise error
    print(f"pnp-lip {options.command}: {sentence}", file=sys.stderr)
    return code


def _sentence(error: BaseException) -> str:
    """The message on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _of_the_machine(error: Exception) -> str | None:
    """What the machine refuses: files it cannot reach or write, memory it does not have."""
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{place}"
    memory = ("can't allocate memory", "out of memory", "not enough memory")
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in memory):
        return "the memory does not suffice: take a smaller image, or denoise with --tile"
    return None
