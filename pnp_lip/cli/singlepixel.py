"""``pnp-lip singlepixel``: an image from few numbers, each a pattern times the scene."""

from __future__ import annotations

import argparse
from typing import Any

from pnp_lip.cli.many import each
from pnp_lip.cli.scan import scanned, solve_scan, tensor
from pnp_lip.errors import InputError
from pnp_lip.formats.measurements import read_measurement
from pnp_lip.recipes import single_pixel as imaging

__all__ = ["singlepixel"]

_NOISE = 0.005


def singlepixel(options: argparse.Namespace) -> int:
    """Reconstruct one measurement or several."""
    return each(options, _singlepixel)


def _singlepixel(options: argparse.Namespace) -> dict[str, Any]:
    scan = scanned(options)
    noise = _NOISE if options.noise is None else options.noise
    numbers = scan.numbers.to(options.device)
    if scan.simulate:
        problem = imaging.simulated(numbers, options.share, noise, options.seed)
    elif options.patterns is None:
        raise InputError("measured numbers need the patterns that were shown: --patterns FILE")
    else:
        patterns = tensor(read_measurement(options.patterns, "patterns")).to(options.device)
        problem = imaging.observed(numbers.flatten(), patterns, noise)
    return solve_scan(scan, [problem], imaging.strength, options)
