"""The arguments of ``pnp-lip deconvolve``."""

from __future__ import annotations

import argparse

from pnp_lip.cli.arguments import positive
from pnp_lip.cli.commands.shared import EXIT, image_arguments, noise_arguments, solving_arguments
from pnp_lip.cli.usage import Subparsers

__all__ = ["add"]


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "deconvolve",
        help="sharpen images and volumes of a microscope",
        description="Deconvolve a microscope image or a z-stack with its point spread function: "
        "pnp-lip deconvolve stack.tif --psf psf.tif --photons 200 -o sharp.tif. A point spread function "
        "with slices restores the stack as a volume, for every time and channel by itself; one without "
        "restores it slice by slice. Axes and scale of ImageJ and OME-TIFF are kept. With --simulate, or "
        "without a file (a volume of cells is made then), a clean image is degraded first.",
        epilog=EXIT,
    )
    image_arguments(parser, "deconvolve")
    source = parser.add_argument_group("the point spread function, from a file or from the optics")
    source.add_argument(
        "--psf",
        metavar="FILE",
        help="the image of a bead: TIFF with slices as pages, or NPY, NPZ or MAT with the slices as "
        "first axis. It is scaled to sum 1; its centre is the voxel (depth//2, height//2, width//2), "
        "counted from 0",
    )
    source.add_argument(
        "--centre-kernel", action="store_true", help="move its centre of mass to that voxel"
    )
    source.add_argument(
        "--wavelength", type=positive, metavar="NM", help="of the recorded light, in nanometres"
    )
    source.add_argument("--na", type=positive, metavar="NA", help="numerical aperture")
    source.add_argument(
        "--pixel",
        type=positive,
        metavar="NM",
        help="side of a pixel in the sample, in nanometres (default: as ImageJ or OME wrote into the file)",
    )
    source.add_argument(
        "--step",
        type=positive,
        metavar="NM",
        help="from slice to slice, in nanometres: restores a volume",
    )
    source.add_argument(
        "--index",
        type=positive,
        default=1.515,
        metavar="N",
        help="refractive index of the immersion: 1 dry, 1.33 water, 1.515 oil (default)",
    )
    parser.add_argument(
        "--depth-axis", metavar="LETTER", help="the axis of the stack that is depth (default Z)"
    )
    parser.add_argument(
        "--photons",
        type=positive,
        metavar="N",
        help="counting photons makes the noise, and N photons are white: the white level divided by the "
        "numbers of the camera for one photon. Solved by the primal-dual method",
    )
    parser.add_argument(
        "--offset",
        type=positive,
        metavar="NUMBER",
        help="the stored number that stands for no light; it is subtracted and not added again",
    )
    noise_arguments(parser, 0.01, auto=True)
    solving_arguments(parser)
    parser.set_defaults(run="pnp_lip.cli.deconvolve:deconvolve")
    return parser
