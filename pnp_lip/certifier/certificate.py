"""What is known of a network's Lipschitz constant, and what of it is proved, as a value and a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pnp_lip.certifier.execution import Execution
from pnp_lip.certifier.statement import Statement
from pnp_lip.certifier.witness import Witness
from pnp_lip.files import write_text
from pnp_lip.norms import NormBound

__all__ = ["FORMAT", "Certificate"]

#: Of the file.
FORMAT = "pnp_lip certificate 3"
_COMPUTATION = (
    "Every number that enters this bound was computed with its rounding errors accounted for, assuming "
    "IEEE binary64 arithmetic and a library whose Cholesky factorisation uses the classical sums."
)


@dataclass(frozen=True)
class Certificate:
    """The answer of :func:`pnp_lip.certify`.

    Attributes
    ----------
    statement
        what is proved of the network, with the statements about its layers.
    witness
        a pair of inputs that attains a gain, or ``None`` if none was looked for.
    sha256
        hash of the weights this is about, see :func:`pnp_lip.weights.weight_hash`.
    gap
        the relative distance asked for between the bounds of each weight's norm.
    versions
        of the programs that computed it.
    network
        the class of the network, with its module.
    graphs
        records of what was bounded by its operators, one for every way to call it.
    layers
        the statements about single layers that the proof rests on; each once if there are graphs.

    Examples
    --------
    >>> from pnp_lip import Certificate, LipschitzDenoiser, certify
    >>> certificate = certify(LipschitzDenoiser(1))
    >>> certificate.upper, certificate.lower > 0.9
    (1.0, True)
    >>> Certificate.from_dict(certificate.to_dict()).upper
    1.0
    """

    statement: Statement
    witness: Witness | None
    sha256: str
    gap: float
    versions: dict[str, str] = field(default_factory=dict)
    network: str = ""
    graphs: tuple[dict[str, Any], ...] = ()
    layers: tuple[Statement, ...] = ()

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
    def execution(self) -> Execution | None:
        """What float32 arithmetic adds to an output, ``None`` where no bound is known."""
        return self.statement.execution

    @property
    def claims(self) -> dict[str, str | None]:
        """The three claims, each under its own assumptions, as sentences."""
        sizes, error, executed = ", ".join(self.statement.conditions), self.execution, None
        network = (
            f"In real arithmetic, the {self.network or 'network'} with the weights of SHA-256 "
            f"{self.sha256[:16]}... satisfies |D(x) - D(y)| <= {self.upper!r} |x - y| for all images of "
            f"every size{sizes and f' with {sizes}'}, and at every noise level if it takes one."
        )
        if error is not None:
            executed = (
                f"Executed in float32, an output differs from that of a network of the first claim (with "
                f"its thresholds as computed) by at most {error.relative!r} |x| + {error.offset!r} "
                f"sqrt(pixels), in any order of summation, without TF32, Winograd or FFT convolutions, "
                f"underflow or overflow."
            )
        return {"network": network, "computation": _COMPUTATION, "execution": executed}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, enough for :func:`pnp_lip.check_certificate`."""
        return {
            "format": FORMAT,
            **{key: getattr(self, key) for key in ("network", "sha256", "upper", "lower")},
            **{key: getattr(self, key) for key in ("averagedness", "claims")},
            "rule": self.statement.rule,
            "gap": self.gap,
            "execution": self.execution and asdict(self.execution),
            "versions": self.versions,
            "conditions": list(self.statement.conditions),
            "layers": [_layer(layer) for layer in self.layers],
            "graphs": list(self.graphs),
            "witness": None if self.witness is None else self.witness.to_json(),
        }

    def save(self, path: str | Path) -> None:
        """Write :meth:`to_dict` as JSON, atomically; one line an entry and one a layer."""
        lines = []
        for key, value in self.to_dict().items():
            text = json.dumps(value)
            if key in ("layers", "graphs") and value:
                text = "[\n" + ",\n".join(json.dumps(one) for one in value) + "\n]"
            lines.append(f"{json.dumps(key)}: {text}")
        write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")

    @classmethod
    def load(cls, path: str | Path) -> Certificate:
        """The inverse of :meth:`save`. Nothing is proved by reading: see ``check_certificate``.

        Raises
        ------
        FileNotFoundError
            no such file.
        ValueError
            not a certificate, or incomplete.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a certificate: {error!r}") from error

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Certificate:
        """The inverse of :meth:`to_dict`.

        Raises
        ------
        ValueError
            another format.
        """
        if data.get("format") != FORMAT:
            raise ValueError(f"expected format '{FORMAT}', got {data.get('format')!r}")
        layers = tuple(map(_statement, data["layers"]))
        whole = _statement({**data, "name": "", "bound": None})
        statement = replace(whole, parts=layers, conditions=tuple(data["conditions"]))
        witness = None if data["witness"] is None else Witness.from_json(data["witness"])
        about = (data["sha256"], data["gap"], data["versions"], data["network"])
        return cls(statement, witness, *about, tuple(data["graphs"]), layers)


def _layer(statement: Statement) -> dict[str, Any]:
    bound = statement.bound
    return {
        **{key: getattr(statement, key) for key in ("name", "rule", "upper", "averagedness")},
        **{key: getattr(statement, key) for key in ("norm_upper", "norm_lower")},
        "gap": bound.upper / bound.lower - 1 if bound is not None and bound.lower > 0 else None,
        "execution": statement.execution and asdict(statement.execution),
        "bound": None if bound is None else bound.to_json(),
    }


def _statement(layer: dict[str, Any]) -> Statement:
    bound = None if layer["bound"] is None else NormBound.from_json(layer["bound"])
    execution = None if layer["execution"] is None else Execution(**layer["execution"])
    claimed = (layer["rule"], layer["upper"], layer["averagedness"], layer["name"])
    return Statement(*claimed, bound, execution)
