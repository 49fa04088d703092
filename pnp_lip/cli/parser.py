"""The arguments of ``pnp-lip`` and their documentation; nothing heavy is imported to show them."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from typing import NoReturn

from pnp_lip.cli.arguments import (
    at_least,
    noise_level,
    noise_level_or_auto,
    positive,
    seed,
    share,
)
from pnp_lip.errors import PnpLipError

__all__ = ["UsageError", "build_parser"]

_DESCRIPTION = """\
Restore images with a denoiser that is proved nonexpansive, so that the iteration provably converges.

Try it without any file: 'pnp-lip deblur' and 'pnp-lip inpaint' degrade a photograph that comes with
scikit-image and restore it. Each command documents itself: pnp-lip deblur --help
"""

_IMAGE = """\
image file: PNG, JPEG, TIFF (also stacks of ImageJ and OME, page by page), NPY, NPZ or MAT; grey or
colour; 8 or 16 bit, or floats in [0, 1]. Or the name of a packaged photograph: camera, astronaut,
coffee, chelsea, coins, rocket. Without it: camera, degraded first. Several files, patterns and
folders are restored one by one into a folder: plates/*.tif -o restored/. What an earlier run of the
same command finished is not repeated; restored/results.csv lists how each ended"""

_OUTPUT = """\
where to write the restored image; NAME.figure.png and NAME.json are written beside it. Bit depth,
white level, colour profile and axes of the input are kept. The folder must exist. Default:
{name}.png in the current folder, {name}.tif for a stack"""

_EXIT = """\
Exit code, the largest of several images: 0 done; 2 the input cannot be used; 3 the iteration ended
without converging (the result is written); 70 a fault of pnp-lip. Nothing is overwritten except
results of earlier runs."""


class UsageError(PnpLipError):
    """Arguments that do not fit together; the message starts with the command."""


class _Parser(argparse.ArgumentParser):
    """Complains in one sentence, as the commands do."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message} (see {self.prog} --help)")


def build_parser() -> argparse.ArgumentParser:
    """The parser; ``run`` of the parsed options names the command's function, ``module:function``."""
    parser = _Parser(
        prog="pnp-lip",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"pnp-lip {version('pnp-lip')}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_deblur, _inpaint, _superresolve, _denoise, _certify, _train):
        command = add(subparsers)
        command.add_argument(
            "--traceback", action="store_true", help="show where an error arose in the program"
        )
    return parser


_Subparsers = argparse._SubParsersAction


def _deblur(subparsers: _Subparsers[_Parser]) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "deblur",
        help="restore a blurred image with a known kernel",
        description="Restore an image blurred by a known kernel (point spread function): pnp-lip "
        "deblur blurred.tif --kernel psf.tif --noise 0.01 -o sharp.tif. Nothing is assumed beyond "
        "the frame of a real image. The pages of a stack are restored one by one. With --simulate a "
        "clean image is blurred (periodically) and noised first, and PSNR and SSIM are reported.",
        epilog=_EXIT,
    )
    _image(parser, "deblur")
    parser.add_argument(
        "--kernel",
        metavar="FILE",
        help="the image of a bright point, as the microscope or the shaking camera records it: a grey "
        "PNG or TIFF, or numbers of any unit in NPY, NPZ or MAT (FILE:NAME for one array of several). "
        "It is scaled to sum 1; its centre is the pixel in row height//2 and column width//2, counted "
        "from 0. Needed for a real image; --simulate draws the trace of a shaking camera without it",
    )
    parser.add_argument(
        "--centre-kernel",
        action="store_true",
        help="move the kernel so that its centre of mass lies at its centre pixel; a kernel beside "
        "its centre moves the image",
    )
    _noise(parser, 0.01, auto=True)
    _solving(parser)
    parser.set_defaults(run="pnp_lip.cli.restore:deblur")
    return parser


def _inpaint(subparsers: _Subparsers[_Parser]) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "inpaint",
        help="fill in missing pixels",
        description="Fill in the missing pixels of an image: pnp-lip inpaint damaged.png --mask "
        "mask.png -o whole.png. In the mask, white marks pixels that are KNOWN and kept, black "
        "marks pixels that are MISSING; the share that is missing is printed. With --simulate the "
        "pixels of a clean image are hidden first, at random without a mask, and PSNR and SSIM are "
        "reported.",
        epilog=_EXIT,
    )
    _image(parser, "inpaint")
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
    _noise(parser, 0.0, auto=False)
    _solving(parser)
    parser.set_defaults(run="pnp_lip.cli.restore:inpaint")
    return parser


def _superresolve(subparsers: _Subparsers[_Parser]) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "superresolve",
        help="make a small image larger",
        description="Restore an image that was made smaller by a factor (blurred by a Gaussian of half "
        "a small pixel, then sampled): pnp-lip superresolve small.png --factor 2 -o large.png. With "
        "--simulate a large image is made smaller and noised first, and PSNR and SSIM are reported "
        "beside those of bicubic interpolation.",
        epilog=_EXIT,
    )
    _image(parser, "superresolve")
    parser.add_argument(
        "--factor",
        type=int,
        choices=(2, 3, 4),
        default=2,
        help="how many times larger each side becomes (default 2)",
    )
    _noise(parser, 0.01, auto=True)
    _solving(parser)
    parser.set_defaults(run="pnp_lip.cli.restore:superresolve")
    return parser


def _denoise(subparsers: _Subparsers[_Parser]) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "denoise",
        help="remove Gaussian noise",
        description="Apply the denoiser once: pnp-lip denoise noisy.tif --sigma 0.1 -o clean.tif. "
        "With --simulate noise is added to a clean image first, and PSNR is reported.",
        epilog=_EXIT,
    )
    _image(parser, "denoise")
    parser.add_argument(
        "--sigma",
        type=noise_level_or_auto,
        default=0.1,
        help="standard deviation of the noise, where 1 is white: for 8-bit numbers divide by 255 "
        "(default 0.1, that is 25 of 255); 'auto' estimates it from the image",
    )
    parser.add_argument(
        "--tile",
        type=at_least(1),
        metavar="PIXELS",
        help="denoise in tiles of this side, with a halo that keeps the result the same; bounds the "
        "memory (default: 512 above a megapixel, one tile below)",
    )
    _computing(parser)
    parser.set_defaults(run="pnp_lip.cli.denoise:denoise")
    return parser


def _certify(subparsers: _Subparsers[_Parser]) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "certify",
        help="prove a denoiser's Lipschitz constant",
        description="Print the proved bound of every layer and of the whole network, the measured "
        "lower bound, and which solvers these allow. With --check, a stored certificate is proved "
        "again by a separate program in ball arithmetic (pip install 'pnp-lip[check]'). Exit code 1 "
        "if the bound asked for is not proved or the certificate is rejected, 2 if a file cannot "
        "be read.",
    )
    parser.add_argument(
        "weights",
        nargs="?",
        default="default",
        help="a .safetensors file written by pnp-lip, or package.module:name for an nn.Module of "
        "your own (the import runs its code); the shipped weights without it",
    )
    parser.add_argument(
        "--channels",
        type=at_least(1),
        default=1,
        help="which shipped weights: 1 grey (default), 3 colour",
    )
    parser.add_argument("--bound", type=positive, default=1.0, help="bound to be met (default 1)")
    parser.add_argument(
        "--gap",
        type=positive,
        default=1e-3,
        help="relative gap between the norm bounds (default 1e-3)",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write the certificate as JSON")
    parser.add_argument(
        "--force", action="store_true", help="overwrite a file that is no certificate"
    )
    parser.add_argument(
        "--check", metavar="CERTIFICATE", help="verify this certificate of the weights again"
    )
    parser.add_argument(
        "--witness",
        metavar="FOLDER",
        help="write the two images that attain the lower bound; they are written to "
        "'counterexample' in any case where they violate the bound asked for",
    )
    parser.set_defaults(run="pnp_lip.cli.certify:certify_weights")
    return parser


def _train(subparsers: _Subparsers[_Parser]) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "train",
        help="train a denoiser",
        description="Train a denoiser from a TOML configuration and certify it at every evaluation. "
        "A run can be cut at any time; the same command continues it to the same result. Writes "
        "weights.safetensors, curve.json and checkpoint.safetensors into the folder. Images are "
        "looked for below the folder named by PNP_LIP_DATA. Several processes: torchrun "
        "--nproc-per-node 2 -m pnp_lip train CONFIG --device cuda, each with its own patches.",
    )
    parser.add_argument(
        "config",
        help="TOML file, or the name of a shipped one: grey, colour, grey_guided, colour_guided",
    )
    parser.add_argument("--folder", default="runs/train", help="of the run (default runs/train)")
    parser.add_argument("--device", default="cpu", help="where to train (default cpu)")
    parser.set_defaults(run="pnp_lip.cli.train:train")
    return parser


def _image(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("images", nargs="*", metavar="image", help=_IMAGE)
    parser.add_argument("-o", "--output", metavar="FILE", help=_OUTPUT.format(name=name))
    parser.add_argument(
        "--force",
        action="store_true",
        help="overwrite whatever lies where the results go, the input included",
    )
    parser.add_argument("--simulate", action="store_true", help="degrade the image first")
    parser.add_argument(
        "--page",
        type=at_least(1),
        metavar="N",
        help="take one page of a stack, counted from 1 (default: all, one by one)",
    )
    parser.add_argument(
        "--white-level",
        type=positive,
        metavar="NUMBER",
        help="the stored number that stands for white: 4095 for a 12-bit camera, 255 for floats from "
        "0 to 255 (default: the largest of 8- and 16-bit files, 1 for floats)",
    )


def _noise(parser: argparse.ArgumentParser, default: float, *, auto: bool) -> None:
    estimated = "; 'auto' estimates it from the image" if auto else ""
    parser.add_argument(
        "--noise",
        type=noise_level_or_auto if auto else noise_level,
        default=default,
        help="standard deviation of the noise, where 1 is white: for 8-bit numbers divide by 255 "
        f"(default {default}){estimated}",
    )


def _solving(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--solver",
        choices=("forward-backward", "admm"),
        default="forward-backward",
        help="the iteration (default forward-backward)",
    )
    parser.add_argument(
        "--sigma",
        type=noise_level,
        help="strength of the denoiser, in the units of --noise; larger is smoother (default: from "
        "the noise)",
    )
    parser.add_argument(
        "--stepsize", type=positive, help="of the solver (default: from the theorem)"
    )
    parser.add_argument(
        "--max-iter", type=at_least(1), default=300, help="most iterations (default 300)"
    )
    parser.add_argument(
        "--tol",
        type=positive,
        default=1e-5,
        help="relative fixed-point residual to stop at (default 1e-5)",
    )
    parser.add_argument(
        "--unproved",
        action="store_true",
        help="run even where no convergence theorem applies; the report then claims none",
    )
    _computing(parser)


def _computing(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--guided",
        action="store_true",
        help="restore twice, the second time with thresholds from the first result: sharper, each solve "
        "with its theorem, but a small change of the data may change the result by more than itself",
    )
    choice.add_argument(
        "--plain",
        dest="guided",
        action="store_false",
        help="the robust denoiser, of which nonexpansiveness is proved from data to result (default)",
    )
    parser.add_argument(
        "--weights",
        default="default",
        help="a .safetensors file, or 'large' for the better network",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default cpu)")
    parser.add_argument("--seed", type=seed, default=0, help="of everything random (default 0)")
