"""The arguments of ``pnp-lip demosaic``."""

from __future__ import annotations

import argparse

from pnp_lip.cli.commands.shared import EXIT, image_arguments, noise_arguments, solving_arguments
from pnp_lip.cli.usage import Subparsers

__all__ = ["add"]


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "demosaic",
        help="colours from the mosaic of a sensor",
        description="Fill in the colours that a sensor with a Bayer pattern (red green / green blue) did "
        "not record: pnp-lip demosaic mosaic.tif -o photo.png. With --simulate a colour photograph is "
        "reduced to its mosaic and noised first, and PSNR and SSIM are reported beside those of "
        "bilinear interpolation.",
        epilog=EXIT,
    )
    image_arguments(parser, "demosaic")
    noise_arguments(parser, 0.005, auto=False)
    solving_arguments(parser)
    parser.set_defaults(run="pnp_lip.cli.demosaic:demosaic")
    return parser
