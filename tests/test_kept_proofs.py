"""Proofs that were made before: of the shipped weights from their files, of any denoiser in the process."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pnp_lip import GuidedDenoiser, LipschitzDenoiser, Relaxed
from pnp_lip.certifier import prove
from pnp_lip.solvers.certificates import shipped_norms, statement_of
from pnp_lip.weights import shipped_certificates


@pytest.fixture
def no_proofs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the norms that are proved; none is remembered from before."""
    from pnp_lip.certifier import rules
    from pnp_lip.norms import convolution_norm

    proved: list[int] = []

    def counted(*given: Any, **options: Any) -> Any:
        proved.append(1)
        return convolution_norm(*given, **options)

    monkeypatch.setattr(rules, "convolution_norm", counted)
    monkeypatch.setattr("pnp_lip.solvers.certificates._KNOWN", type(_known())())
    return proved


def two_layers() -> LipschitzDenoiser:
    """Two layers whose filters differ."""
    small = LipschitzDenoiser(1, depth=2, nf=8, kernel_size=3, pretrained=None)
    small.requires_grad_(False)
    small.get_parameter("layers.1.weight").mul_(0.5)
    return small


def _known() -> Any:
    from pnp_lip.solvers import certificates

    return certificates._KNOWN


@pytest.mark.parametrize(("channels", "size"), [(1, "default"), (3, "default"), (1, "large")])
def test_shipped_weights_are_not_proved_again(
    channels: int, size: str, no_proofs: list[int]
) -> None:
    denoiser = LipschitzDenoiser(channels, pretrained=size)
    statement = statement_of(denoiser)
    assert statement.upper == 1.0
    assert statement.averagedness is not None
    assert not no_proofs
    assert statement_of(Relaxed(denoiser, 0.5)).averagedness is not None
    assert statement_of(GuidedDenoiser(channels).plain).upper == 1.0
    assert not no_proofs


def test_what_is_read_is_what_a_proof_gives(no_proofs: list[int]) -> None:
    denoiser = LipschitzDenoiser(1)
    read, fresh = statement_of(denoiser), prove(denoiser)
    assert (read.upper, read.averagedness, read.execution) == (
        fresh.upper,
        fresh.averagedness,
        fresh.execution,
    )
    (file,) = [path for path in shipped_certificates() if path.name == "grey.certificate.json"]
    stored = json.loads(file.read_text())
    norms = [leaf.norm_upper for leaf in read.leaves()]
    assert norms == [layer["norm_upper"] for layer in stored["layers"]]
    # Both are proved; on another processor the last bit of a bound may be another.
    assert norms == [pytest.approx(leaf.norm_upper, rel=1e-14) for leaf in fresh.leaves()]
    assert len(no_proofs) == len(denoiser.layers)


def test_one_changed_number_is_proved_anew(no_proofs: list[int]) -> None:
    denoiser = LipschitzDenoiser(1)
    weight = next(iter(denoiser.parameters())).requires_grad_(False)
    assert len(shipped_norms(denoiser)) == len(denoiser.layers)
    weight.mul_(3)
    assert not shipped_norms(denoiser)
    assert statement_of(denoiser).upper > 1
    assert len(no_proofs) == len(denoiser.layers)


def test_shared_layers_are_proved_once(no_proofs: list[int]) -> None:
    small = two_layers()
    repeated = small.repeated(3)
    assert statement_of(repeated).upper == 1.0
    assert len(repeated.layers) == 6
    assert len(no_proofs) == 2


def test_a_denoiser_is_proved_once_in_a_process(no_proofs: list[int]) -> None:
    small = two_layers()
    for _ in range(3):
        statement_of(small)
    assert len(no_proofs) == 2
