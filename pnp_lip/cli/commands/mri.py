"""The arguments of ``pnp-lip mri``."""

from __future__ import annotations

import argparse

from pnp_lip.cli.arguments import at_least, positive
from pnp_lip.cli.commands.scans import EXIT_SCANS, scan_arguments, solve_arguments
from pnp_lip.cli.usage import Subparsers

__all__ = ["add"]


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "mri",
        help="an image from few lines of k-space",
        description="Reconstruct a magnetic resonance image from k-space with missing lines: pnp-lip "
        "mri scan.h5 -o image.png. Coil maps are read from --maps or estimated from the middle of "
        "k-space. Without a file a phantom is measured first, and PSNR and SSIM of the magnitude are "
        "reported beside those of the image without the missing lines.",
        epilog=EXIT_SCANS,
    )
    scan_arguments(
        parser,
        "mri",
        "complex k-space, zero frequency in the middle, zeros where nothing was measured: [H, W], "
        "[coils, H, W] or [slices, coils, H, W] in NPY, NPZ, MAT or HDF5 (FILE:NAME for one array of "
        "several, 'kspace' is found by itself)",
        ", in the units of the scan",
    )
    parser.add_argument(
        "--maps",
        metavar="FILE",
        help="complex coil sensitivities of the shape of k-space (default: one coil without map, "
        "several estimated)",
    )
    parser.add_argument(
        "--mask",
        metavar="FILE",
        help="where k-space was measured, [H, W] (default: where it is not zero)",
    )
    parser.add_argument(
        "--slices",
        action="store_true",
        help="the first of three axes counts slices of one coil, not coils",
    )
    parser.add_argument(
        "--acceleration",
        type=positive,
        metavar="TIMES",
        help="use only one of so many lines: default 4 for an image; for a scan with all its lines "
        "the result is compared with the image of all of them",
    )
    parser.add_argument(
        "--coils",
        type=at_least(1),
        default=1,
        help="of the simulated scanner; the maps of several are estimated as for a scan (default 1)",
    )
    solve_arguments(
        parser,
        "standard deviation of the real and of the imaginary part, where 1 is the brightest pixel "
        "(default: 0.005 simulated, estimated from the outer k-space of a scan)",
    )
    parser.set_defaults(run="pnp_lip.cli.mri:mri")
    return parser
