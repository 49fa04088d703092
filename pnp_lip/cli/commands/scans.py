"""Arguments that the commands for scans share: measurements instead of images."""

from __future__ import annotations

import argparse

from pnp_lip.cli.arguments import at_least, noise_level
from pnp_lip.cli.commands.shared import report_argument, solving_arguments

__all__ = ["EXIT_SCANS", "scan_arguments", "solve_arguments"]

#: Said at the end of each help.
EXIT_SCANS = """\
Exit code: 0 done; 2 the input cannot be used; 3 the iteration ended without converging (the result is
written); 70 a fault of pnp-lip. Nothing is overwritten except results of earlier runs."""

_OUTPUT = """\
where to write the image; NAME.figure.png and NAME.json are written beside it. PNG has 8 bits, TIFF and
NPY hold floats{units}. Default: {name}.png in the current folder, {name}.tif for several slices"""


def scan_arguments(parser: argparse.ArgumentParser, name: str, measured: str, units: str) -> None:
    """The measurement or the image to simulate one from, and where the result goes."""
    parser.add_argument(
        "images",
        nargs="*",
        metavar="scan",
        help=f"{measured}. Or what is to be measured first: a phantom (shepp-logan, tissue), a packaged "
        "photograph (camera, coins, ...) or an image file (PNG, JPEG, TIFF). Without it: tissue",
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", help=_OUTPUT.format(name=name, units=units)
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite whatever lies where the results go, the input included",
    )
    report_argument(parser)
    parser.add_argument(
        "--size",
        type=at_least(16),
        metavar="PIXELS",
        help="side of a phantom or of the middle part of an image that is taken (default 128)",
    )


def solve_arguments(parser: argparse.ArgumentParser, noise: str) -> None:
    """The noise and the iteration."""
    parser.add_argument("--noise", type=noise_level, help=noise)
    solving_arguments(parser)
