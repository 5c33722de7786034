"""The growing loaders under a real Trainer: rows, their order, and a resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from tests.unit.data.loaders import module, rows

from tutelage.data.growing import GrowingDataModule
from tutelage.data.pool import Pool
from tutelage.errors import ConfigError

# Rows are already tokenised, so workers are not needed; and Lightning 2.6 uses a name
# deprecated by torch 2.13.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),
]


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool.open(tmp_path / "rows.jsonl")


class Student(pl.LightningModule):
    """Records the batches it sees, and grows the pool at the end of each epoch."""

    def __init__(self, data: GrowingDataModule) -> None:
        super().__init__()
        self.layer = torch.nn.Embedding(50, 3)
        self.data = data
        self.trained: dict[int, list[list[str]]] = {}
        self.validated: dict[tuple[int, str], list[str]] = {}

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        ids = [item.id for item in self.data.items("train", batch["index"])]
        self.trained.setdefault(self.current_epoch, []).append(ids)
        scores = self.layer(batch["input_ids"]).mean(dim=1)
        return (
            torch.nn.functional.cross_entropy(scores, batch["targets"], reduction="none")
            * batch["weights"]
        ).mean()

    def validation_step(
        self, batch: dict[str, torch.Tensor], _: int, dataloader_idx: int = 0
    ) -> None:
        name = ("dev", "fresh")[dataloader_idx]
        ids = [item.id for item in self.data.items(name, batch["index"])]
        self.validated.setdefault((self.current_epoch, name), []).extend(ids)

    def on_train_epoch_end(self) -> None:
        self.data.pool.append(
            rows(5 if self.current_epoch != 1 else 0, round=self.current_epoch + 1)
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(
    pool: Pool, folder: Path, epochs: int, resume: Path | None = None, reload: int = 1
) -> Student:
    data = module(pool)
    student = Student(data)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=reload,
        callbacks=[
            ModelCheckpoint(
                folder / "checkpoints",
                filename="{epoch}",
                save_top_k=-1,
                save_on_train_epoch_end=True,
            )
        ],
        default_root_dir=folder,
    )
    trainer.fit(student, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
    return student


def test_lightning_trains_on_the_grown_pool(pool: Pool, tmp_path: Path) -> None:
    pool.append(rows(6))
    student = fit(pool, tmp_path, 4)
    assert {epoch: sum(map(len, batches)) for epoch, batches in student.trained.items()} == {
        0: 6,
        1: 11,
        2: 11,
        3: 16,
    }
    assert student.trained[1] != student.trained[2]  # the same rows in another order
    assert student.validated[0, "fresh"] != []
    assert sorted(student.validated[1, "fresh"]) == [f"1-{n}" for n in range(5)]
    assert all(len(student.validated[epoch, "dev"]) == 7 for epoch in range(4))


def test_lightning_accepts_an_empty_fresh_loader(pool: Pool, tmp_path: Path) -> None:
    pool.append([*rows(6), *rows(2, round=9, accepted=False, reason="near")])
    student = fit(pool, tmp_path, 1)
    assert (0, "fresh") not in student.validated
    assert len(student.validated[0, "dev"]) == 7


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_resumed_run_repeats_the_batches_exactly(tmp_path: Path) -> None:
    whole = Pool.open(tmp_path / "whole" / "rows.jsonl")
    whole.append(rows(6))
    undisturbed = fit(whole, tmp_path / "whole", 4)

    broken = Pool.open(tmp_path / "broken" / "rows.jsonl")
    broken.append(rows(6))
    fit(broken, tmp_path / "broken", 2)
    broken.append(
        [replace(row, id=f"lost {row.id}") for row in rows(3, round=2)]
    )  # after the last checkpoint, before the kill
    reopened = Pool.open(tmp_path / "broken" / "rows.jsonl")
    resumed = fit(
        reopened,
        tmp_path / "broken",
        4,
        resume=tmp_path / "broken" / "checkpoints" / "epoch=1.ckpt",
    )
    assert set(resumed.trained) == {2, 3}
    assert all(resumed.trained[epoch] == undisturbed.trained[epoch] for epoch in (2, 3))
    assert resumed.validated == {
        key: value for key, value in undisturbed.validated.items() if key[0] >= 2
    }
    assert reopened.digest() == whole.digest()


def test_a_trainer_that_never_reloads_is_refused(pool: Pool, tmp_path: Path) -> None:
    pool.append(rows(6))
    with pytest.raises(ConfigError, match="reload_dataloaders_every_n_epochs=0"):
        fit(pool, tmp_path, 1, reload=0)
