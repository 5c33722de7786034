"""Two devices make the step of one: the same weights of rows, and the same gradient."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.classification import NAMES, TASK, make_text
from tests.helpers.fitting import SHOTS
from tests.helpers.ner import TYPES
from tests.helpers.ranks import on_ranks
from tests.helpers.tiny_student import tiny_network, tiny_tokenizer

from tutelage.data.growing import GrowingDataModule
from tutelage.data.pool import PoolCopy
from tutelage.data.training_view import RoundView
from tutelage.ranks import Ranks
from tutelage.records import Row
from tutelage.selectors.llkd import LLKD
from tutelage.selectors.protocol import Step, Weighed
from tutelage.selectors.row_selection import EveryRow
from tutelage.student.checkpoint import new_tagger
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.robust import SymmetricCrossEntropyLoss
from tutelage.student.losses.soft_targets import SoftTargetLoss
from tutelage.student.module import StudentModule
from tutelage.student.peers import PeerNetworks
from tutelage.student.schedule import RateSchedule
from tutelage.tasks.ner import NerTask
from tutelage.tasks.protocol import Task
from tutelage.tasks.spans import Span, write_spans

ROWS = tuple(
    Row(f"r{n}", make_text(NAMES[n % 3], n), NAMES[n % 3], "hard", 1, True, "") for n in range(11)
)
WORDS = ("amber", "birch", "cedar", "dune", "ember", "fjord")
NER = NerTask(TYPES)
NER_ROWS = tuple(
    Row(
        f"n{n}",
        " ".join(WORDS[: 2 + n % 4]),
        write_spans([Span(0, 1, TYPES[n % 3].name)] if n % 2 else []),
        "hard",
        1,
        True,
        "",
    )
    for n in range(7)
)


class Uneven(EveryRow):
    """Weights rows unevenly, leaves every third one out, and normalises as it is told."""

    def __init__(self, normaliser: Any) -> None:
        super().__init__()
        self.normaliser = normaliser

    def weigh(self, step: Step) -> Weighed:
        numbers = np.array([int(id[1:]) for id in step.ids])
        return Weighed(np.where(numbers % 3 == 0, 0.0, 0.2 + numbers / 5), {})


class Nothing(EveryRow):
    def weigh(self, step: Step) -> Weighed:
        return Weighed(np.zeros(len(step.ids)), {})


def tagger(encoder: Path) -> Any:
    torch.manual_seed(1)
    return new_tagger(str(encoder), NER.outputs)


def steps(
    ranks: Ranks,
    encoder: Path,
    selector: Any,
    *,
    loss: Any = None,
    task: Task = TASK,
    rows: tuple[Row, ...] = ROWS,
    peers: bool = False,
    batch_size: int = 4,
) -> list[Any]:
    """Gradient, logged loss, steps and selector's state after each batch of an epoch."""
    made = [
        tiny_network(encoder, seed=seed) if task is TASK else tagger(encoder)
        for seed in ((1, 2) if peers else (1,))
    ]
    network = PeerNetworks(made) if peers else made[0]
    module = StudentModule(
        network, task, loss or CrossEntropyLoss(), RateSchedule(), selector,
        batch_size=batch_size, learning_rate=1e-3, head_learning_rate=1e-3, weight_decay=0.0,
        ranks=ranks,
    )  # fmt: skip
    module.eval()  # no dropout, which is each device's own
    data = GrowingDataModule(
        PoolCopy(rows), task, tiny_tokenizer(), (), (), SHOTS,
        batch_size=batch_size, max_length=32, seed=3,
        view=RoundView("all", 1, 0, 0, 0, "shots=1"), ranks=ranks,
    )  # fmt: skip
    trainer = SimpleNamespace(datamodule=data, world_size=ranks.size, current_epoch=0)
    logged: list[float] = []
    module.__dict__["_trainer"] = trainer
    module.log = lambda name, value, **_: logged.append(float(value))  # type: ignore[method-assign]
    found = []
    for number, batch in enumerate(data.train_dataloader()):
        module.zero_grad(set_to_none=True)
        logged.clear()
        result = module.training_step(batch, number)
        if result is not None:
            result.backward()
        taught = module._taught
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        module.on_before_optimizer_step(optimizer)
        gradient = [
            torch.zeros_like(value) if value.grad is None else value.grad
            for value in module.parameters()
        ]
        # DistributedDataParallel averages over the ranks.
        averaged = torch.cat([(ranks.total(one) / ranks.size).flatten() for one in gradient])
        none = all(value.grad is None for value in module.parameters())
        found.append(
            (averaged, logged[:], module.steps, taught, none, sorted(
                item.id for item in module.learnt
            ), module.selector.state_dict() if ranks.leads else None)
        )  # fmt: skip
    return found


