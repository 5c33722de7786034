"""The growing loaders, alone and under a real Trainer: what is trained on, in which order, and after a resume."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from tutelage.data.growing import GrowingDataModule
from tutelage.data.items import ItemEncoder
from tutelage.data.pool import Pool
from tutelage.errors import ConfigError, DataError, RunError
from tutelage.records import Example, LabelDistribution, Row

# Workers are not needed, as rows are tokenised already; and Lightning 2.6 uses a name that torch 2.13 deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),
]

LABELS = ("A", "B", "C")
WORDS = [f"w{number}" for number in range(40)]


class OneLabelTask:
    """One-hot targets, and the row's distribution where it has one."""

    level: Literal["text", "word"] = "text"

    def target_vectors(self, row: Row) -> Sequence[Sequence[float]]:
        return [[float(name == row.target) for name in LABELS]]

    def teacher_vectors(self, row: Row) -> Sequence[Sequence[float]]:
        return [row.distribution.probabilities] if row.distribution is not None else self.target_vectors(row)

    def classes(self, target: str) -> tuple[str, ...]:
        return (target,)

    def key(self, row: Row, counts: Mapping[str, int]) -> int:
        return LABELS.index(row.target)


class AllAccepted:
    seed_source = "method.shots=0"

    def rows(self, pool: Pool, epoch: int) -> list[Row]:
        return list(pool.accepted())


def make_tokenizer(**settings: Any) -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    inner = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", **settings}
    return PreTrainedTokenizerFast(tokenizer_object=inner, **special)


def text(number: int) -> str:
    draw = random.Random(number)
    return " ".join(draw.choices(WORDS, k=draw.randint(2, 12)))


def rows(count: int, round: int = 0, **changes: Any) -> list[Row]:
    made = (Row(f"{round}-{n}", text(100 * round + n), LABELS[n % 3], "gold" if round == 0 else "hard", round, True) for n in range(count))
    return [replace(row, **changes) for row in made]


def examples(split: str, count: int) -> list[Example]:
    return [Example(f"{split}-{n}", text(5000 + n + len(split)), LABELS[n % 3]) for n in range(count)]


def module(pool: Pool, **settings: Any) -> GrowingDataModule:
    given: dict[str, Any] = {"batch_size": 4, "eval_batch_size": 3, "seed": 0, "view": AllAccepted(), "max_length": 16, **settings}
    return GrowingDataModule(pool, OneLabelTask(), make_tokenizer(), examples("dev", 7), examples("test", 5), **given)


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool.open(tmp_path / "rows.jsonl")


def test_a_batch_holds_what_the_student_needs(pool: Pool) -> None:
    soft = LabelDistribution(LABELS, (0.7, 0.2, 0.1), 0.25)
    pool.append([*rows(9, weight=0.5), replace(rows(1, round=1)[0], distribution=soft)])
    data = module(pool)
    seen = []
    for batch in data.train_dataloader():
        size, length = batch["input_ids"].shape
        assert batch["attention_mask"].shape == (size, length)
        assert batch["targets"].shape == (size, 3)
        assert [batch[key].dtype for key in ("input_ids", "attention_mask", "index")] == [torch.long] * 3
        assert [batch[key].dtype for key in ("targets", "weights")] == [torch.float32] * 2
        items = data.items("train", batch["index"])
        for place, item in enumerate(items):
            ids = batch["input_ids"][place][batch["attention_mask"][place].bool()].tolist()
            assert ids == make_tokenizer()(item.text)["input_ids"]
            assert batch["input_ids"][place][len(ids) :].tolist() == [0] * (length - len(ids))
            assert batch["weights"][place] == item.weight
            assert batch["targets"][place].tolist() == pytest.approx(item.vectors[0])
            assert batch["teacher"][place].tolist() == pytest.approx(item.teacher[0])
            assert batch["off_label"][place] == item.off_label
        assert length == max(len(item.token_ids) for item in items)
        seen += items
    assert sorted(item.id for item in seen) == sorted(row.id for row in pool.rows)
    fresh = next(item for item in seen if item.round == 1)
    assert (fresh.source, fresh.target, fresh.vectors) == ("hard", "A", ((1.0, 0.0, 0.0),))
    assert (fresh.teacher, fresh.confidence, fresh.off_label, fresh.key, fresh.gold) == (((0.7, 0.2, 0.1),), 0.7, 0.25, 0, False)
    gold = next(item for item in seen if item.target == "C")
    assert (gold.teacher, gold.confidence, gold.off_label, gold.key, gold.gold) == (gold.vectors, 1.0, 0.0, 2, True)


