"""Runs a function in two or more processes that are joined by gloo, as devices of one student."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed

from tutelage.ranks import Ranks


def on_ranks(folder: Path, work: Callable[[Ranks], Any], size: int = 2) -> list[Any]:
    """Calls ``work`` in ``size`` forked processes and returns their results by rank.

    Each process has a connected :class:`Ranks`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    children = []
    for rank in range(size):
        pid = os.fork()
        if pid == 0:
            _child(folder, work, rank, size)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert codes == [0] * size, [path.read_text() for path in sorted(folder.glob("error-*"))]
    return [pickle.loads((folder / f"result-{rank}").read_bytes()) for rank in range(size)]


def _child(folder: Path, work: Callable[[Ranks], Any], rank: int, size: int) -> None:
    code = 1
    try:
        torch.set_num_threads(1)
        distributed.init_process_group(
            "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=size
        )
        ranks = Ranks(rank, size)
        ranks.connect()
        result = work(ranks)
        (folder / f"result-{rank}").write_bytes(pickle.dumps(result))
        distributed.barrier()
        code = 0
    except BaseException:
        (folder / f"error-{rank}").write_text(traceback.format_exc())
    finally:
        os._exit(code)
