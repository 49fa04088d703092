"""Which of the processes that ``torchrun`` started this one is."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import distributed

from pnp_lip.errors import InputError

__all__ = ["Processes"]


@dataclass(frozen=True)
class Processes:
    """One process among those that train together; alone by default.

    Attributes
    ----------
    rank
        number of this process, from 0.
    size
        how many there are.
    local
        number of this process on its machine, and of the GPU it takes.
    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @classmethod
    def join(cls, device: str) -> Processes:
        """Meet the other processes, if ``torchrun`` started any: NCCL on GPUs, gloo on CPUs.

        Parameters
        ----------
        device
            ``"cpu"`` or ``"cuda"``.

        Raises
        ------
        InputError
            several processes for one numbered GPU.
        """
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        kind = torch.device(device)
        if kind.type == "cuda" and kind.index is not None:
            raise InputError(
                f"{size} processes cannot share {device}: pass --device cuda, each takes its own"
            )
        processes = cls(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
        if kind.type == "cuda":
            torch.cuda.set_device(processes.local)
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if kind.type == "cuda" else "gloo")
        return processes

    def leave(self) -> None:
        """Part from the others, at the end."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()

    def device(self, kind: str) -> str:
        """The device of this process: its own GPU where there are several."""
        return f"cuda:{self.local}" if self.size > 1 and kind == "cuda" else kind

    @property
    def first(self) -> bool:
        """Whether this process evaluates and writes."""
        return self.rank == 0
