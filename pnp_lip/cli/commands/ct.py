"""The arguments of ``pnp-lip ct``."""

from __future__ import annotations

import argparse

from pnp_lip.cli.arguments import at_least, nonnegative, positive
from pnp_lip.cli.commands.scans import EXIT_SCANS, scan_arguments, solve_arguments
from pnp_lip.cli.usage import Subparsers

__all__ = ["add"]


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "ct",
        help="an image from few projections",
        description="Reconstruct a tomogram from few views or few photons: pnp-lip ct sinogram.npy "
        "--angles angles.npy -o slice.png. Without a file a phantom is projected first, and PSNR and "
        "SSIM are reported beside those of the filtered back-projection.",
        epilog=EXIT_SCANS,
    )
    scan_arguments(
        parser,
        "ct",
        "sinogram, one row a detector pixel and one column a view: line integrals, or counts with "
        "--photons, in NPY, NPZ, MAT or HDF5 (FILE:NAME for one array of several)",
        ", in attenuation per pixel",
    )
    parser.add_argument(
        "--angles",
        metavar="FILE",
        help="of the views in degrees (default: evenly over half a turn, of a fan over a whole one)",
    )
    parser.add_argument(
        "--transpose", action="store_true", help="the sinogram has a row for each view"
    )
    parser.add_argument(
        "--axis",
        type=nonnegative,
        metavar="ROW",
        help="row in which the axis of rotation is seen, counted from 0, to half a pixel (default: the "
        "middle; scikit-image's radon has row N/2 for even N)",
    )
    parser.add_argument(
        "--views", type=at_least(1), default=60, help="of a simulation (default 60)"
    )
    parser.add_argument(
        "--photons",
        type=positive,
        help="that start on each ray: a simulation counts them, a sinogram holds the counts",
    )
    parser.add_argument(
        "--fan",
        action="store_true",
        help="rays from a point instead of parallel ones; a sinogram from a file needs the four lengths",
    )
    for name, what in (
        ("source-distance", "of the source from the axis of rotation"),
        ("detector-distance", "of the detector from the axis of rotation"),
        ("detector-spacing", "between detector pixels"),
        ("pixel-size", "side of an image pixel"),
    ):
        parser.add_argument(f"--{name}", type=positive, help=f"{what}, of a fan, in any one unit")
    solve_arguments(
        parser,
        "standard deviation, where 1 is the largest line integral (default 0.005; counts tell theirs)",
    )
    parser.set_defaults(run="pnp_lip.cli.ct:ct")
    return parser
