"""Training of nonexpansive denoisers, from a configuration to certified weights."""

from pnp_lip.training.config import TrainingConfig
from pnp_lip.training.evaluation import noise_weight, validation_psnr
from pnp_lip.training.processes import Processes
from pnp_lip.training.run import Training, train_with_progress

__all__ = [
    "Processes",
    "Training",
    "TrainingConfig",
    "noise_weight",
    "train_with_progress",
    "validation_psnr",
]
