"""Processes that start with everything imported, and end when they take too long."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable

__all__ = ["forked", "limit"]

_MEMORY = 16 * 2**30
#: Seconds that a test may take beyond four times its own.
_PATIENCE = 10


def limit(seconds: float) -> None:
    """Seconds of the processor that this process has left, and a longer time on the clock."""
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    left = int(_PATIENCE + 4 * seconds)
    used = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + left, resource.RLIM_INFINITY))
    signal.alarm(10 * left)


def forked(work: Callable[[int], int]) -> tuple[int, str]:
    """The status of a process that does the work, and what it wrote."""
    read, write = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(read)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            code = work(write)
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    return status, text
