"""Guided denoisers beside plain ones: denoising, deblurring, and what a small change of the input can do.

    PNP_LIP_DATA=... python -m benchmarks.guided
    PNP_LIP_DATA=... python -m benchmarks.guided --every 4 --rows "dial 0" "mean maps" ...

Noise comes from a generator seeded with 0 for every image; the rows of one set are computed on the same
noisy images; "plain, whole set" is from :mod:`benchmarks.denoising`, with the same noise. Every row says
which bound is *proved* with the guide fixed, and which gain from input to output was *measured*: the
largest difference quotient that a power method and an ascent found from noisy crops of 32 x 32 pixels, a
lower bound. Rows "dial" scale the log-factors of the maps; at 0 there is no
guide. "mean maps", "shuffled maps" and "foreign guide" replace the maps of an image by their means over its
pixels, by the same maps with the pixels in random order, and the guide by that of the next image: what is
lost shows what the guide says about the place.

Deblurring is that of ``pnp_lip.recipes.deblur`` with the first Levin kernel, on parts of 256 x 256 pixels,
by forward-backward in [0, 1] to a residual of 1e-4: plain, guided in stages, and in one loop whose guide
follows the image ("adaptive"). The strength is the same for all, 0.8 of the noise: the best of 0.6, 0.8, 1
and 1.3 for the first two on two validation images at noise 0.01.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.denoising import BENCHMARK as DENOISING
from benchmarks.guided_forms import CROPS, LEVEL, SIDE, gain_of, model
from benchmarks.harness import Benchmark, timed
from benchmarks.images import Denoise, mean_quality, noisy
from benchmarks.markdown import down, fixed, table, up
from benchmarks.peers import BENCHMARK as PEERS
from benchmarks.record import Row, Rows
from pnp_lip import Frozen, FrozenGuided, GuidedDenoiser
from pnp_lip.certifier import prove
from pnp_lip.data.patches import find_data, read_folder
from pnp_lip.quality import psnr
from pnp_lip.recipes import deblur
from pnp_lip.solvers import ForwardBackward

SETS = {"bsd68": 1, "cbsd68": 3}
LEVELS = {"bsd68": (5, 15, 25, 50), "cbsd68": (15, 25)}
TITLES = {"bsd68": "BSD68, grey", "cbsd68": "CBSD68, colour"}
DIALS = (0.0, 0.25, 0.5)
ROWS = (
    "plain",
    "guided",
    *(f"dial {dial:g}" for dial in DIALS),
    "mean maps",
    "shuffled maps",
    "foreign guide",
)
#: Rows at every level; the others only explain.
MAIN = ("plain", "guided")
SOLVES = ("plain", "guided", "adaptive")
STRENGTH, NOISE, PART = 0.8, (0.01, 0.03), 256


def application_table(rows: Rows) -> str:
    """Processor seconds of single applications, and how many plain ones that is."""
    lines = []
    for folder in SETS:
        found = rows.get((folder, "seconds of an application"))
        for name, seconds in (found or {}).items():
            times = seconds / (found or {})["plain"]
            lines.append([TITLES[folder], name, fixed(seconds, 3), fixed(times, 1)])
    return table(["", "", "seconds", "in plain applications"], lines)


def denoising(name: str, images: list[Tensor], levels: tuple[int, ...]) -> Row:
    """All numbers of a row."""
    denoise = model(len(images[0]), name, images)
    row: Row = {"images": len(images), "psnr": {}, "ssim": {}, "seconds": {}}
    if isinstance(denoise, nn.Module):
        part = denoise.denoiser if isinstance(denoise, GuidedDenoiser) else denoise
        statement = prove(part)
        row["lipschitz_upper_fixed_guide"] = statement.upper
        row["averagedness_fixed_guide"] = statement.averagedness
        row["parameters"] = sum(p.numel() for p in denoise.parameters())
        row["end_to_end_gain_measured"] = gain_of(denoise, images)
    for level in levels if name in MAIN else (LEVEL,):
        start = time.process_time()
        quality = mean_quality(denoise, images, level, f"{name}, {level}")
        row["seconds"][str(level)] = (time.process_time() - start) / len(images)
        row["psnr"][str(level)], row["ssim"][str(level)] = quality["psnr"], quality["ssim"]
    return row


def deblurring(image: Tensor, noise: float, guided: GuidedDenoiser) -> dict[str, Row]:
    """A plain and two guided solves of one problem."""
    kernel = torch.from_numpy(np.load(find_data("kernels") / "levin09.npz")["k1"]).float()
    clean = image[None, :, :PART, :PART].float() / 255
    problem = deblur.simulated(clean, kernel[None, None], noise, seed=0)
    options: dict[str, Any] = {"tol": 1e-4, "box": (0, 1), "max_iter": 1000}
    solvers = {
        "plain": ForwardBackward(guided.plain, STRENGTH * noise, **options),
        "guided": ForwardBackward(guided, STRENGTH * noise, **options),
        "adaptive": ForwardBackward(guided, STRENGTH * noise, guide="adaptive", **options),
    }
    rows: dict[str, Row] = {}
    for name, solver in solvers.items():
        solve = partial(solver.solve, problem.y, problem.physics, init=problem.start)
        seconds, solution = timed(solve)
        rows[name] = {
            "strength": STRENGTH,
            "psnr": psnr(solution.x.clamp(0, 1), clean),
            "iterations": solution.iterations,
            "seconds": seconds,
            "converged": solution.status.name == "CONVERGED",
            "guaranteed": solution.guaranteed,
        }
    return rows


def mean_row(rows: list[Row]) -> Row:
    """Means of numbers, and whether all that is true or false is true."""
    return {"images": len(rows)} | {
        key: all(row[key] for row in rows)
        if isinstance(rows[0][key], bool)
        else float(np.mean([row[key] for row in rows]))
        for key in rows[0]
    }


def application(channels: int) -> Row:
    """Processor seconds of one application on 256 x 256 pixels: plain, and with a fixed guide."""
    guided = GuidedDenoiser(channels)
    x, sigma = torch.rand(1, channels, PART, PART, generator=torch.Generator().manual_seed(0)), 0.1
    forms: dict[str, Denoise] = {
        "plain": Frozen(guided.plain, sigma),
        "fixed guide": Frozen(guided.at(x, sigma), sigma),
        "maps": lambda x, s: guided.at(x, s).scales[0],
        "guided, end to end": guided,
        "guided, frozen": FrozenGuided(guided, sigma),
    }
    fast = GuidedDenoiser(channels)
    fast.mask.precision = torch.bfloat16
    forms |= {
        "maps, bfloat16": lambda x, s: fast.at(x, s).scales[0],
        "guided, frozen, bfloat16 mask": FrozenGuided(fast, sigma),
    }
    with torch.no_grad():
        return {
            name: min(timed(partial(form, x, sigma))[0] for _ in range(4))
            for name, form in forms.items()
        }


def fewer_bits(guided: GuidedDenoiser, images: list[Tensor]) -> Row:
    """What a mask in bfloat16 changes: log-factors, and PSNR in dB."""
    largest, squares, psnrs = 0.0, [], []
    for image in images:
        clean = image[None].float() / 255
        y = noisy(clean, LEVEL / 255)
        guide, level = guided.plain(y, LEVEL / 255), torch.tensor([LEVEL / 255])
        found = []
        for precision in (None, torch.bfloat16):
            guided.mask.precision = precision
            denoised = guided.with_guide(y, guide, LEVEL / 255)
            found.append((guided.mask.logarithms(guide, level), psnr(denoised, clean)))
        guided.mask.precision = None
        (exact, quality), (rough, rough_quality) = found
        largest = max(largest, float((rough - exact).abs().max()))
        squares.append(float((rough - exact).square().mean()))
        psnrs.append(rough_quality - quality)
    root = float(np.mean(squares)) ** 0.5
    return {"images": len(images), "largest": largest, "root_mean_square": root} | {
        "psnr_gain": float(np.mean(psnrs))
    }


def fewer_bits_line(rows: Rows) -> str:
    """The same in a few words."""
    found = [rows[folder, "bfloat16 mask"] for folder in SETS if (folder, "bfloat16 mask") in rows]
    largest, root = (max(row[key] for row in found) for key in ("largest", "root_mean_square"))
    loss = max(abs(row["psnr_gain"]) for row in found)
    return f"at most {up(largest, 2)} ({up(root, 4)} in root mean square) and the PSNR by {up(loss, 3)} dB"


def quality_table(folder: str) -> Any:
    """PSNR of every row, with the proved and the measured bound."""

    def made(rows: Rows) -> str:
        levels = [str(level) for level in LEVELS[folder]]
        heading = [
            "",
            "images",
            *(f"σ = {level}" for level in levels),
            f"SSIM at {LEVEL}",
            f"s an image at {LEVEL}",
            "proved, guide fixed",
            "end to end ≥",
        ]
        whole = {"plain, whole set": DENOISING.rows()[folder, "default"]}
        own = {name: rows[folder, name] for name in ROWS if (folder, name) in rows}
        lines = []
        for name, row in (whole | own).items():
            cells = [fixed(row["psnr"].get(level), 2) for level in levels]
            seconds = row.get("seconds", {}).get(str(LEVEL))
            cells += [fixed(row["ssim"][str(LEVEL)], 3), fixed(seconds, 2)]
            bounds = (
                up(row.get("lipschitz_upper_fixed_guide"), 4),
                down(row.get("end_to_end_gain_measured"), 2),
            )
            lines.append([name, str(row["images"]), *cells, *bounds])
        return table(heading, lines)

    return made


def deblurring_table(rows: Rows) -> str:
    """Plain and guided solves."""
    heading = [
        "",
        "images",
        "noise",
        "PSNR",
        "applications",
        "seconds",
        "theorem and tolerance met",
    ]
    lines = []
    for folder in SETS:
        for noise in NOISE:
            for name in SOLVES:
                row = rows.get((folder, "deblurring", f"{noise:g}", name))
                if row is not None:
                    met = "all" if row["converged"] and row["guaranteed"] else "not all"
                    numbers = [fixed(row[key], 2) for key in ("psnr", "iterations", "seconds")]
                    title = f"{TITLES[folder]}, {name}"
                    lines.append([title, str(row["images"]), f"{noise:g}", *numbers, met])
    return table(heading, lines)


def guided_line(rows: Rows) -> str:
    """Grey images with a guide, in a few words."""
    row = rows["bsd68", "guided"]
    psnr = " / ".join(fixed(row["psnr"][str(level)], 2) for level in LEVELS["bsd68"])
    plain = " / ".join(
        fixed(DENOISING.rows()["bsd68", "default"]["psnr"][str(level)], 2)
        for level in LEVELS["bsd68"]
    )
    searches = [row["end_to_end_gain_measured"]]
    searches += [one["measured"] for key, one in PEERS.rows().items() if "guided" in key[0]]
    gain = down(max(searches), 1)
    return f"{psnr} dB (without {plain}); gain from data to result ≥ {gain}, measured"


def quarter_line(rows: Rows) -> str:
    """Grey images with a guide at the level of the rows that explain, on their images."""
    del rows
    return fixed(PEERS.rows()["pnp_lip, guided", str(LEVEL)]["psnr"], 2)


BENCHMARK = Benchmark(
    name="guided",
    about=__doc__ or "",
    tables={f"guided-{folder}": quality_table(folder) for folder in SETS}
    | {
        "guided-deblurring": deblurring_table,
        "guided-line": guided_line,
        "guided-quarter": quarter_line,
        "guided-seconds": application_table,
        "guided-fewer-bits": fewer_bits_line,
    },
    selecting=("sets", "rows", "deblur", "every", "application"),
)


def main() -> None:
    parser = BENCHMARK.parser()
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=ROWS)
    parser.add_argument("--every", type=int, default=1, help="take every n-th image only")
    parser.add_argument("--deblur", type=int, default=4, help="images to deblur, 0 for none")
    parser.add_argument("--application", action="store_true", help="time single applications")
    options: argparse.Namespace = parser.parse_args()
    recording = BENCHMARK.start(options, level=LEVEL, crops=CROPS, side=SIDE)
    for folder in options.sets:
        everything = read_folder(folder, SETS[folder])
        if options.application:
            recording.add(folder, "seconds of an application", row=application(SETS[folder]))
            with torch.no_grad():
                row = fewer_bits(GuidedDenoiser(SETS[folder]), everything[:: 2 * options.every])
            recording.add(folder, "bfloat16 mask", row=row)
        for name in options.rows:
            row = denoising(name, everything[:: options.every], LEVELS[folder])
            recording.add(folder, name, row=row)
            print(row["psnr"], flush=True)
        if options.deblur:
            chosen = everything[:: len(everything) // options.deblur][: options.deblur]
            guided = GuidedDenoiser(SETS[folder])
            for noise in NOISE:
                found = [deblurring(image, noise, guided) for image in chosen]
                for name in SOLVES:
                    row = mean_row([rows[name] for rows in found])
                    recording.add(folder, "deblurring", f"{noise:g}", name, row=row)
    recording.close()


if __name__ == "__main__":
    main()
