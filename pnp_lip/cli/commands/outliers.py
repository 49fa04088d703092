"""Arguments of the commands against rare and large errors."""

from __future__ import annotations

import argparse

from pnp_lip.cli.arguments import at_least, noise_level, positive
from pnp_lip.cli.commands.shared import computing_arguments

__all__ = ["NOT_PROVED", "primal_dual_arguments"]

#: Said in the help of each.
NOT_PROVED = (
    "The iteration provably converges; that its limit is close to the truth is measured only."
)


def primal_dual_arguments(parser: argparse.ArgumentParser) -> None:
    """The only iteration."""
    parser.add_argument(
        "--sigma",
        type=noise_level,
        help="strength of the denoiser; larger is smoother (default: chosen on validation images)",
    )
    parser.add_argument(
        "--max-iter", type=at_least(1), default=300, help="most iterations (default 300)"
    )
    parser.add_argument(
        "--tol",
        type=positive,
        default=1e-4,
        help="relative fixed-point residual to stop at (default 1e-4)",
    )
    computing_arguments(parser)
    parser.set_defaults(
        solver="primal-dual",
        stepsize=None,
        unproved=False,
        noise=0.0,
        strength=None,
        strengths=None,
    )
