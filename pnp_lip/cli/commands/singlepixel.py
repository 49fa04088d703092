"""The arguments of ``pnp-lip singlepixel``."""

from __future__ import annotations

import argparse

from pnp_lip.cli.arguments import positive_share
from pnp_lip.cli.commands.scans import EXIT_SCANS, scan_arguments, solve_arguments
from pnp_lip.cli.usage import Subparsers

__all__ = ["add"]


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "singlepixel",
        help="an image from few numbers, each a pattern times the scene",
        description="Reconstruct what a single-pixel camera saw: pnp-lip singlepixel numbers.npy "
        "--patterns patterns.npy -o image.png. Without a file an image is measured with Hadamard "
        "patterns first, and PSNR and SSIM are reported.",
        epilog=EXIT_SCANS,
    )
    scan_arguments(
        parser,
        "singlepixel",
        "the measured numbers, as many as patterns, in NPY, NPZ, MAT or HDF5",
        ", in the units of the patterns",
    )
    parser.add_argument("--patterns", metavar="FILE", help="the patterns [count, H, W]")
    parser.add_argument(
        "--share",
        type=positive_share,
        default=0.25,
        help="of the Hadamard patterns of a simulation, in (0, 1] (default 0.25)",
    )
    solve_arguments(parser, "standard deviation of the numbers (default 0.005, patterns of norm 1)")
    parser.set_defaults(run="pnp_lip.cli.singlepixel:singlepixel")
    return parser
