"""Two processes, each with some of the physics and some of the tiles, find the solution of one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from distributed_solve import alone

ROOT = Path(__file__).parent.parent


def test_two_processes_under_torchrun_solve_like_one(tmp_path: Path) -> None:
    result = tmp_path / "result.pt"
    script = Path(__file__).with_name("distributed_solve.py")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run(
        [*launcher, str(script), str(result)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found, one = torch.load(result), alone()
    assert found["processes"] == 2
    assert found["theorem"]
    assert float((found["x"] - one.x).abs().max()) < 1e-5
    assert one.status.name == "CONVERGED"
