"""The arguments of ``pnp-lip deblur``."""

from __future__ import annotations

import argparse

from pnp_lip.cli.commands.shared import EXIT, image_arguments, noise_arguments, solving_arguments
from pnp_lip.cli.usage import Subparsers

__all__ = ["add"]


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "deblur",
        help="restore a blurred image with a known kernel",
        description="Restore an image blurred by a known kernel (point spread function): pnp-lip "
        "deblur blurred.tif --kernel psf.tif --noise 0.01 -o sharp.tif. Nothing is assumed beyond "
        "the frame of a real image. The pages of a stack are restored one by one. With --simulate a "
        "clean image is blurred (periodically) and noised first, and PSNR and SSIM are reported.",
        epilog=EXIT,
    )
    image_arguments(parser, "deblur")
    parser.add_argument(
        "--kernel",
        metavar="FILE",
        help="the image of a bright point, as the microscope or the shaking camera records it: a grey "
        "PNG or TIFF, or numbers of any unit in NPY, NPZ or MAT (FILE:NAME for one array of several). "
        "It is scaled to sum 1 and not turned: the blurred image of a point looks like the file. Its "
        "centre is the pixel in row height//2 and column width//2, counted from 0. Needed for a real "
        "image; --simulate draws the trace of a shaking camera without it",
    )
    parser.add_argument(
        "--centre-kernel",
        action="store_true",
        help="move the kernel so that its centre of mass lies at its centre pixel; a kernel beside "
        "its centre moves the image",
    )
    noise_arguments(parser, 0.01, auto=True)
    solving_arguments(parser)
    parser.set_defaults(run="pnp_lip.cli.deblur:deblur")
    return parser
