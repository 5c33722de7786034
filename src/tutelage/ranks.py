"""The processes that train one student together, one per device, and what they tell each other.

Rank 0 leads: it alone knows the run's folder, method, teacher and selector. The others follow; they
compute their share of each batch, and make the same optimizer steps.

Plain values travel through a gloo group of their own, beside the gradients' group. It waits as long
as a round needs, since a teacher may write for hours, and it works without a GPU.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as distributed

_PATIENCE = timedelta(days=365)
"""How long a rank waits for another one; the end of a process ends the wait at once."""


def free_port() -> int:
    """Returns a port of this machine that no process uses at the moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Ranks:
    """One process's place among those that train a student, and its messages to the others.

    A single process needs no :meth:`connect`, and every method returns what it was given.

    Args:
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size
        self._group: Any = None

    @property
    def leads(self) -> bool:
        """Whether this process is rank 0."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are other processes."""
        return self.size > 1

    def connect(self) -> None:
        """Opens the group of plain values; every rank calls it once Lightning has its own group."""
        if self.several:
            self._group = distributed.new_group(backend="gloo", timeout=_PATIENCE)

    def share(self, count: int) -> list[int]:
        """Returns the positions of a batch's rows that this rank computes.

        Every ``size``-th row is its own, so that ranks get rows of similar length. Where there is
        none for it, it computes the first row, which :meth:`own` gives no weight.

        Args:
            count: Number of rows in the batch, at least 1.
        """
        return list(range(self.rank, count, self.size)) or [0]

    def own(self, weights: torch.Tensor) -> torch.Tensor:
        """Returns the weights of the rows of :meth:`share`.

        Args:
            weights: Weights of the whole batch, [B, ...].
        """
        if not self.several:
            return weights
        found = weights[self.rank :: self.size]
        return found if len(found) else torch.zeros_like(weights[:1])

    def told(self, message: Any = None) -> Any:
        """Returns what rank 0 says; on rank 0, ``message`` itself."""
        if not self.several:
            return message
        said = [message]
        distributed.broadcast_object_list(said, src=0, group=self._group)
        return message if self.leads else said[0]

    def whole(self, part: torch.Tensor, count: int) -> torch.Tensor | None:
        """Returns the values of a whole batch on rank 0; None on the others.

        Args:
            part: Detached values of this rank's rows, [b, ...]; with more than two dimensions the
                second one may differ between ranks, and 0 fills the shorter ones.
            count: Number of rows B in the batch.

        Returns:
            Values in the order of the batch, [B, ...], on the device of ``part``.
        """
        if not self.several:
            return part
        parts: list[Any] | None = [None] * self.size if self.leads else None
        distributed.gather_object(part.detach().float().cpu(), parts, dst=0, group=self._group)
        if parts is None:
            return None
        shape = [count, *parts[0].shape[1:]]
        if len(shape) > 2:
            shape[1] = max(one.shape[1] for one in parts)
        found = torch.zeros(shape)
        for rank, one in enumerate(parts):
            rows = len(range(rank, count, self.size))
            if one.ndim > 2:
                found[rank :: self.size, : one.shape[1]] = one[:rows]
            else:
                found[rank :: self.size] = one[:rows]
        return found.to(part.device)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the sum of detached values over the ranks, the same on each.

        Args:
            values: Values of this rank.
        """
        if not self.several:
            return values
        # Gloo adds on the CPU.
        found = values.detach().double().cpu()
        distributed.all_reduce(found, group=self._group)
        return found.to(values)

    def copy(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrites tensors with those of rank 0, through the group of the gradients.

        Args:
            tensors: The same number on each rank, of the same shapes and on the training device.
        """
        if self.several:
            for tensor in tensors:
                distributed.broadcast(tensor.detach(), src=0)

    def close(self) -> None:
        """Leaves both groups, so that this process can train another student."""
        self._group = None
        if self.several and distributed.is_initialized():
            distributed.destroy_process_group()
            # Lightning writes them when it opens its group.
            for name in ("MASTER_ADDR", "MASTER_PORT"):
                os.environ.pop(name, None)
