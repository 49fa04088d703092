"""How many small changes of the proving rooms the tests notice.

    python -m benchmarks.mutation --record          (once, and after tests were added)
    python -m benchmarks.mutation [--room NAME ...] [--count 100] [--seed 0]

Mutants are made with the operators of mutmut, a sample of them for each room and seed. A mutant is *killed*
if one of the tests that enter the mutated function fails or takes more than four times as long as it does,
and if the same tests pass when every function of the file is replaced by itself (the control). Tests
of files that name the module or the function run first, then fast ones that enter little else; those beyond
``--seconds`` are left out, which can only spare mutants. What is not mutated is said in
``benchmarks/mutants/sites.py``; survivors that change nothing a test could observe are listed with the
reason in ``benchmarks/mutants/equivalent.json`` and not counted.

The score of a sample whose survivors were looked at says how good the tests became, and *killed at first*
how good they were; a sample of another seed says how good they are for mutants that nobody looked at. Both
steps stop after ``--minutes`` and go on where they stopped; what was found is kept in ``--state``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Benchmark, Recording
from benchmarks.markdown import table
from benchmarks.mutants import Mutant, Session
from benchmarks.mutants.findings import Findings, content, read
from benchmarks.provenance import ROOT
from benchmarks.record import Rows
from pnp_lip.files import write_text

#: Folders of the rooms.
ROOMS = {
    "norms": ("pnp_lip/norms",),
    "certifier": ("pnp_lip/certifier", "pnp_lip/certifier/operators"),
    "checker": ("pnp_lip/checker",),
    "solvers": ("pnp_lip/solvers",),
}
#: Tests of commands, training, formats and documents, which prove nothing of these rooms alone.
_OTHERS = (
    *("benchmarks", "cli", "formats", "guided_training", "images", "mnist", "outputs", "package"),
    *("readme", "recipes", "rooms", "training", "training_processes", "documentation", "examples"),
)


def files_of(room: str) -> list[str]:
    """The files of a room, from the root."""
    found = [path for folder in ROOMS[room] for path in sorted((ROOT / folder).glob("*.py"))]
    return [str(path.relative_to(ROOT)) for path in found if path.name != "__init__.py"]


def files_of_tests() -> list[str]:
    """The tests that may notice a mutant."""
    left_out = {f"test_{name}.py" for name in _OTHERS}
    found = sorted((ROOT / "tests").glob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in found if path.name not in left_out]


def interval(killed: int, drawn: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not drawn:
        return 0.0, 1.0
    z, share = 1.96, killed / drawn
    middle = share + z * z / (2 * drawn)
    half = z * math.sqrt(share * (1 - share) / drawn + z * z / (4 * drawn * drawn))
    return (middle - half) / (1 + z * z / drawn), (middle + half) / (1 + z * z / drawn)


def record_tests(options: argparse.Namespace) -> None:
    """What every test enters, and how long it takes; files that changed since are recorded anew."""
    path, tests = options.state / "tests.json", options.tests or files_of_tests()
    paths = [path for room in ROOMS for path in files_of(room)]
    recorded = read(path)
    # Of what is collected: a file may be changed while others run.
    texts = {file: content(ROOT / file) for file in tests}
    missing = [file for file in tests if recorded.get(file, {}).get("text") != texts[file]]

    def work(session: Session) -> None:
        end = time.monotonic() + 60 * options.minutes
        for file in missing:
            recorded[file] = {"text": texts[file], "tests": session.record(file)}
            options.state.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(recorded, indent=1) + "\n")
            print(f"{file}: {len(recorded[file]['tests'])} tests", flush=True)
            if time.monotonic() > end:
                print("stopped; call again for the others", flush=True)
                return

    if missing:
        Session(ROOT, paths, missing).run(work)


def drawn_of(room: str, seed: int) -> list[Mutant]:
    """The mutants of a room in the order of a seed, which changes of the code hardly change."""
    from benchmarks.mutants.sites import mutants_of  # needs mutmut, which only this work does

    def place(mutant: Mutant) -> str:
        return hashlib.sha256(f"{seed} {mutant.name}".encode()).hexdigest()

    return sorted((m for path in files_of(room) for m in mutants_of(ROOT, path)), key=place)


def attack(room: str, options: argparse.Namespace) -> dict[str, Any]:
    """Verdicts of the drawn mutants of a room; the row of the record."""
    drawn = drawn_of(room, options.seed)
    findings = Findings(ROOT, options.state, room, again=options.again)
    recorded = read(options.state / "tests.json")
    known = {test: seen for file in recorded.values() for test, seen in file["tests"].items()}

    def work(session: Session) -> None:
        end = time.monotonic() + 60 * options.minutes
        while (mutant := findings.missing(drawn, options.count)) is not None:
            if time.monotonic() > end:
                print("stopped; call again for the others", flush=True)
                return
            verdict = session.verdict(mutant)
            findings.add(mutant, verdict)
            print(mutant.line, mutant.name, verdict.outcome, verdict.test, sep=" | ", flush=True)

    if findings.missing(drawn, options.count) is not None:
        tests = sorted(file for file in recorded if (ROOT / file).is_file())
        Session(ROOT, files_of(room), tests, known, options.seconds).run(work)
    return findings.row(drawn, options.count)


def _scores(rows: Rows) -> str:
    """A line for each room and sample."""
    lines = []
    for (room, seed), row in sorted(rows.items()):
        counted, killed = row["drawn"] - row["equivalent"], row["killed"] + row["timeouts"]
        low, high = interval(killed, counted)
        numbers = [row[name] for name in ("mutants", "drawn", "equivalent", "killed_at_first")]
        share = f"{100 * killed / counted:.0f} %" if counted else "–"
        of = f"{100 * low:.0f} to {100 * high:.0f} %"
        controls = f"{row['controls']} of {killed}"
        lines.append([f"`{room}`", seed, *map(str, numbers), str(killed), controls, share, of])
    names = ["room", "seed", "mutants", "drawn", "equivalent", "killed at first", "killed"]
    return table([*names, "controls passed", "of the others", "95 % interval"], lines)


BENCHMARK = Benchmark(
    "mutation",
    __doc__,
    {"mutation": _scores},
    selecting=("room", "seed", "count", "minutes", "state", "record", "again", "tests"),
    packages=("mutmut", "libcst", "hypothesis", "pytest"),
)


def _options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    parser.add_argument("--room", nargs="*", choices=sorted(ROOMS), help="these rooms alone")
    parser.add_argument("--count", type=int, default=100, help="mutants of each room (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="of tests for each mutant (default 10)"
    )
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after these")
    parser.add_argument(
        "--state", type=Path, default=ROOT / ".mutation", help="folder of what was found"
    )
    parser.add_argument("--record", action="store_true", help="record what tests enter, and stop")
    parser.add_argument("--tests", nargs="*", help="with --record: these files of tests alone")
    parser.add_argument("--again", action="store_true", help="judge survivors once more")
    return parser.parse_args()


def main() -> None:
    options = _options(BENCHMARK.parser())
    if options.record:
        record_tests(options)
        return
    recording: Recording = BENCHMARK.start(options)
    for room in options.room or ROOMS:
        recording.add(room, str(options.seed), row=attack(room, options))
    recording.close()


if __name__ == "__main__":
    main()
