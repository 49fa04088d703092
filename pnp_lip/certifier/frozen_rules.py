"""The rule of a frozen denoiser: in exact arithmetic it is the denoiser at one noise level.

What its folded constants and its order of operations round is a matter of execution, about which
nothing is stated. That the constants are those of the denoiser's weights is checked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from torch import nn

from pnp_lip.certifier.rules import Refusal, Settings, apply_rule, register_rule
from pnp_lip.certifier.statement import Statement
from pnp_lip.frozen import Frozen

__all__: list[str] = []


@register_rule(Frozen, keeps_shape=True)
def _frozen(module: nn.Module, name: str, settings: Settings) -> Statement:
    frozen = cast(Frozen, module)
    if not frozen.is_faithful():
        raise Refusal(
            f"'{name or 'the network'}' is not what its denoiser folds to: freeze the denoiser again"
        )
    inner = apply_rule(frozen.denoiser, f"{name}.denoiser" if name else "denoiser", settings)
    return replace(inner, execution=None)