def same(folder: Path, work: Any, size: int = 2) -> list[Any]:
    """Asserts that each rank's steps are those of one process, and returns these."""
    alone = work(Ranks())
    together = on_ranks(folder, work, size)
    for rank, other in enumerate(together):
        assert len(alone) == len(other)
        for one, two in zip(alone, other, strict=True):
            assert torch.allclose(one[0], two[0], atol=1e-5, rtol=1e-4)
            assert one[1] == pytest.approx(two[1], abs=1e-5)
            assert one[2:4] == two[2:4]
            assert one[5] == two[5]
            if rank == 0:
                for side, known in (one[6] or {}).items():
                    assert known["global"] == pytest.approx(two[6][side]["global"])
                    assert known["classes"] == pytest.approx(two[6][side]["classes"], nan_ok=True)
    return list(alone)


@pytest.mark.parametrize("normaliser", ["weights", "kept", "batch"])
def test_the_gradient_is_that_of_the_whole_batch(
    tmp_path: Path, encoder: Path, normaliser: str
) -> None:
    found = same(tmp_path, lambda ranks: steps(ranks, encoder, Uneven(normaliser)))
    # 11 rows in batches of 4: one batch has 3, and the shares are uneven.
    assert len(found) == 3
    assert all(float(one[0].abs().max()) > 1e-3 for one in found)


@pytest.mark.parametrize("size", [2, 3])
def test_a_batch_of_one_row_is_one_device_s(tmp_path: Path, encoder: Path, size: int) -> None:
    same(
        tmp_path,
        lambda ranks: steps(ranks, encoder, Uneven("batch"), rows=ROWS[:10], batch_size=3),
        size,
    )


@pytest.mark.parametrize("loss", [SoftTargetLoss, SymmetricCrossEntropyLoss])
def test_other_losses_of_each_row_alone(tmp_path: Path, encoder: Path, loss: Any) -> None:
    same(tmp_path, lambda ranks: steps(ranks, encoder, Uneven("kept"), loss=loss()))


@pytest.mark.parametrize("refill", [False, True])
def test_thresholds_are_those_of_the_whole_batch(
    tmp_path: Path, encoder: Path, refill: bool
) -> None:
    found = same(
        tmp_path,
        lambda ranks: steps(ranks, encoder, LLKD(start="uniform", refill=refill), batch_size=3),
    )
    assert found[-1][6]["student"]["global"] > 0


def test_a_refilled_batch_is_gathered_over_several(tmp_path: Path, encoder: Path) -> None:
    selector = Uneven("weights")
    selector.refill = True
    found = same(tmp_path, lambda ranks: steps(ranks, encoder, selector, batch_size=3))
    assert {one[3] for one in found} == {True, False}


@pytest.mark.parametrize("normaliser", ["weights", "batch"])
def test_words_count_by_the_whole_batch(tmp_path: Path, encoder: Path, normaliser: str) -> None:
    same(
        tmp_path,
        lambda ranks: steps(
            ranks, encoder, Uneven(normaliser), task=NER, rows=NER_ROWS, batch_size=3
        ),
    )


def test_two_networks_on_two_devices(tmp_path: Path, encoder: Path) -> None:
    same(tmp_path, lambda ranks: steps(ranks, encoder, Uneven("kept"), peers=True))


def test_a_batch_that_teaches_nothing_leaves_no_gradient(tmp_path: Path, encoder: Path) -> None:
    found = on_ranks(tmp_path, lambda ranks: steps(ranks, encoder, Nothing()))
    for rank in found:
        for gradient, logged, count, taught, none, learnt, _ in rank:
            assert not gradient.any()
            assert (logged, count, taught, none, learnt) == ([], 0, False, True, [])
