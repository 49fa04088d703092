"""Exit codes and sentences of whatever goes wrong."""

from __future__ import annotations

from pnp_lip.errors import PnpLipError

__all__ = ["FAULT", "INTERRUPTED", "NOT_CONVERGED", "UNREAD", "WRONG_INPUT", "described"]

WRONG_INPUT = 2
#: The iteration ended without converging; the result is written.
NOT_CONVERGED = 3
#: A fault of the program, as in the convention of sysexits.
FAULT = 70
INTERRUPTED = 130
#: Nobody reads the output any more, as a shell reports the signal for it.
UNREAD = 141


def described(error: BaseException) -> tuple[int, str]:
    """Exit code and sentence: a mistake of the user, the limits of the machine, or a fault of ours."""
    if isinstance(error, PnpLipError):
        return WRONG_INPUT, _sentence(error)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted, nothing was written"
    if sentence := _of_the_machine(error):
        return WRONG_INPUT, sentence
    fault = f"{type(error).__name__}: {_sentence(error)}"
    return FAULT, (
        f"a fault of pnp-lip, not of yours ({fault}); --traceback shows where, please report it"
    )


def _sentence(error: BaseException) -> str:
    """The message on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _of_the_machine(error: BaseException) -> str | None:
    """What the machine refuses: files it cannot reach or write, memory it does not have."""
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{place}"
    memory = ("can't allocate memory", "out of memory", "not enough memory")
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in memory):
        return "the memory does not suffice: take a smaller image, or denoise with --tile"
    return None
