"""How many small changes of the proving rooms the tests notice.

    python -m benchmarks.mutation --record          (once, and after tests were added)
    python -m benchmarks.mutation [--room NAME ...] [--count 100]

Mutants are made with the operators of mutmut, a seeded sample of them for each room. A mutant is *killed*
if one of the tests that enter the mutated function fails or takes four times as long as all of them
together. What is not mutated is said in ``benchmarks/mutants/sites.py``; survivors that change nothing a
test could observe are listed with the reason in ``benchmarks/mutants/equivalent.json`` and not counted.
Both steps stop after ``--minutes`` and go on where they stopped; what was found is kept in ``--state``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Benchmark, Recording
from benchmarks.markdown import table
from benchmarks.mutants import Mutant, Session
from benchmarks.mutants.run import KILLED, NOT_ENTERED, NOT_REPLACEABLE, SURVIVED, TIMEOUT
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
_EQUIVALENT = Path(__file__).with_name("mutants") / "equivalent.json"


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


class _State:
    """What was found so far, in one file for each kind of finding."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, name: str) -> dict[str, Any]:
        path = self._folder / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def write(self, name: str, found: dict[str, Any]) -> None:
        write_text(self._folder / f"{name}.json", json.dumps(found, indent=1) + "\n")


def record_tests(options: argparse.Namespace) -> None:
    """What every test enters, and how long it takes; files that changed since are recorded anew."""
    state, tests = _State(options.state), options.tests or files_of_tests()
    paths = [path for room in ROOMS for path in files_of(room)]
    recorded = state.read("tests")
    missing = [file for file in tests if recorded.get(file, {}).get("text") != _text(file)]

    def work(session: Session) -> None:
        end = time.monotonic() + 60 * options.minutes
        for file in missing:
            recorded[file] = {"text": _text(file), "tests": session.record(file)}
            state.write("tests", recorded)
            print(f"{file}: {len(recorded[file]['tests'])} tests", flush=True)
            if time.monotonic() > end:
                print("stopped; call again for the others", flush=True)
                return

    if missing:
        Session(ROOT, paths, missing).run(work)


def _text(file: str) -> str:
    return hashlib.sha256((ROOT / file).read_bytes()).hexdigest()


def attack(room: str, options: argparse.Namespace) -> dict[str, Any]:
    """Verdicts of the drawn mutants of a room; the row of the record."""
    from benchmarks.mutants.sites import mutants_of  # needs mutmut, which only this work does

    state, paths = _State(options.state), files_of(room)
    everything = [mutant for path in paths for mutant in mutants_of(ROOT, path)]
    drawn = random.Random(options.seed).sample(everything, len(everything))
    recorded = state.read("tests")
    known = {test: seen for file in recorded.values() for test, seen in file["tests"].items()}
    verdicts = state.read(room)
    if options.again:
        verdicts = {
            name: found for name, found in verdicts.items() if found[0] in (KILLED, TIMEOUT)
        }

    def work(session: Session) -> None:
        end = time.monotonic() + 60 * options.minutes
        for mutant in _sample(drawn, verdicts, options.count):
            if time.monotonic() > end:
                print("stopped; call again for the others", flush=True)
                return
            verdicts[_key(mutant)] = session.verdict(mutant)
            state.write(room, verdicts)
            print(mutant.line, mutant.name, *verdicts[_key(mutant)], sep=" | ", flush=True)

    if any(True for _ in _sample(drawn, verdicts, options.count)):
        Session(ROOT, paths, sorted(recorded), known).run(work)
    return _row(everything, drawn, verdicts, options.count)


def _key(mutant: Mutant) -> str:
    return f"{mutant.number} {mutant.name}"


def _sample(drawn: list[Mutant], verdicts: dict[str, Any], count: int) -> Any:
    """Those without a verdict among the first that can be replaced."""
    seen = 0
    for mutant in drawn:
        found = verdicts.get(_key(mutant))
        if found is None:
            yield mutant
            found = verdicts.get(_key(mutant), (SURVIVED,))
        seen += found[0] != NOT_REPLACEABLE
        if seen >= count:
            return


def _row(
    everything: list[Mutant], drawn: list[Mutant], verdicts: dict[str, Any], count: int
) -> dict[str, Any]:
    reasons = json.loads(_EQUIVALENT.read_text(encoding="utf-8"))
    judged = [(m, verdicts[_key(m)][0]) for m in drawn if _key(m) in verdicts]
    judged = [(m, verdict) for m, verdict in judged if verdict != NOT_REPLACEABLE][:count]
    alive = [(m, verdict) for m, verdict in judged if verdict in (SURVIVED, NOT_ENTERED)]
    equivalent = [m.name for m, _ in alive if m.name in reasons]
    return {
        "mutants": len(everything),
        "drawn": len(judged),
        "killed": sum(verdict == KILLED for _, verdict in judged),
        "timeouts": sum(verdict == TIMEOUT for _, verdict in judged),
        "equivalent": len(equivalent),
        "survivors": [f"{m.name} ({verdict})" for m, verdict in alive if m.name not in reasons],
    }


def _scores(rows: Rows) -> str:
    """A line for each room."""
    lines = []
    for (room,), row in rows.items():
        counted, killed = row["drawn"] - row["equivalent"], row["killed"] + row["timeouts"]
        low, high = interval(killed, counted)
        share = f"{100 * killed / counted:.0f} %" if counted else "–"
        lines.append([
            f"`{room}`", str(row["mutants"]), str(row["drawn"]), str(row["equivalent"]), str(killed),
            share, f"{100 * low:.0f} to {100 * high:.0f} %",
        ])  # fmt: skip
    header = ["room", "mutants", "drawn", "equivalent", "killed", "of the others", "95 % interval"]
    return table(header, lines)


BENCHMARK = Benchmark(
    "mutation",
    __doc__,
    {"mutation": _scores},
    selecting=("room", "count", "minutes", "state", "record", "again", "tests"),
    packages=("mutmut", "libcst", "hypothesis", "pytest"),
)


def _options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    parser.add_argument("--room", nargs="*", choices=sorted(ROOMS), help="these rooms alone")
    parser.add_argument("--count", type=int, default=100, help="mutants of each room (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
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
        recording.add(room, row=attack(room, options))
    recording.close()


if __name__ == "__main__":
    main()
