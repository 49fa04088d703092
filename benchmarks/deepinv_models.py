"""What the certifier says of deepinv's own models: a bound, or the operator that has none.

    python -m benchmarks.deepinv_models [--only NAME ...] [--limit SECONDS]

Every model that can be built without a download or an optional package is built small, with random weights:
a bound depends on the weights, whether there is one on the operators only. *Lip <=* is proved for
the sizes under *conditions*; a refusal names the operator. Each model has a process of its own, which ends
after ``--limit`` seconds of processor time.
"""

from __future__ import annotations

import multiprocessing
import resource
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import nn

from benchmarks.deepinv_catalogue import MODELS
from benchmarks.harness import Benchmark
from benchmarks.markdown import table
from benchmarks.record import Rows
from pnp_lip.certifier import Refusal, prove
from pnp_lip.certifier.conditions import of_sizes
from pnp_lip.cli.sizes import sizes_in_words
from pnp_lip.rounding import format_up


def outcome(build: Callable[[], nn.Module]) -> dict[str, Any]:
    """A bound with its conditions, a refusal, or why the model could not be built."""
    torch.manual_seed(0)
    try:
        model = build().eval()
    except Exception as error:
        return {
            "not built": str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        }
    start = time.process_time()
    try:
        statement = prove(model)
    except Refusal as refusal:
        return {"refused": str(refusal), "seconds": round(time.process_time() - start, 2)}
    except Exception as error:  # a fault of the certifier, which the table must show
        return {"refused": f"{type(error).__name__}: {error}"[:300], "fault": True}
    return {
        "upper": statement.upper,
        "averagedness": statement.averagedness,
        "conditions": list(of_sizes(statement.conditions)),
        "operators": len(statement.leaves()),
        "seconds": round(time.process_time() - start, 2),
    }


def limited_outcome(build: Callable[[], nn.Module], limit: int) -> dict[str, Any]:
    """The outcome in a process of its own, or that it came to none within its time."""
    forking = multiprocessing.get_context("fork")
    receiver, sender = forking.Pipe(duplex=False)
    worker = forking.Process(target=_work, args=(build, limit, sender))
    worker.start()
    sender.close()
    try:
        found: dict[str, Any] = receiver.recv()
    except EOFError:
        worker.join()
        found = {"no answer": f"none within {limit} s of processor time"}
        if worker.exitcode != -signal.SIGXCPU:
            found = {"no answer": f"the process ended with {worker.exitcode}"}
    worker.join()
    return found


def _work(build: Callable[[], nn.Module], limit: int, sender: Connection) -> None:
    """Send the outcome, unless the system ends the process before."""
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    sender.send(outcome(build))


def _outcomes(rows: Rows) -> str:
    """A line for each model that could be built."""
    lines = []
    for (name,), row in rows.items():
        if "upper" in row:
            lines.append([name, format_up(row["upper"]), sizes_in_words(row["conditions"])])
        elif "refused" in row:
            lines.append([name, "refused", row["refused"]])
        elif "no answer" in row:
            lines.append([name, "no answer", row["no answer"]])
    return table(["model, random weights", "Lip ≤", "for sizes with, or why not"], lines)


def _counts(rows: Rows) -> str:
    """How many models of each outcome, in words."""
    kinds = [
        next((k for k in ("upper", "refused", "no answer") if k in r), "") for r in rows.values()
    ]
    bounded, refused, silent = (kinds.count(kind) for kind in ("upper", "refused", "no answer"))
    return f"{bounded} are bounded, {refused} are refused, {silent} gave no answer in time"


BENCHMARK = Benchmark(
    "deepinv_models",
    __doc__,
    {"deepinv-models": _outcomes, "deepinv-models-counts": _counts},
    selecting=("only",),
    packages=("deepinv",),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--only", nargs="*", choices=sorted(MODELS), help="these models alone")
    parser.add_argument("--limit", type=int, default=120, help="seconds for each (default 120)")
    options = parser.parse_args()
    recording = BENCHMARK.start(options)
    for name in options.only or MODELS:
        recording.add(name, row=limited_outcome(MODELS[name], options.limit))
    recording.close()


if __name__ == "__main__":
    main()