def test_dev_fresh_and_test(pool: Pool) -> None:
    pool.append([*rows(6), *rows(4, round=1), *rows(2, round=2), replace(rows(3, round=2)[2], accepted=False, reason="near")])
    data = module(pool)
    dev, fresh = data.val_dataloader()
    assert [item.id for item in fresh.dataset.items] == ["2-0", "2-1"]
    assert {item.source for item in dev.dataset.items} == {"dev"}
    order = [place for batch in dev for place in batch["index"].tolist()]
    assert order == sorted(range(7), key=lambda place: (len(data.items("dev", [place])[0].token_ids), place))
    tested = [item for batch in data.test_dataloader() for item in data.items("test", batch["index"])]
    assert {(item.source, item.round) for item in tested} == {("test", 0)}
    assert sorted(item.id for item in tested) == sorted(example.id for example in examples("test", 5))


def test_rejected_rows_are_never_fresh(pool: Pool) -> None:
    pool.append([*rows(3), *rows(2, round=1, accepted=False, reason="label")])
    data = module(pool)
    assert list(data.val_dataloader()[1]) == []
    assert data.items("fresh", []) == []


def test_each_row_is_tokenised_once_and_cuts_are_counted_once(pool: Pool) -> None:
    tokenizer = make_tokenizer()
    calls: list[str] = []

    class Counting:
        pad_token_id = 0

        def num_special_tokens_to_add(self) -> int:
            return 2

        def __call__(self, texts: list[str] | str, **settings: Any) -> Any:
            calls.extend([texts] if isinstance(texts, str) else texts)
            return tokenizer(texts, **settings)

    encoder = ItemEncoder(OneLabelTask(), Counting(), 6)
    short, long = Row("s", "w1 w2", "A", "gold", 0, True), Row("l", "w1 w2 w3 w4 w5", "A", "gold", 0, True)
    for _ in range(3):
        items = encoder.encode([short, long, short])
    assert calls == ["w1 w2", "w1 w2 w3 w4 w5", "w1 w2 w3 w4 w5"]
    assert items[0].token_ids == (2, 5, 6, 3)
    assert items[1].token_ids == (2, 5, 6, 7, 8, 3)
    assert encoder.truncated == 1


def test_cuts_are_counted_over_every_split(pool: Pool) -> None:
    pool.append(rows(6))
    data = module(pool, max_length=4)
    data.train_dataloader()
    assert data.truncated == sum(len(one.text.split()) > 2 for one in (*pool.rows, *examples("dev", 7), *examples("test", 5))) > 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"no accepted rows to train on: method.shots=0 gave none\. Give"),
        (rows(2, accepted=False, reason="near"), r"method.shots=0 gave none \(2 rows were rejected\)"),
    ],
)
def test_an_empty_first_pool_names_its_seed_source(pool: Pool, content: list[Row], message: str) -> None:
    pool.append(content)
    with pytest.raises(DataError, match=message):
        module(pool).train_dataloader()


def test_a_view_that_gives_nothing_is_named(pool: Pool) -> None:
    class Nothing(AllAccepted):
        def rows(self, pool: Pool, epoch: int) -> list[Row]:
            return []

    pool.append(rows(3))
    with pytest.raises(DataError, match=r"view Nothing gave no rows for epoch 0, though the pool has 3"):
        module(pool, view=Nothing()).train_dataloader()


