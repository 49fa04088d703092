"""Results of a benchmark on disk: JSON with versions, machine and arguments."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

from pnp_lip.files import write_text
from pnp_lip.versions import versions

__all__ = ["RESULTS", "record", "recorded"]

RESULTS = Path(__file__).with_name("results")


def recorded(name: str) -> dict[str, Any]:
    """The results of an earlier run, for those that run only some rows again; empty without one."""
    path = RESULTS / f"{name}.json"
    results: dict[str, Any] = json.loads(path.read_text())["results"] if path.is_file() else {}
    return results


def record(name: str, results: dict[str, Any], **arguments: Any) -> Path:
    """Write ``results/NAME.json`` and return its path."""
    content = {
        "benchmark": name,
        "arguments": arguments,
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "versions": versions(),
        "results": results,
    }
    path = RESULTS / f"{name}.json"
    write_text(path, json.dumps(content, indent=1) + "\n")
    return path
