"""Arguments that several commands have."""

from __future__ import annotations

import argparse

from pnp_lip.cli.arguments import (
    at_least,
    noise_level,
    noise_level_or_auto,
    positive,
    positive_or_auto,
    seed,
    strengths,
)

__all__ = [
    "EXIT",
    "computing_arguments",
    "image_arguments",
    "noise_arguments",
    "report_argument",
    "solving_arguments",
]

_IMAGE = """\
image file: PNG, JPEG, TIFF (also stacks of ImageJ and OME, page by page), NPY, NPZ or MAT; grey or
colour; 8 or 16 bit, or floats in [0, 1]. Or the name of a packaged photograph: camera, astronaut,
coffee, chelsea, coins, rocket. Without it: camera, degraded first. Several files, patterns and
folders are restored one by one into a folder: plates/*.tif -o restored/. What an earlier run of the
same command finished is not repeated; restored/results.csv lists how each ended"""

_OUTPUT = """\
where to write the restored image; NAME.figure.png and NAME.json are written beside it. Bit depth,
white level, colour profile and axes of the input are kept. The folder must exist. Default:
{name}.png in the current folder, {name}.tif for a stack"""

#: Said at the end of each help.
EXIT = """\
Exit code, the largest of several images: 0 done; 2 the input cannot be used; 3 the iteration ended
without converging (the result is written); 70 a fault of pnp-lip. Nothing is overwritten except
results of earlier runs."""


def image_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Images, where results go, and how the files are read."""
    parser.add_argument("images", nargs="*", metavar="image", help=_IMAGE)
    parser.add_argument("-o", "--output", metavar="FILE", help=_OUTPUT.format(name=name))
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite whatever lies where the results go, the input included",
    )
    report_argument(parser)
    parser.add_argument("--simulate", action="store_true", help="degrade the image first")
    parser.add_argument(
        "--page",
        type=at_least(1),
        metavar="N",
        help="take one page of a stack, counted from 1 (default: all, one by one)",
    )
    parser.add_argument(
        "--white-level",
        type=positive,
        metavar="NUMBER",
        help="the stored number that stands for white: 4095 for a 12-bit camera, 255 for floats from "
        "0 to 255 (default: the largest of 8- and 16-bit files, 1 for floats)",
    )


def report_argument(parser: argparse.ArgumentParser) -> None:
    """The page for the lab book."""
    parser.add_argument(
        "--report",
        action="store_true",
        help="write NAME.html too, one page for the lab book: figure, numbers, theorem, certificate",
    )


def noise_arguments(parser: argparse.ArgumentParser, default: float, *, auto: bool) -> None:
    """The noise level."""
    estimated = "; 'auto' estimates it from the image" if auto else ""
    parser.add_argument(
        "--noise",
        type=noise_level_or_auto if auto else noise_level,
        default=default,
        help="how much neighbouring pixels differ where the scene is flat: their standard deviation, "
        "where 1 is white. For 8-bit numbers divide by 255, for 12-bit ones by 4095 "
        f"(default {default}){estimated}",
    )


def solving_arguments(parser: argparse.ArgumentParser) -> None:
    """The iteration."""
    parser.add_argument(
        "--solver",
        choices=("forward-backward", "admm"),
        default="forward-backward",
        help="the iteration (default forward-backward)",
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--strength",
        type=positive_or_auto,
        metavar="TIMES",
        help="strength of the denoiser in multiples of the noise: twice as large is smoother, half as "
        "large keeps more noise and more detail (default: what was best on validation images). 'auto' "
        "chooses it so that the misfit is as large as the noise (the discrepancy principle), for "
        "Gaussian noise of a known level and for photons",
    )
    choice.add_argument(
        "--strengths",
        type=strengths,
        metavar="A,B,...",
        help="try several, such as 0.5,1,2: the figure shows all, the report lists them, and the image "
        "is the best in PSNR, or without --simulate the one whose misfit is most like the noise",
    )
    choice.add_argument(
        "--sigma",
        type=noise_level,
        help="strength of the denoiser as a number, in the units of --noise",
    )
    parser.add_argument(
        "--stepsize", type=positive, help="of the solver (default: from the theorem)"
    )
    parser.add_argument(
        "--max-iter", type=at_least(1), default=300, help="most iterations (default 300)"
    )
    parser.add_argument(
        "--tol",
        type=positive,
        default=1e-5,
        help="relative fixed-point residual to stop at (default 1e-5)",
    )
    parser.add_argument(
        "--unproved",
        action="store_true",
        help="run even where no convergence theorem applies; the report then claims none",
    )
    computing_arguments(parser)


def computing_arguments(parser: argparse.ArgumentParser) -> None:
    """The network and where it runs."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--guided",
        action="store_true",
        help="restore twice, the second time with thresholds from the first result: sharper, each solve "
        "with its theorem, but a small change of the data may change the result by more than itself",
    )
    choice.add_argument(
        "--plain",
        dest="guided",
        action="store_false",
        help="the robust denoiser: the plain one, proved nonexpansive in its whole input (default)",
    )
    parser.add_argument(
        "--weights",
        default="default",
        help="a .safetensors file, or 'large' for the better network",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default cpu)")
    parser.add_argument("--seed", type=seed, default=0, help="of everything random (default 0)")
