"""The arguments of ``pnp-lip jpeg``."""

from __future__ import annotations

import argparse

from pnp_lip.cli.arguments import at_least
from pnp_lip.cli.commands.outliers import NOT_PROVED, primal_dual_arguments
from pnp_lip.cli.commands.shared import EXIT, image_arguments
from pnp_lip.cli.usage import Subparsers

__all__ = ["add"]


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "jpeg",
        help="smooth the blocks and rings of strong JPEG compression",
        description=f"Restore a photograph after JPEG: pnp-lip jpeg small.jpg -o clean.png. {NOT_PROVED} "
        "The gain is a few tenths of a dB. With --simulate a clean image is compressed first, and PSNR "
        "and SSIM are reported.",
        epilog=EXIT,
    )
    image_arguments(parser, "jpeg")
    parser.add_argument(
        "--quality",
        type=at_least(1),
        default=10,
        help="of the JPEG file, 1 to 100, as the program that wrote it calls it (default 10)",
    )
    primal_dual_arguments(parser)
    parser.set_defaults(run="pnp_lip.cli.outliers:jpeg")
    return parser
