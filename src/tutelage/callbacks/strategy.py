"""Lightning's DistributedDataParallel for processes that the run starts itself."""

from __future__ import annotations

from typing import Any

from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy

from tutelage.ranks import Ranks

_HERE = "127.0.0.1"


class _OwnProcesses(LightningEnvironment):
    """One machine, whose processes know their ranks from the run rather than the environment."""

    def __init__(self, ranks: Ranks, port: int) -> None:
        super().__init__()
        self._ranks = ranks
        self._port = port

    @property
    def creates_processes_externally(self) -> bool:
        """True: the run has started them."""
        return True

    @property
    def main_address(self) -> str:
        """The address of rank 0."""
        return _HERE

    @property
    def main_port(self) -> int:
        """The port of rank 0."""
        return self._port

    def local_rank(self) -> int:
        """The rank, since there is one machine."""
        return self._ranks.rank

    def node_rank(self) -> int:
        """0, since there is one machine."""
        return 0


class SharedBatches(DDPStrategy):
    """DistributedDataParallel among processes that are there already.

    Some encoders have parameters that no loss reaches, such as a pooler, so unused ones are looked
    for.

    Args:
        ranks: This process's place.
        port: Port of rank 0 on this machine.
    """

    def __init__(self, ranks: Ranks, port: int) -> None:
        super().__init__(
            cluster_environment=_OwnProcesses(ranks, port),
            find_unused_parameters=True,
        )

    def _configure_launcher(self) -> None:
        """Starts no processes, and leaves the threads of this one as they are."""

    @classmethod
    def register_strategies(cls, strategy_registry: Any) -> None:
        """Registers no name: the run passes an object."""
