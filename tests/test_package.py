"""The package is one namespace, and installs what it needs."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import tomllib
from pathlib import Path

import pytest

import pnp_lip
from pnp_lip.cli import main

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION = PROJECT["project"]["version"]


def packages() -> set[str]:
    """Every folder of the package with an ``__init__.py``, through the links."""
    folders = [Path(folder) for folder, _, _ in os.walk(ROOT / "pnp_lip", followlinks=True)]
    found = [folder for folder in folders if (folder / "__init__.py").is_file()]
    return {".".join(folder.relative_to(ROOT).parts) for folder in found}


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


def test_every_package_of_the_source_tree_is_installed() -> None:
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == packages()


def test_every_folder_with_modules_is_a_package() -> None:
    for folder, _, files in os.walk(ROOT / "pnp_lip", followlinks=True):
        assert "__init__.py" in files or not any(name.endswith(".py") for name in files), folder


def test_every_package_has_its_page_in_the_reference() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs/api").glob("*.md"))
    shown = set(re.findall(r"(?:automodule|py:module):: ([\w.]+)", pages))
    shown |= {name.rpartition(".")[0] for name in shown if name.startswith("pnp_lip.recipes.")}
    assert packages() - {"pnp_lip.cli", "pnp_lip.cli.commands", "pnp_lip.napari"} <= shown


def test_one_version_is_everywhere() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (\S+)$", citation, flags=re.MULTILINE) == [VERSION]
    (released,) = re.findall(r'^date-released: "(\S+)"$', citation, flags=re.MULTILINE)
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", changes, flags=re.MULTILINE)[:2] == [
        "Unreleased",
        f"{VERSION} - {released}",
    ]


def test_the_command_line_tells_the_version_that_is_installed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    shown = capsys.readouterr().out
    assert shown.startswith(
        f"pnp-lip {importlib.metadata.version('pnp-lip')} (python {platform.python_version()}, "
    )
    assert f"torch {importlib.metadata.version('torch')}, " in shown
