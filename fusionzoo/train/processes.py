"""One process, or several that train one model together (`torchrun --nproc-per-node N`).

torch.distributed alone: batches are shared out by our own sampler, whose order must not depend on the number of
processes, and losses are divided by what the whole batch holds. accelerate would have to be kept from doing either.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.models.device import usable_device

__all__ = ["Processes", "joined"]


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: 0..count-1; the first alone writes files.
        count: how many there are.
        device: what this one computes on.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes, everywhere."""
        if self.count > 1:
            value = value.clone()
            dist.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Whether it is true in one of them."""
        return flag if self.count == 1 else bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0)

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank."""
        found: list[Any] = [value]
        if self.count > 1:
            found = [None] * self.count
            dist.all_gather_object(found, value)
        return found

    def together(self, module: nn.Module) -> nn.Module:
        """`module` whose gradients are means over the processes; batch norms see all images where they can (GPU)."""
        if self.count == 1:
            return module
        if self.device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return nn.parallel.DistributedDataParallel(module)

    def unsynchronised(self, module: nn.Module) -> bool:
        """Whether batch norms of `module` that learn will each see the images of one process alone."""
        norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)]
        learn = any(p.requires_grad for m in norms for p in m.parameters())
        return self.count > 1 and self.device.type != "cuda" and learn

    def apart(self, module: nn.Module) -> AbstractContextManager[None]:
        """Within it, the gradients of what `together` made are gathered and not yet averaged over the processes."""
        if isinstance(module, nn.parallel.DistributedDataParallel):
            context: AbstractContextManager[None] = module.no_sync()
            return context
        return nullcontext()


@contextmanager
def joined(device: str | None) -> Iterator[Processes]:
    """This process, joined with those that `torchrun` started beside it, if any, for the time of the context.

    Args:
        device: "cpu", "cuda", ...; None: cuda where there is one, each process its own.

    Raises:
        InputError: a device that cannot be used, or processes that find no meeting point.
    """
    count, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if count > 1 and name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', rank)}"
    place = usable_device(name)
    if count == 1:
        yield Processes(0, 1, place)
        return
    if "MASTER_ADDR" not in os.environ:
        raise InputError(f"WORLD_SIZE is {count}, but nothing says where the processes meet; start them with torchrun")
    if place.type == "cuda":
        torch.cuda.set_device(place)  # where nccl moves objects
    begun = not dist.is_initialized()
    if begun:
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Processes(rank, count, place)
    finally:
        if begun:
            dist.destroy_process_group()
