"""Parse, run, and turn every foreseeable mistake into one sentence."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pnp_lip.cli.parser import build_parser

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 on success, 1 for a bound that is not met, 2 for wrong input."""
    options = build_parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (ValueError, TypeError, OSError) as error:
        print(f"pnp-lip {options.command}: {_sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"pnp-lip {options.command}: interrupted, nothing was written", file=sys.stderr)
        return 130
    return status


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
