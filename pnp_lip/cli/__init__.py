"""The command line ``pnp-lip``."""

from pnp_lip.cli.entry import main

__all__ = ["main"]
