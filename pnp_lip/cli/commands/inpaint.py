"""The arguments of ``pnp-lip inpaint``."""

from __future__ import annotations

import argparse

from pnp_lip.cli.arguments import share
from pnp_lip.cli.commands.shared import EXIT, image_arguments, noise_arguments, solving_arguments
from pnp_lip.cli.usage import Subparsers

__all__ = ["add"]


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "inpaint",
        help="fill in missing pixels",
        description="Fill in the missing pixels of an image: pnp-lip inpaint damaged.png --mask "
        "mask.png -o whole.png. In the mask, white marks pixels that are KNOWN and kept, black "
        "marks pixels that are MISSING; the share that is missing is printed. With --simulate the "
        "pixels of a clean image are hidden first, at random without a mask, and PSNR and SSIM are "
        "reported.",
        epilog=EXIT,
    )
    image_arguments(parser, "inpaint")
    parser.add_argument(
        "--mask",
        metavar="FILE",
        help="image of the same size; of its two values (0 and 255, 0 and 1, two colours of a "
        "palette) the brighter is known. Labels count as known where they are not 0, an alpha "
        "channel where it is opaque. Without it the transparent pixels of the image are missing",
    )
    parser.add_argument(
        "--invert-mask", action="store_true", help="white marks the missing pixels instead"
    )
    parser.add_argument(
        "--missing",
        type=share,
        default=0.5,
        help="with --simulate and without a mask: share of pixels hidden at random (default 0.5)",
    )
    noise_arguments(parser, 0.0, auto=False)
    solving_arguments(parser)
    parser.set_defaults(run="pnp_lip.cli.inpaint:inpaint")
    return parser
