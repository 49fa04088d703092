"""The arguments of ``pnp-lip`` and their documentation."""

from __future__ import annotations

import argparse

from pnp_lip.cli import commands
from pnp_lip.data.photographs import PHOTOGRAPHS

__all__ = ["build_parser"]

_DESCRIPTION = """\
Plug-and-Play image restoration with denoisers that are proved nonexpansive.

Without any file, 'pnp-lip deblur' and 'pnp-lip inpaint' degrade a photograph that comes with
scikit-image and restore it. Each command documents itself: pnp-lip deblur --help
"""

_IMAGE = f"""\
image file (PNG, JPEG, TIFF or NPY; grey or colour; 8 or 16 bit, floats in [0, 1]), or the name of a
packaged photograph: {", ".join(PHOTOGRAPHS)}. Without it: camera, degraded first"""

_OUTPUT = """\
where to write the restored image; NAME.figure.png and NAME.json are written beside it. The bit
depth of the input is kept. Default: {name}.png in the current folder"""


def build_parser() -> argparse.ArgumentParser:
    """The parser; ``run`` of the parsed options is the command's function."""
    parser = argparse.ArgumentParser(
        prog="pnp-lip",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _deblur(subparsers)
    _inpaint(subparsers)
    _denoise(subparsers)
    _certify(subparsers)
    _train(subparsers)
    return parser


def _deblur(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "deblur",
        help="restore a blurred image with a known kernel",
        description="Restore an image blurred by a known kernel: pnp-lip deblur blurred.png "
        "--kernel kernel.png --noise 0.01 -o sharp.png. Nothing is assumed beyond the frame of a "
        "real image. With --simulate a clean image is blurred (periodically) and noised first, "
        "and PSNR and SSIM are reported.",
    )
    _image(parser, "deblur")
    parser.add_argument(
        "--kernel",
        metavar="FILE",
        help="the blur kernel as a grey image; it is scaled to sum 1. Needed for a real image; "
        "--simulate draws the trace of a shaking camera without it",
    )
    _noise(parser, 0.01)
    _solving(parser)
    parser.set_defaults(run=commands.deblur)


def _inpaint(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "inpaint",
        help="fill in missing pixels",
        description="Fill in the missing pixels of an image: pnp-lip inpaint damaged.png --mask "
        "mask.png -o whole.png. In the mask, white (above half) marks pixels that are KNOWN and "
        "kept, black marks pixels that are MISSING. With --simulate the pixels of a clean image "
        "are hidden first, at random without a mask, and PSNR and SSIM are reported.",
    )
    _image(parser, "inpaint")
    parser.add_argument(
        "--mask", metavar="FILE", help="white: known, black: missing; size of the image"
    )
    parser.add_argument(
        "--missing", type=float, default=0.5, help="share of pixels hidden at random (default 0.5)"
    )
    _noise(parser, 0.0)
    _solving(parser)
    parser.set_defaults(run=commands.inpaint)


def _denoise(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "denoise",
        help="remove Gaussian noise",
        description="Apply the denoiser once: pnp-lip denoise noisy.png --sigma 0.1 -o clean.png. "
        "With --simulate noise is added to a clean image first, and PSNR is reported.",
    )
    _image(parser, "denoise")
    parser.add_argument(
        "--sigma",
        type=float,
        default=0.1,
        help="standard deviation of the noise, in units of the full range (default 0.1)",
    )
    parser.add_argument(
        "--tile",
        type=int,
        metavar="PIXELS",
        help="denoise in tiles of this side, with a halo that keeps the result the same; bounds the "
        "memory (default: 512 above a megapixel, one tile below)",
    )
    _computing(parser)
    parser.set_defaults(run=commands.denoise)


def _certify(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
        "--channels", type=int, default=1, help="which shipped weights: 1 grey (default), 3 colour"
    )
    parser.add_argument("--bound", type=float, default=1.0, help="bound to be met (default 1)")
    parser.add_argument(
        "--gap",
        type=float,
        default=1e-3,
        help="relative gap between the norm bounds (default 1e-3)",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write the certificate as JSON")
    parser.add_argument(
        "--check", metavar="CERTIFICATE", help="verify this certificate of the weights again"
    )
    parser.add_argument(
        "--witness",
        metavar="FOLDER",
        help="write the two images that attain the lower bound; they are written to "
        "'counterexample' in any case where they violate the bound asked for",
    )
    parser.set_defaults(run=commands.certify_weights)


def _train(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
        "config", help="TOML file; pnp_lip/weights/*.toml are those of the shipped weights"
    )
    parser.add_argument("--folder", default="runs/train", help="of the run (default runs/train)")
    parser.add_argument("--device", default="cpu", help="where to train (default cpu)")
    parser.set_defaults(run=commands.train)


def _image(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument("image", nargs="?", help=_IMAGE)
    parser.add_argument(
        "-o", "--output", metavar="FILE", default=f"{name}.png", help=_OUTPUT.format(name=name)
    )
    parser.add_argument("--simulate", action="store_true", help="degrade the image first")


def _noise(parser: argparse.ArgumentParser, default: float) -> None:
    parser.add_argument(
        "--noise",
        type=float,
        default=default,
        help=f"standard deviation of the noise, in units of the full range (default {default})",
    )


def _solving(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--solver",
        choices=("forward-backward", "admm"),
        default="forward-backward",
        help="the iteration (default forward-backward)",
    )
    parser.add_argument(
        "--sigma", type=float, help="strength of the denoiser (default: from the noise)"
    )
    parser.add_argument("--stepsize", type=float, help="of the solver (default: from the theorem)")
    parser.add_argument("--max-iter", type=int, default=300, help="most iterations (default 300)")
    parser.add_argument(
        "--tol",
        type=float,
        default=1e-4,
        help="relative fixed-point residual to stop at (default 1e-4)",
    )
    _computing(parser)


def _computing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        default="default",
        help="a .safetensors file, or 'large' for the better network",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... (default cpu)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default 0)")
