"""The arguments of ``pnp-lip train``."""

from __future__ import annotations

import argparse

from pnp_lip.cli.usage import Subparsers

__all__ = ["add"]


def add(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a denoiser",
        description="Train a denoiser from a TOML configuration and certify it at every evaluation. "
        "A run can be cut at any time; the same command continues it to the same result. Writes "
        "weights.safetensors, curve.json and checkpoint.safetensors into the folder. Images are "
        "looked for below the folder named by PNP_LIP_DATA. Several processes: torchrun "
        "--nproc-per-node 2 -m pnp_lip train CONFIG --device cuda, each with its own patches; a guided "
        "denoiser takes one.",
    )
    parser.add_argument(
        "config",
        help="TOML file, or the name of a shipped one: grey, colour, grey_guided, colour_guided, "
        "grey_guided_further, colour_guided_further",
    )
    parser.add_argument("--folder", default="runs/train", help="of the run (default runs/train)")
    parser.add_argument("--device", default="cpu", help="where to train (default cpu)")
    parser.set_defaults(run="pnp_lip.cli.train:train")
    return parser
