"""Lightning's Trainer as a fit uses it: its settings, its call, and its known warnings."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tutelage.config.schema import RunConfig
from tutelage.data.growing import GrowingDataModule
from tutelage.errors import ConfigError
from tutelage.ranks import Ranks
from tutelage.student.module import StudentModule


def build_trainer(
    config: RunConfig,
    callbacks: list[Any],
    loggers: Sequence[Any] = (),
    *,
    ranks: Ranks,
    port: int = 0,
) -> Any:
    """Lightning's Trainer with the settings of conf/trainer, and what the loop needs itself.

    Args:
        ranks: The processes that train together.
        port: Port at which rank 0 waits for the others.

    Raises:
        ConfigError: Lightning refuses a setting.
    """
    from lightning_fabric.utilities.exceptions import MisconfigurationException
    from pytorch_lightning import Trainer

    settings = dict(config.trainer)
    if settings.get("precision") == "auto":
        settings["precision"] = _precision(str(settings.get("accelerator", "auto")))
    if ranks.several:
        from tutelage.callbacks.strategy import SharedBatches

        # The data module divides each batch itself, and rank 0 alone validates.
        settings |= {
            "strategy": SharedBatches(ranks, port),
            "use_distributed_sampler": False,
            "limit_val_batches": 0,
        }
    try:
        return Trainer(
            **settings,
            max_epochs=-1,
            reload_dataloaders_every_n_epochs=1,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            logger=list(loggers) or False,
            callbacks=callbacks,
        )
    except (MisconfigurationException, ValueError, TypeError) as error:
        raise ConfigError(
            f"Lightning's Trainer refuses a setting of trainer or callbacks: "
            f"{' '.join(str(error).split())}"
        ) from error


def fit_module(
    trainer: Any, module: StudentModule, data: GrowingDataModule, checkpoint: Path | None
) -> None:
    """Trains from the first epoch, or from a checkpoint, to the end of the run."""
    with _known_warnings():
        trainer.fit(
            module,
            datamodule=data,
            ckpt_path=str(checkpoint) if checkpoint else None,
            weights_only=True,
        )


@contextmanager
def _known_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        # Loaders of tokenised rows need no workers.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # A batch of which nothing is kept.
        warnings.filterwarnings("ignore", message=".*`training_step` returned `None`.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        # A first stage on a few shots has fewer batches than a logger's interval, and a resumed
        # run's logger gets its lines again (see StageMetrics).
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
        # What is logged on several devices is their sum already, and some encoders use all their
        # parameters.
        warnings.filterwarnings("ignore", message=".*recommended to use `.*sync_dist=True.*")
        warnings.filterwarnings("ignore", message=".*find_unused_parameters=True was specified.*")
        warnings.filterwarnings("ignore", message=".*Previous log files in this directory.*")
        yield


def be_quiet() -> None:
    """Keeps banners and progress bars off the terminal; warnings and errors still come through."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    for name in (
        "pytorch_lightning",
        "pytorch_lightning.utilities.rank_zero",
        "lightning.pytorch",
        "lightning_fabric.utilities.distributed",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)


def _precision(accelerator: str) -> Any:
    import torch

    gpu = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if gpu else "32-true"
