"""How tests of the command line call it."""

from __future__ import annotations

from pathlib import Path

from pnp_lip.cli import main

#: A small network, whose proof takes no time.
GREY, COLOUR = (["--weights", f"{name}.safetensors"] for name in ("grey", "colour"))


def run(*arguments: str) -> int:
    return main([*arguments])


def contents(folder: Path) -> dict[Path, int]:
    """Files and folders below, with the time of their last change; Python's own cache aside."""
    return {
        path: path.lstat().st_mtime_ns
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts and path != folder
    }
