"""The arguments of ``pnp-lip denoise``."""

from __future__ import annotations

import argparse

from pnp_lip.cli.arguments import at_least, noise_level_or_auto, positive
from pnp_lip.cli.commands.shared import EXIT, computing_arguments, image_arguments
from pnp_lip.cli.usage import Subparsers

__all__ = ["add"]


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "denoise",
        help="remove Gaussian noise",
        description="Apply the denoiser once: pnp-lip denoise noisy.tif --sigma 0.1 -o clean.tif. "
        "With --simulate noise is added to a clean image first, and PSNR is reported. Zarr and OME-Zarr "
        "of any size are denoised chunk by chunk: pnp-lip denoise noisy.zarr --sigma 0.1 -o clean.zarr.",
        epilog=EXIT,
    )
    image_arguments(parser, "denoise")
    parser.add_argument(
        "--sigma",
        type=noise_level_or_auto,
        default=0.1,
        help="how much neighbouring pixels differ where the scene is flat: their standard deviation, "
        "where 1 is white. For 8-bit numbers divide by 255, for 12-bit ones by 4095 (default 0.1, that "
        "is 25 of 255); 'auto' estimates it from the image",
    )
    parser.add_argument(
        "--photons",
        type=positive,
        help="photons in a white pixel: counting them makes the noise, which is removed through "
        "Anscombe's square root; takes the place of --sigma",
    )
    parser.add_argument(
        "--tile",
        type=at_least(1),
        metavar="PIXELS",
        help="denoise in tiles of this side, with a halo that keeps the result the same; bounds the "
        "memory (default: 512 above a megapixel, one tile below)",
    )
    parser.add_argument(
        "--volume",
        action="store_true",
        help="denoise a stack as a volume, along its three families of planes: slower by as much, better "
        "where neighbouring slices show the same",
    )
    parser.add_argument(
        "--depth-axis", metavar="LETTER", help="the axis of the stack that is depth (default Z)"
    )
    computing_arguments(parser)
    parser.set_defaults(run="pnp_lip.cli.denoise:denoise")
    return parser
