"""The denoisers of the recipes, each read once for many images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pnp_lip.denoisers.guided import GuidedDenoiser
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.weights import weight_hash

__all__ = ["Network", "network"]

Stamp = tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class Network:
    """A denoiser without gradients, and the hash of its weights."""

    denoiser: LipschitzDenoiser | GuidedDenoiser
    sha256: str


def network(channels: int, weights: str, device: str, *, guided: bool = False) -> Network:
    """The shipped denoiser, or the one in a file; read again only where the file has changed.

    Parameters
    ----------
    channels
        1 for grey images, 3 for colour.
    weights
        ``"default"``, ``"large"``, or a file.
    device
        where it computes.
    guided
        with thresholds that a guide scales.

    Raises
    ------
    WeightsError
        no such weights, or of another kind or number of channels.
    """
    path = Path(weights)
    stamp = (path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else None
    return _loaded(channels, str(path.resolve() if stamp else weights), device, guided, stamp)


@lru_cache(maxsize=4)
def _loaded(channels: int, weights: str, device: str, guided: bool, stamp: Stamp) -> Network:
    denoiser: LipschitzDenoiser | GuidedDenoiser
    if guided:
        name = "guided" if weights == "default" else weights
        denoiser = GuidedDenoiser(channels, pretrained=name, device=device)
    else:
        denoiser = LipschitzDenoiser(channels, pretrained=weights, device=device)
    denoiser.requires_grad_(False)
    return Network(denoiser, weight_hash(denoiser.state_dict()))
