"""The package is one namespace, and installs what it needs."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import pnp_lip

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", ["solvers", "recipes"])
def test_the_links_of_the_source_tree_resolve(name: str) -> None:
    link = ROOT / "pnp_lip" / name
    assert link.is_symlink()
    assert link.resolve() == ROOT / name


@pytest.mark.parametrize("module", ["pnp_lip.solvers", "pnp_lip.recipes.deblur", "pnp_lip.cli"])
def test_everything_is_imported_below_pnp_lip(module: str) -> None:
    assert importlib.import_module(module).__name__ == module


def test_every_exported_name_exists() -> None:
    for name in pnp_lip.__all__:
        assert getattr(pnp_lip, name) is not None


def test_data_files_are_installed_with_the_package() -> None:
    weights = Path(importlib.import_module("pnp_lip.weights").__file__ or "").parent
    assert {"grey.safetensors", "grey.toml"} <= {path.name for path in weights.iterdir()}
