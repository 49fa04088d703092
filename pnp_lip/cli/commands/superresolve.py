"""The arguments of ``pnp-lip superresolve``."""

from __future__ import annotations

import argparse

from pnp_lip.cli.commands.shared import EXIT, image_arguments, noise_arguments, solving_arguments
from pnp_lip.cli.usage import Subparsers

__all__ = ["add"]


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "superresolve",
        help="make a small image larger",
        description="Restore an image that was made smaller by a factor (blurred, "
        "then sampled): pnp-lip superresolve small.png --factor 2 -o large.png. With "
        "--simulate a large image is made smaller and noised first, and PSNR and SSIM are reported "
        "beside those of bicubic interpolation.",
        epilog=EXIT,
    )
    image_arguments(parser, "superresolve")
    parser.add_argument(
        "--factor",
        type=int,
        choices=(2, 3, 4),
        default=2,
        help="how many times larger each side becomes (default 2)",
    )
    parser.add_argument(
        "--blur",
        choices=("gaussian", "bicubic"),
        default="gaussian",
        help="how it was made smaller: a Gaussian of half a small pixel, as optics and sensors do "
        "(default), or bicubic, as programs do",
    )
    noise_arguments(parser, 0.01, auto=True)
    solving_arguments(parser)
    parser.set_defaults(run="pnp_lip.cli.superresolve:superresolve")
    return parser
