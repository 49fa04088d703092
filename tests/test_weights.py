"""Weight files come back to the bit, and damage is noticed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pnp_lip import LipschitzDenoiser, WeightsError
from pnp_lip.weights import SHIPPED_NAMES, read_weights, shipped, weight_hash, write_weights


@pytest.fixture
def saved(small_denoiser: LipschitzDenoiser, tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    write_weights(small_denoiser, path)
    return path


def test_a_reloaded_denoiser_gives_equal_bits(
    small_denoiser: LipschitzDenoiser, saved: Path
) -> None:
    again = LipschitzDenoiser.from_weights(saved)
    x = torch.rand(1, 1, 9, 11)
    assert torch.equal(again(x, 0.1), small_denoiser(x, 0.1))
    assert weight_hash(again.state_dict()) == weight_hash(small_denoiser.state_dict())
    assert not again.training


def test_weights_are_as_readable_as_any_new_file(saved: Path) -> None:
    other = saved.with_name("other")
    other.touch()
    assert saved.stat().st_mode == other.stat().st_mode


def test_truncated_weights_are_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="truncated"):
        LipschitzDenoiser.from_weights(saved)


def test_tampered_weights_are_refused(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    content[-5] ^= 1
    saved.write_bytes(bytes(content))
    with pytest.raises(WeightsError, match="was changed after it was written"):
        LipschitzDenoiser.from_weights(saved)


def test_foreign_safetensors_are_refused(saved: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    save_file(load_file(saved), foreign)
    with pytest.raises(WeightsError, match=r"was not written by pnp_lip\.write_weights"):
        read_weights(foreign)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no weights at .*nowhere"):
        read_weights(tmp_path / "nowhere.safetensors")


def test_weights_for_other_channels_are_not_shipped() -> None:
    with pytest.raises(WeightsError, match="shipped for 1 and 3 channels, not for 2"):
        shipped(2)


def test_only_safetensors_are_written(small_denoiser: LipschitzDenoiser, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"stored as \.safetensors"):
        write_weights(small_denoiser, tmp_path / "weights.pt")


def test_the_hash_sees_names_shapes_types_and_bytes() -> None:
    base = {"a": torch.arange(4.0)}
    others: list[dict[str, torch.Tensor]] = [
        {"b": torch.arange(4.0)},
        {"a": torch.arange(4.0).reshape(2, 2)},
        {"a": torch.arange(4.0).double()},
        {"a": torch.arange(4.0) + torch.tensor([0, 0, 0, 1e-6])},
        {"a": torch.arange(4.0), "b": torch.zeros(0)},
    ]
    hashes = {weight_hash(state) for state in [base, *others]}
    assert len(hashes) == len(others) + 1
    assert weight_hash({"a": torch.arange(4.0)}) == weight_hash(base)


def _written_without_lengths(state: dict[str, torch.Tensor]) -> bytes:
    """What the first format of weight files hashed: names, shapes, types and bytes in a row."""
    return b"".join(
        f"{name} {tuple(state[name].shape)} {state[name].dtype}\n".encode()
        + state[name].numpy().tobytes()
        for name in sorted(state)
    )


def test_two_states_that_were_written_alike_have_different_hashes() -> None:
    whole = {"a": torch.tensor(list(b"1b (1,) torch.uint8\n2"), dtype=torch.uint8)}
    length = len(whole["a"])
    split = {f"a ({length},) torch.uint8\n1b": torch.tensor([50], dtype=torch.uint8)}
    assert _written_without_lengths(whole) == _written_without_lengths(split)
    assert weight_hash(whole) != weight_hash(split)


def test_a_file_of_the_first_format_is_read_and_its_hash_verified(
    small_denoiser: LipschitzDenoiser, tmp_path: Path
) -> None:
    write_weights(small_denoiser, tmp_path / "w.safetensors")
    state = small_denoiser.state_dict()
    old = hashlib.sha256(_written_without_lengths(state)).hexdigest()
    _edited(tmp_path / "w.safetensors", format="pnp_lip 1", sha256=old)
    assert read_weights(tmp_path / "w.safetensors").sha256 == weight_hash(state)
    _edited(tmp_path / "w.safetensors", sha256=weight_hash(state))
    with pytest.raises(WeightsError, match="was changed after it was written"):
        read_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_the_shipped_certificate_is_about_the_shipped_weights(name: str, channels: int) -> None:
    import json

    path = shipped(channels, name)
    certificate = json.loads(path.with_suffix(".certificate.json").read_text())
    assert certificate["sha256"] == read_weights(name, channels).sha256
    assert path.stat().st_size < 5e6


def _edited(saved: Path, **edits: object) -> Path:
    """The file with other metadata, or with other tensors and their hash."""
    with safe_open(saved, framework="pt") as file:
        metadata = dict(file.metadata())
        state = {name: file.get_tensor(name) for name in file.keys()}
    change = edits.pop("tensors", None)
    if callable(change):
        change(state)
        metadata["sha256"] = weight_hash(state)
    for name, value in edits.items():
        metadata.pop(name)
        if value is not None:
            metadata[name] = str(value)
    save_file(state, saved, metadata)
    return saved


ARCHITECTURES = {
    "missing": (None, "does not say which network"),
    "no JSON": ("{", "no JSON"),
    "nested": ("[" * 900, "no JSON|named sizes"),
    "long": ("[" * 10**5, "does not say which network"),
    "list": ("[1, 2]", "expected named sizes"),
    "text": ('{"depth": "2"}', "depth=2: expected a whole number"),
    "huge": ('{"in_channels": 1, "depth": 1000000, "nf": 8, "kernel_size": 3}', "depth=1000000"),
    "negative": ('{"in_channels": 1, "depth": 2, "nf": -8, "kernel_size": 3}', "nf=-8"),
    "truth": ('{"in_channels": true, "depth": 2, "nf": 8, "kernel_size": 3}', "in_channels=True"),
    "other depth": ('{"in_channels": 1, "depth": 9, "nf": 8, "kernel_size": 3}', "say depth=9"),
    "other width": ('{"in_channels": 1, "depth": 2, "nf": 4, "kernel_size": 5}', "expected"),
    "other channels": ('{"in_channels": 3, "depth": 2, "nf": 8, "kernel_size": 3}', "expected"),
    "other names": ('{"in_channels": 1, "depth": 2, "nf": 8}', "describe a network by"),
    "no channels": ('{"depth": 2, "nf": 8, "kernel_size": 3}', "describe a network by"),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_that_is_not_that_of_the_tensors_is_refused(name: str, saved: Path) -> None:
    text, message = ARCHITECTURES[name]
    with pytest.raises((WeightsError, ValueError), match=message):
        LipschitzDenoiser.from_weights(_edited(saved, architecture=text))


def _cast(dtype: torch.dtype) -> object:
    return lambda state: state.update({"layers.0.weight": state["layers.0.weight"].to(dtype)})


TENSORS = {
    "float64": (_cast(torch.float64), "as torch.float64"),
    "bfloat16": (_cast(torch.bfloat16), "as torch.bfloat16"),
    "int32": (_cast(torch.int32), "as torch.int32"),
    "complex64": (_cast(torch.complex64), "as torch.complex64"),
    "missing": (lambda state: state.pop("layers.0.tau"), "no tensor 'layers.0.tau'"),
    "extra": (lambda state: state.update(other=torch.ones(1)), "a tensor 'other'"),
    "equal knots": (
        lambda state: state["layers.0.activation.knots"].fill_(0.1), "is not increasing",
    ),
    "not finite": (lambda state: state["layers.0.tau"].fill_(torch.nan), "NaN or infinity"),
}  # fmt: skip


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_are_neither_cast_nor_guessed(name: str, saved: Path) -> None:
    change, message = TENSORS[name]
    with pytest.raises(WeightsError, match=message):
        LipschitzDenoiser.from_weights(_edited(saved, tensors=change))
