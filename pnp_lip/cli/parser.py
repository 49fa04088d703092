"""The commands of ``pnp-lip``; nothing heavy is imported to show their help."""

from __future__ import annotations

import argparse

from pnp_lip.cli.commands import (
    certify,
    ct,
    deblur,
    deconvolve,
    demosaic,
    denoise,
    inpaint,
    jpeg,
    mri,
    saltpepper,
    singlepixel,
    superresolve,
    train,
)
from pnp_lip.cli.usage import Parser
from pnp_lip.versions import versions

__all__ = ["COMMANDS", "build_parser"]

#: The commands in the order of the help, each with the module that declares it.
COMMANDS = {
    "deblur": deblur,
    "deconvolve": deconvolve,
    "inpaint": inpaint,
    "superresolve": superresolve,
    "denoise": denoise,
    "demosaic": demosaic,
    "saltpepper": saltpepper,
    "jpeg": jpeg,
    "mri": mri,
    "ct": ct,
    "singlepixel": singlepixel,
    "certify": certify,
    "train": train,
}

_DESCRIPTION = """\
Restore images with a denoiser that is proved nonexpansive, so that the iteration provably converges.

Try it without any file: 'pnp-lip deblur' and 'pnp-lip inpaint' degrade a photograph that comes with
scikit-image and restore it. Each command documents itself: pnp-lip deblur --help
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser; ``run`` of the parsed options names the command's function, ``module:function``."""
    parser = Parser(
        prog="pnp-lip",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_versions())
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS.values():
        command = module.add(subparsers)
        command.add_argument(
            "--traceback", action="store_true", help="show where an error arose in the program"
        )
    return parser


def _versions() -> str:
    """What a report of a fault should name."""
    known = versions()
    others = ", ".join(f"{name} {number}" for name, number in known.items() if name != "pnp-lip")
    return f"pnp-lip {known['pnp-lip']} ({others})"
