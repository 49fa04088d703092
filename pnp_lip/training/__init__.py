"""Training of nonexpansive denoisers, from a configuration to certified weights."""

from pnp_lip.training.config import TrainingConfig
from pnp_lip.training.evaluation import noise_weight, validation_psnr
from pnp_lip.training.guided import GuidedTraining
from pnp_lip.training.guided_config import GuidedConfig
from pnp_lip.training.processes import Processes
from pnp_lip.training.run import Training, train_with_progress

__all__ = [
    "GuidedConfig",
    "GuidedTraining",
    "Processes",
    "Training",
    "TrainingConfig",
    "noise_weight",
    "train_with_progress",
    "validation_psnr",
]
