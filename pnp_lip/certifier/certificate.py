"""What is known of a network's Lipschitz constant, and what of it is proved."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pnp_lip.certifier.statement import Statement
from pnp_lip.certifier.witness import Witness
from pnp_lip.files import write_text

__all__ = ["Certificate"]


@dataclass(frozen=True)
class Certificate:
    """The answer of :func:`pnp_lip.certify`.

    Attributes:
        statement: what is proved of the network, with the statements about its layers.
        witness: a pair of inputs that attains a gain, or ``None`` if none was looked for.
        sha256: hash of the weights this is about, see :func:`pnp_lip.weights.weight_hash`.
        gap: the relative distance asked for between the bounds of each weight's norm.
        versions: of the programs that computed it.
    """

    statement: Statement
    witness: Witness | None
    sha256: str
    gap: float
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def upper(self) -> float:
        """Proved bound of the Lipschitz constant, for every image size and noise level."""
        return self.statement.upper

    @property
    def lower(self) -> float:
        """Gain attained by ``witness``; 0 if none was looked for. A measurement."""
        return 0.0 if self.witness is None else self.witness.gain

    @property
    def averagedness(self) -> float | None:
        """Proved averagedness, ``None`` if the network may be expansive."""
        return self.statement.averagedness

    @property
    def layers(self) -> tuple[Statement, ...]:
        """The statements about single layers that the proof rests on."""
        return self.statement.leaves()

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, without the images of the witness."""
        return {
            "upper": self.upper,
            "lower": self.lower,
            "averagedness": self.averagedness,
            "sha256": self.sha256,
            "gap": self.gap,
            "layers": [_layer(layer) for layer in self.layers],
            "versions": self.versions,
        }

    def save(self, path: str | Path) -> None:
        """Write :meth:`to_dict` as JSON, atomically."""
        write_text(path, json.dumps(self.to_dict(), indent=2) + "\n")


def _layer(statement: Statement) -> dict[str, Any]:
    return {
        "name": statement.name,
        "rule": statement.rule,
        "upper": statement.upper,
        "averagedness": statement.averagedness,
        "norm_upper": statement.norm_upper,
        "norm_lower": statement.norm_lower,
    }
