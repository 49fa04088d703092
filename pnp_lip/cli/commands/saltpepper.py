"""The arguments of ``pnp-lip saltpepper``."""

from __future__ import annotations

import argparse

from pnp_lip.cli.arguments import share
from pnp_lip.cli.commands.outliers import NOT_PROVED, primal_dual_arguments
from pnp_lip.cli.commands.shared import EXIT, image_arguments
from pnp_lip.cli.usage import Subparsers

__all__ = ["add"]


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "saltpepper",
        help="remove pixels that are wrong by any amount",
        description="Restore an image some of whose pixels are black, white or otherwise wrong, nobody "
        f"knows which: pnp-lip saltpepper damaged.png -o clean.png. {NOT_PROVED} With --simulate "
        "pixels of a clean image are replaced first, and PSNR and SSIM are reported.",
        epilog=EXIT,
    )
    image_arguments(parser, "saltpepper")
    parser.add_argument(
        "--wrong",
        type=share,
        default=0.1,
        help="about which share of the pixels is wrong, from which the strength follows; with --simulate "
        "so many become black or white (default 0.1)",
    )
    primal_dual_arguments(parser)
    parser.set_defaults(run="pnp_lip.cli.outliers:saltpepper")
    return parser
