"""What a measured row depends on besides its code: commit, processor, versions."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from pnp_lip.versions import versions

__all__ = ["commit", "machine", "processor", "provenance"]

ROOT = Path(__file__).resolve().parent.parent


def commit() -> str | None:
    """The commit of the source tree, ``COMMIT+changes`` where tracked files differ from it, or nothing
    outside a repository."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD").strip()
        # Results and pages are written by the run itself, and are no part of what it measures.
        changes = _git("status", "--porcelain", "--untracked-files=no", "--", "*.py", "*.toml")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}+changes" if changes.strip() else head


def _git(*arguments: str) -> str:
    run = subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, encoding="utf-8"
    )
    return run.stdout


def processor() -> str:
    """The processor's name: that of ``/proc/cpuinfo``, or what the platform calls it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
    """Processor, cores, threads in use and the GPU, if there is one."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def provenance(packages: Sequence[str] = ()) -> dict[str, Any]:
    """Commit, machine and versions, also of other ``packages`` that a benchmark measures."""
    others = {name: _version(name) for name in packages}
    return {"commit": commit(), "machine": machine(), "versions": versions() | others}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
