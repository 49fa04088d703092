"""Random programs of torch: no proved bound is below what a pair of inputs attains.

    python -m benchmarks.random_programs [--start 0] [--count 3000] [--free 0.1]

A program is two to five random steps on vectors, signals or images: layers with random arguments,
nonlinearities, sums, joins, views, calls in place, branches on attributes, and some that are no maps at
all. Its constant is measured by the gains of pairs of inputs along leading singular vectors of its Jacobian
at five inputs, in float64; a claimed averagedness is measured alike. *False* counts programs with a bound
or an averagedness that a pair breaks; other errors are those for which something else than a refusal was
raised. Most programs are exported for one size, which is several times faster; ``--free`` is the share of
those exported for many sizes. Rows are blocks of ``--block`` seeds; recorded ones are not run again.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

from benchmarks.harness import Benchmark
from benchmarks.markdown import table
from benchmarks.programs import RandomProgram, Verdict, judged
from benchmarks.record import Rows, read

_KINDS = ("vectors", "signals", "images")
#: Bounds over measured constants are counted below these.
_EDGES = (1.001, 1.01, 1.1, 1.5, 2.0, 3.0, 5.0, 10.0, 100.0, math.inf)


def block(start: int, size: int, free: float) -> dict[str, Any]:
    """The outcomes of programs with consecutive seeds."""
    verdicts = []
    for seed in range(start, start + size):
        kind = _KINDS[seed % len(_KINDS)]
        fixed = (seed * 0.618034) % 1 >= free
        program = RandomProgram(seed, kind, fixed=fixed)
        verdict = judged(program, program.example)
        if verdict.fault:
            print(f"seed {seed}, {kind}: {verdict.fault}", flush=True)
        verdicts.append((seed, verdict))
    proved = [verdict for _, verdict in verdicts if verdict.statement and not verdict.fault]
    faults = {str(seed): verdict.fault for seed, verdict in verdicts if verdict.fault}
    return {
        "programs": len(verdicts),
        "proved": len(proved),
        "averaged": sum(_is_averaged(verdict) for verdict in proved),
        "false": sum("claims" in fault for fault in faults.values()),
        "other errors": sum("claims" not in fault for fault in faults.values()),
        "faults": faults,
        "refused": dict(Counter(_reason(v.refusal) for _, v in verdicts if v.refusal)),
        "ratios": _counted([verdict.ratio for verdict in proved]),
    }


def _is_averaged(verdict: Verdict) -> bool:
    alpha = verdict.statement.averagedness if verdict.statement else None
    return alpha is not None and 0 < alpha < 1


def _reason(refusal: str) -> str:
    """The sentence without the names of nodes and networks; with the operator if it has no rule."""
    operator = re.search(r"\(aten\.(\w+)", refusal)
    if "has no rule" in refusal and operator:
        return f"has no rule: {operator[1]}"
    text = re.sub(r"'[^']*'( \([^)]*\))?", "…", refusal).split(":")[0]
    text = re.sub(r"\d+", "n", text)
    return re.sub(r"^(… (in|of) )*…( in … of …)?", "", text).strip()[:110]


def _counted(ratios: list[float]) -> dict[str, int]:
    """How many ratios are at most each edge, and above the one before."""
    places = [next(edge for edge in _EDGES if ratio <= edge) for ratio in ratios]
    return {f"{edge:g}": places.count(edge) for edge in _EDGES}


def _total(rows: Rows, name: str) -> int:
    return sum(row[name] for row in rows.values())


def _summary(rows: Rows) -> str:
    """Programs, proofs, refusals, and how close the bounds are."""
    programs, proved = _total(rows, "programs"), _total(rows, "proved")
    ratios: Counter[str] = sum((Counter(row["ratios"]) for row in rows.values()), Counter())
    within = dict.fromkeys(("1.01", "1.5", "3", "10"), 0)
    for edge in within:
        within[edge] = sum(count for key, count in ratios.items() if float(key) <= float(edge))
    lines = [
        ["programs", str(programs)],
        ["proved", str(proved)],
        ["of these with an averagedness below 1", str(_total(rows, "averaged"))],
        ["false bounds or averagedness", str(_total(rows, "false"))],
        ["errors that are no refusals", str(_total(rows, "other errors"))],
        ["refused", str(sum(sum(row["refused"].values()) for row in rows.values()))],
        *([f"bound ≤ {edge} × measured", _share(count, proved)] for edge, count in within.items()),
    ]
    return table(["random programs", ""], lines)


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.0f} %" if total else "–"


def _refusals(rows: Rows) -> str:
    """The reasons, the most frequent first."""
    reasons: Counter[str] = sum((Counter(row["refused"]) for row in rows.values()), Counter())
    return table(
        ["refused because it", "programs"], [[r, str(c)] for r, c in reasons.most_common(15)]
    )


BENCHMARK = Benchmark(
    "random_programs",
    __doc__,
    {"random-programs": _summary, "random-programs-refused": _refusals},
    selecting=("start", "count"),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--start", type=int, default=0, help="first seed (default 0)")
    parser.add_argument("--count", type=int, default=3000, help="programs (default 3000)")
    parser.add_argument("--block", type=int, default=50, help="programs of a row (default 50)")
    parser.add_argument(
        "--free", type=float, default=0.1, help="share with free sizes (default 0.1)"
    )
    options = parser.parse_args()
    recording = BENCHMARK.start(options)
    done = read(options.results / "random_programs.json")
    for start in range(options.start, options.start + options.count, options.block):
        if (str(start),) not in done:
            recording.add(str(start), row=block(start, options.block, options.free))
    recording.close()


if __name__ == "__main__":
    main()
