"""The arguments of ``pnp-lip certify``."""

from __future__ import annotations

import argparse

from pnp_lip.cli.arguments import at_least, positive
from pnp_lip.cli.usage import Subparsers

__all__ = ["add"]


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the command."""
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
