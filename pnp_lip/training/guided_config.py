"""What the training of a guided denoiser depends on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pnp_lip.errors import InputError
from pnp_lip.training.config import TrainingConfig

__all__ = ["GuidedConfig"]


@dataclass(frozen=True)
class GuidedConfig(TrainingConfig):
    """Everything the run of a guided denoiser depends on; read from TOML by :meth:`read`.

    The attributes of :class:`TrainingConfig` have the same meaning, but for ``initial``: weights of a
    plain denoiser, of which both stages are made, or of a guided one, which is trained further, in a
    file or ``"guided"`` for the shipped ones. Sizes of the layers come from there; ``depth``, ``nf``,
    ``kernel_size``, ``inner_channels``, ``compile`` and ``channels_last`` have none. ``precision`` is
    meant for the mask network.

    Attributes
    ----------
    mask_channels, mask_blocks, mask_limit
        sizes of the mask network, where it is new.
    mask_initial
        file of a guided denoiser, perhaps for other images, whose mask network lends
        what fits, or ``"guided"`` for the shipped grey one; random if empty.
    mask_rate
        its largest learning rate.
    unfreeze
        step from which filters and thresholds are trained as well.
    restored
        file of :class:`~pnp_lip.training.restored.RestoredCrops`, which is made with the plain
        denoiser if it does not exist; no restored samples if empty.
    restored_count
        number of crops to make.
    restored_share
        share of the samples that come from there, once the filters are free.
    dial_share
        share of the samples for which the dial is drawn from [0, 1].

    Raises
    ------
    InputError
        a value of another type or out of its range; the message names the key.
    """

    initial: str = "default"
    mask_channels: int = 64
    mask_blocks: int = 5
    mask_limit: float = 2.0
    mask_initial: str = ""
    mask_rate: float = 1e-3
    unfreeze: int = 1500
    restored: str = ""
    restored_count: int = 480
    restored_share: float = 0.15
    dial_share: float = 0.125

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("mask_channels", "mask_blocks", "restored_count"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("restored_share", "dial_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        for name in ("mask_limit", "mask_rate", "unfreeze"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not self.initial:
            raise InputError("initial must name the weights of a plain or guided denoiser, got ''")
