"""The layers of a certificate while they are used up: each is proved again where the network has it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from torch import Tensor
from tqdm import tqdm

from pnp_lip.checker.composition import Claim
from pnp_lip.checker.execution import Error
from pnp_lip.checker.file import Layer
from pnp_lip.checker.layer import check_layer
from pnp_lip.checker.rejection import CertificateRejected

__all__ = ["Ledger", "require_claim", "require_error"]

#: Seconds after which progress is shown.
_DELAY = 2.0


class Ledger:
    """Which layers were proved again, and what was only assumed."""

    def __init__(self, layers: Sequence[Layer], *, progress: bool) -> None:
        self.layers = layers
        self.used: set[int] = set()
        self.assumed: dict[str, None] = {}
        self.proved: set[Any] = set()
        weighted = sum(layer.bound is not None for layer in layers)
        self.bar = tqdm(
            total=weighted,
            desc="norms",
            unit="layer",
            delay=_DELAY,
            disable=not progress,
            leave=False,
        )

    def take(self, name: str | None, among: list[int]) -> Layer:
        """The next of the layers in ``among``, which must have this name."""
        if not among:
            raise CertificateRejected(f"the certificate ends before layer '{name}'")
        index = among.pop(0)
        layer = self.layers[index]
        if name is not None and layer.name != name:
            raise CertificateRejected(f"expected layer '{name}', found '{layer.name}'")
        self.used.add(index)
        return layer

    def norm(self, layer: Layer, weight: Tensor, **arguments: Any) -> Fraction:
        """The stored norm of a weight, proved again once."""
        if layer.bound is None:
            raise CertificateRejected(f"layer '{layer.name}' has no bound of its weight")
        entries = weight.detach().double().cpu().contiguous().numpy().tobytes()
        key = (id(layer.bound), hashlib.sha256(entries).digest(), weight.shape, repr(arguments))
        if key not in self.proved:
            try:
                check_layer(weight, layer.bound, **arguments)
            except CertificateRejected as reason:
                raise CertificateRejected(f"layer '{layer.name}': {reason}") from reason
            self.proved.add(key)
            self.bar.update()
        return Fraction(float(layer.bound["upper"]))

    def confirm(
        self, layer: Layer, claim: Claim, error: Error | None = None, *, weighted: bool = False
    ) -> None:
        """A layer claims no more than what is proved."""
        if layer.bound is not None and not weighted:
            raise CertificateRejected(f"layer '{layer.name}' has no weight, but a bound of one")
        what = f"layer '{layer.name}'"
        require_claim(layer.upper, layer.averagedness, claim, what)
        require_error(layer.execution, error, what)

    def assume(self, layer: Layer, operator: str) -> None:
        """What has no rule here counts as it stands, and is named in the answer."""
        self.assumed[f"the bound {layer.upper!r} of '{layer.name}' ({operator})"] = None

    def close(self) -> None:
        """Every layer was used."""
        self.bar.close()
        for index, layer in enumerate(self.layers):
            if index not in self.used:
                raise CertificateRejected(
                    f"the certificate has a layer '{layer.name}', the network has not"
                )


def require_claim(upper: float, alpha: float | None, proved: Claim, what: str) -> None:
    """The numbers of an entry claim no more than what is proved."""
    if not Fraction(upper) >= proved.upper:
        raise CertificateRejected(
            f"the claimed bound {upper!r} of {what} is below what its layers prove, "
            f"{_decimal(proved.upper)}"
        )
    if alpha is None:
        return
    if proved.alpha is None or not Fraction(alpha) >= proved.alpha:
        shown = None if proved.alpha is None else _decimal(proved.alpha)
        raise CertificateRejected(
            f"the claimed averagedness {alpha!r} of {what} is below what its layers prove, {shown}"
        )


def require_error(claimed: dict[str, float] | None, proved: Error | None, what: str) -> None:
    """The execution error of an entry, if it claims one, is no less than what is proved."""
    if claimed is None:
        return
    if proved is None:
        raise CertificateRejected(f"{what} claims an execution error, of which nothing is proved")
    for key, value in claimed.items():
        if not Fraction(value) >= getattr(proved, key):
            raise CertificateRejected(
                f"the claimed execution error of {what} has {value!r} as its {key}, below what is "
                f"proved, {_decimal(getattr(proved, key))}"
            )


def _decimal(value: Fraction) -> str:
    try:
        return repr(float(value))
    except OverflowError:
        return "more than 1e308"