def test_a_dev_example_without_label_is_refused(pool: Pool) -> None:
    with pytest.raises(DataError, match=r"dev example 'x' .* has no label"):
        GrowingDataModule(pool, OneLabelTask(), make_tokenizer(), [Example("x", "w1")], [], batch_size=1, seed=0, view=AllAccepted())


def test_settings_that_cannot_work_are_refused(pool: Pool) -> None:
    with pytest.raises(ConfigError, match="max_length=2 leaves no room beside 2 special tokens"):
        module(pool, max_length=2)
    with pytest.raises(ConfigError, match="no padding token"):
        ItemEncoder(OneLabelTask(), make_tokenizer(pad_token=None), 16)
    pool.append(rows(2))
    with pytest.raises(ConfigError, match="batch size is 0"):
        module(pool, batch_size=0).train_dataloader()
    with pytest.raises(ConfigError, match=r"Unknown loader 'tset'. Did you mean 'test'"):
        module(pool).items("tset", [0])


def test_state_goes_back_to_the_checkpoint(pool: Pool) -> None:
    pool.append(rows(4))
    data = module(pool)
    state = data.state_dict()
    assert state == {"length": 4, "digest": pool.digest()}
    pool.append(rows(3, round=1))
    data.load_state_dict(state)
    assert len(pool) == 4
    with pytest.raises(RunError, match="hash"):
        data.load_state_dict({"length": 3, "digest": state["digest"]})
    with pytest.raises(RunError, match="not of a tutelage run"):
        data.load_state_dict({})


class Student(pl.LightningModule):
    """Notes the batches that it sees, and grows the pool at the end of each epoch."""

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
        return (torch.nn.functional.cross_entropy(scores, batch["targets"], reduction="none") * batch["weights"]).mean()

    def validation_step(self, batch: dict[str, torch.Tensor], _: int, dataloader_idx: int = 0) -> None:
        name = ("dev", "fresh")[dataloader_idx]
        ids = [item.id for item in self.data.items(name, batch["index"])]
        self.validated.setdefault((self.current_epoch, name), []).extend(ids)

    def on_train_epoch_end(self) -> None:
        self.data.pool.append(rows(5 if self.current_epoch != 1 else 0, round=self.current_epoch + 1))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(pool: Pool, folder: Path, epochs: int, resume: Path | None = None, reload: int = 1) -> Student:
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
        callbacks=[ModelCheckpoint(folder / "checkpoints", filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)],
        default_root_dir=folder,
    )
    trainer.fit(student, datamodule=data, ckpt_path=resume, weights_only=True if resume else None)
    return student


def test_lightning_trains_on_the_grown_pool(pool: Pool, tmp_path: Path) -> None:
    pool.append(rows(6))
    student = fit(pool, tmp_path, 4)
    assert {epoch: sum(map(len, batches)) for epoch, batches in student.trained.items()} == {0: 6, 1: 11, 2: 11, 3: 16}
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
    broken.append([replace(row, id=f"lost {row.id}") for row in rows(3, round=2)])  # after the last checkpoint, before the kill
    reopened = Pool.open(tmp_path / "broken" / "rows.jsonl")
    resumed = fit(reopened, tmp_path / "broken", 4, resume=tmp_path / "broken" / "checkpoints" / "epoch=1.ckpt")
    assert set(resumed.trained) == {2, 3}
    assert all(resumed.trained[epoch] == undisturbed.trained[epoch] for epoch in (2, 3))
    assert resumed.validated == {key: value for key, value in undisturbed.validated.items() if key[0] >= 2}
    assert reopened.digest() == whole.digest()


def test_a_trainer_that_never_reloads_is_refused(pool: Pool, tmp_path: Path) -> None:
    pool.append(rows(6))
    with pytest.raises(ConfigError, match="reload_dataloaders_every_n_epochs=0"):
        fit(pool, tmp_path, 1, reload=0)
