"""Train a guided denoiser: ``python -m pnp_lip.training.train_guided CONFIG FOLDER``.

``CONFIG`` is a TOML file of :class:`~pnp_lip.training.GuidedConfig`; ``FOLDER`` gets the checkpoint,
from which the same command continues.
"""

from __future__ import annotations

import argparse

import torch

from pnp_lip.training.guided import GuidedTraining
from pnp_lip.training.guided_config import GuidedConfig
from pnp_lip.training.run import train_with_progress

__all__ = ["main"]


def main() -> None:
    """Read the arguments, and train to the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="TOML file")
    parser.add_argument("folder", help="of checkpoint, weights and curve")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train_with_progress(GuidedTraining(GuidedConfig.read(options.config), options.folder))


if __name__ == "__main__":
    main()
