"""The tables of :mod:`benchmarks.problems`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.harness import Table
from benchmarks.markdown import fixed, table
from benchmarks.problem_methods import GUIDED, OTHERS, PLAIN, RIDGE, TIKHONOV, TV
from benchmarks.protocols import KERNELS, in_turn
from benchmarks.record import Key, Row, Rows

__all__ = ["TABLES"]

TITLES = {
    "deblurring": "deblurring CBSD68",
    "super-resolution": "super-resolution x2, CBSD68",
    "set3c": "deblurring Set3C",
    "mri": "MRI, one of four lines",
    "ct": "CT",
    "poisson": "deconvolution",
}
#: Tasks with many kernels, of which a line has the mean.
_KERNELS = ("deblurring", "set3c")


def problems_table(rows: Rows) -> str:
    """A line for each problem, means over its kernels and over the images that all methods have."""
    heading = ["problem", "images", PLAIN, GUIDED, TV, "others"]
    heading += ["iterations", "seconds", "theorem and tolerance met"]
    lines = []
    for name, tasks in _grouped(rows).items():
        found = {method: [of[method] for of in tasks] for method in _common(tasks)}
        if PLAIN not in found:
            continue
        own = [method for method in (PLAIN, GUIDED) if method in found]
        means = {method: _psnr(tasks, method) for method in found}
        met = all(row["proved"] and row["converged"] for method in own for row in found[method])
        others = [f"{method} {means[method]:.2f}" for method in OTHERS if method in means]
        lines.append(
            [
                name,
                _images(tasks),
                *(fixed(means.get(method), 2) for method in (PLAIN, GUIDED, TV)),
                ", ".join(others) or "–",
                " / ".join(f"{_mean(found[method], 'iterations'):.0f}" for method in own),
                " / ".join(f"{_mean(found[method], 'seconds'):.1f}" for method in own),
                "all" if met else "not all",
            ]
        )
    return table(heading, lines)


def gains_table(rows: Rows) -> str:
    """A line for each problem that was solved plainly and guided."""
    heading = [
        "problem",
        "images",
        PLAIN,
        GUIDED,
        "mean gain",
        "median gain",
        "applications",
        "seconds",
    ]
    lines = []
    for name, tasks in _grouped(rows).items():
        both = [{method: of[method] for method in (PLAIN, GUIDED) if method in of} for of in tasks]
        if all(len(of) == 2 for of in both):
            plain, guided = _psnr(both, PLAIN), _psnr(both, GUIDED)
            each = [
                of[GUIDED]["psnr"][n] - of[PLAIN]["psnr"][n] for of in both for n in _shared(of)
            ]
            gain = [f"{guided - plain:.2f}", f"{np.median(each):.2f}"]
            cells = [*gain, _pair(both, "iterations", 0), _pair(both, "seconds", 1)]
            lines.append([name, _images(both), fixed(plain, 2), fixed(guided, 2), *cells])
    return table(heading, lines)


def levin_line(rows: Rows) -> str:
    """Means over the published deblurring protocol, every image with one kernel in turn."""
    plain, guided = (_in_turn(rows, method) for method in (PLAIN, GUIDED))
    counted = min(len(psnr) for psnr in (*plain, *guided))
    texts = (" / ".join(f"{np.mean(psnr):.2f}" for psnr in of) for of in (plain, guided))
    return "{} dB, with a guide {}".format(*texts) + f" ({counted} images, each with one kernel)"


def levin_design(rows: Rows) -> str:
    """What one kernel for each image says of all pairs, by a method that ran on all of them."""
    some = [float(np.mean(psnr)) for psnr in _in_turn(rows, TIKHONOV)]
    every = [
        float(np.mean([psnr for of in tasks for psnr in of[TIKHONOV]["psnr"].values()]))
        for _, tasks in _levels(rows)
    ]
    return " and ".join(
        f"{one:.2f} dB instead of {whole:.2f}" for one, whole in zip(some, every, strict=True)
    )


def _levels(rows: Rows) -> list[tuple[str, list[dict[str, Row]]]]:
    """The levels of noise of the deblurring protocol, with the methods of each kernel."""
    levels = dict.fromkeys(key[1] for key in rows if key[0] == "deblurring")
    return [
        (one, [_methods(rows, ("deblurring", one, name)) for name in KERNELS]) for one in levels
    ]


def _in_turn(rows: Rows, method: str) -> list[list[float]]:
    """For each level of noise the PSNR of every image with its kernel in turn."""
    return [
        [
            psnr
            for name, of in zip(KERNELS, tasks, strict=True)
            for number, psnr in of[method]["psnr"].items()
            if in_turn(int(number)) == name
        ]
        for _, tasks in _levels(rows)
    ]


def kernels_table(part: str) -> Table:
    """One column for each kernel, one line for each method and level of noise."""

    def made(rows: Rows) -> str:
        levels = dict.fromkeys(key[1] for key in rows if key[0] == part)
        kernels = sorted({key[2] for key in rows if key[0] == part})
        lines = []
        for level in levels:
            tasks = {name: _methods(rows, (part, level, name)) for name in kernels}
            for method in (PLAIN, GUIDED, TV, RIDGE, TIKHONOV):
                cells = {n: _psnr([of], method) for n, of in tasks.items() if method in of}
                if cells:
                    whole = len(cells) == len(kernels)
                    mean = _psnr(list(tasks.values()), method) if whole else None
                    counted = _images([of for of in tasks.values() if method in of])
                    numbers = [fixed(cells.get(name), 2) for name in kernels]
                    lines.append([level, method, counted, *numbers, fixed(mean, 2)])
        return table(["noise", "", "images", *kernels, "mean"], lines)

    return made


def strengths_table(rows: Rows) -> str:
    """What was chosen on validation images, and what else was tried."""
    lines = []
    for key, row in rows.items():
        if key[0] == "validation":
            tried = [float(value) for value in row["psnr"]]
            span = f"{min(tried):.3g} to {max(tried):.3g}"
            title = f"{TITLES[key[1]]}, {key[2]}"
            lines.append([title, key[3], str(row["images"]), f"{row['best']:.3g}", span])
    return table(["problem", "method", "validation images", "chosen", "tried"], lines)


def _grouped(rows: Rows) -> dict[str, list[dict[str, Row]]]:
    """By titles, the methods of each task; kernels of one level of noise are one group."""
    groups: dict[str, list[dict[str, Row]]] = {}
    for key in dict.fromkeys(key[:3] for key in rows if key[0] in TITLES):
        noise = "noise " if key[0] in (*_KERNELS, "super-resolution") else ""
        kept = key[:2] if key[0] in (*_KERNELS, "super-resolution") else key
        title = ", ".join([TITLES[key[0]], noise + kept[1], *kept[2:]])
        groups.setdefault(title, []).append(_methods(rows, key))
    return groups


def _methods(rows: Rows, task: Key) -> dict[str, Row]:
    return {key[3]: row for key, row in rows.items() if key[:3] == task}


def _common(tasks: Sequence[dict[str, Row]]) -> list[str]:
    """Methods that every task has."""
    return [m for m in tasks[0] if all(m in of for of in tasks)]


def _shared(of: dict[str, Row]) -> list[str]:
    """Images that every method of a task has."""
    first, *others = (row["psnr"] for row in of.values())
    return [number for number in first if all(number in psnr for psnr in others)]


def _psnr(tasks: Sequence[dict[str, Row]], method: str) -> float:
    return float(np.mean([of[method]["psnr"][n] for of in tasks for n in _shared(of)]))


def _images(tasks: Sequence[dict[str, Row]]) -> str:
    counts = sorted({len(_shared(of)) for of in tasks})
    images = "–".join(str(count) for count in {counts[0]: 0, counts[-1]: 0})
    return f"{images} x {len(tasks)} kernels" if len(tasks) > 1 else images


def _pair(tasks: Sequence[dict[str, Row]], name: str, digits: int) -> str:
    """Plain / guided."""
    means = (_mean([of[method] for of in tasks], name) for method in (PLAIN, GUIDED))
    return " / ".join(fixed(mean, digits) for mean in means)


def _mean(found: Sequence[Row], name: str) -> float:
    return float(np.mean([row[name] for row in found]))


TABLES: dict[str, Table] = {
    "problems": problems_table,
    "guided-restoration": gains_table,
    "levin-line": levin_line,
    "levin-design": levin_design,
    "problem-kernels": kernels_table("deblurring"),
    "problem-kernels-set3c": kernels_table("set3c"),
    "problem-strengths": strengths_table,
}
