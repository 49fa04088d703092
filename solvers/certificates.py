"""What is proved of a denoiser, remembered for the process as long as the denoiser stays what it was.

Norms of shipped weights are read from the certificates that come with them, if the weights have the hash
that the certificate names; the rules are walked again in any case. A separate checker proves these files.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from pnp_lip.certifier import Statement, digest
from pnp_lip.certifier.digest import tensor_bytes
from pnp_lip.certifier.rules import Settings, apply_rule
from pnp_lip.certifier.ways import bound_graph
from pnp_lip.denoisers.lipschitz import LipschitzDenoiser
from pnp_lip.norms import NormBound
from pnp_lip.weights import shipped_certificates, weight_hash

__all__ = ["shipped_norms", "statement_of"]

#: Statements remembered; the oldest goes first.
_MOST = 64
#: The relative gap of the bounds of norms.
_GAP = 1e-3
_KNOWN: OrderedDict[str, Statement] = OrderedDict()


def statement_of(denoiser: nn.Module, dtype: torch.dtype = torch.float32) -> Statement:
    """The statement about ``denoiser`` as it is now, on images of this type if it has no parameters.

    Raises
    ------
    Refusal
        some part of it has no rule, named together with the remedy.
    """
    # A part that cannot be read gives another digest every time, and nothing is remembered.
    key = f"{digest(denoiser)} {dtype}"
    if key not in _KNOWN:
        settings = Settings(_GAP, {}, bound_graph, dtype)
        settings.norms.update(shipped_norms(denoiser))
        _KNOWN[key] = apply_rule(denoiser, "", settings)
        if len(_KNOWN) > _MOST:
            _KNOWN.popitem(last=False)
    _KNOWN.move_to_end(key)
    return _KNOWN[key]


def shipped_norms(network: nn.Module) -> dict[Any, NormBound]:
    """Bounds of the filters of shipped weights in ``network``, under the keys of the rules."""
    found: dict[Any, NormBound] = {}
    for module in network.modules():
        if type(module) is not LipschitzDenoiser:
            continue
        bounds = _shipped().get(weight_hash(module.state_dict()), {})
        for name, bound in bounds.items():
            weight = module.get_submodule(name).weight
            found[tensor_bytes(weight.detach()), ()] = bound
    return found


@lru_cache(maxsize=1)
def _shipped() -> dict[str, dict[str, NormBound]]:
    """Bounds by the hash of the weights and the name of the layer."""
    found = {}
    for path in shipped_certificates():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["network"] == LipschitzDenoiser.__name__ and stored["gap"] <= _GAP:
            layers = ((layer["name"], layer.get("bound")) for layer in stored["layers"])
            found[stored["sha256"]] = {
                name: NormBound.from_json(bound) for name, bound in layers if bound is not None
            }
    return found
