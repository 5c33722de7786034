"""Early-learning regularisation against a slow reference, its averages and their checkpoint."""

from __future__ import annotations

import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.loss_targets import LossBatch, loss_batches, softmax, targets

from tutelage.errors import ConfigError
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.early_learning import EarlyLearningLoss


@settings(max_examples=25, deadline=None)
@given(loss_batches(), st.floats(0, 5), st.floats(0, 0.95))
def test_it_is_its_formula_visit_after_visit(
    loss_batch: LossBatch, strength: float, momentum: float
) -> None:
    loss, memory = EarlyLearningLoss(strength, momentum), {}
    for visit in range(3):
        scaled = loss_batch.logits * (1 + visit)
        losses = loss(scaled, loss_batch.targets)
        for index, logits, hard, _, _ in loss_batch.units():
            p = softmax([value * (1 + visit) for value in logits])
            old = memory.get(index, [0.0] * len(p))
            memory[index] = [momentum * a + (1 - momentum) * b for a, b in zip(old, p, strict=True)]
            agreement = min(sum(a * b for a, b in zip(p, memory[index], strict=True)), 1 - 1e-4)
            expected = -math.log(p[hard]) + strength * math.log(1 - agreement)
            # The averages are float32, and the logarithm amplifies their rounding error as the
            # agreement approaches 1.
            bound = 1e-5 + strength * 3e-7 / (1 - agreement)
            assert float(losses[index]) == pytest.approx(expected, rel=1e-6, abs=bound)


def logits_of(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def test_averages_belong_to_rows_wherever_they_stand_in_a_batch() -> None:
    loss, other = EarlyLearningLoss(), EarlyLearningLoss()
    first, second = logits_of(0, 2, 3), logits_of(1, 2, 3)
    loss(first, targets([0, 1], 3, ids=("a", "b")))
    other(first, targets([0, 1], 3, ids=("a", "b")))
    there = loss(second, targets([0, 1], 3, ids=("a", "b")))
    turned = other(second.flip(0), targets([1, 0], 3, ids=("b", "a")))
    torch.testing.assert_close(there, turned.flip(0))


def test_a_row_twice_in_a_batch_is_averaged_twice() -> None:
    logits = logits_of(0, 1, 3)
    twice, again = EarlyLearningLoss(), EarlyLearningLoss()
    both = twice(logits.repeat(2, 1), targets([0, 0], 3, ids=("a", "a")))
    one_by_one = [again(logits, targets([0], 3, ids=("a",)))[0] for _ in range(2)]
    torch.testing.assert_close(both, torch.stack(one_by_one))


def test_evaluation_remembers_nothing_and_uses_what_is_there() -> None:
    loss, taught, logits = EarlyLearningLoss(), targets([0, 1], 3), logits_of(0, 2, 3)
    loss.eval()
    torch.testing.assert_close(loss(logits, taught), CrossEntropyLoss()(logits, taught))
    assert loss.get_extra_state()["ids"] == []
    learnt = loss.train()(logits, taught)
    loss.eval()
    torch.testing.assert_close(loss(logits, taught), learnt)
    torch.testing.assert_close(loss(logits, taught), learnt)


def test_padding_moves_no_average_and_no_change_of_a_row_s_words_breaks_it() -> None:
    loss, logits = EarlyLearningLoss(), logits_of(0, 1, 2, 3)
    padded = torch.cat([logits, 9 * torch.ones(1, 2, 3)], dim=1)
    loss(logits, targets([[0, 1]], 3, ids=("a",)))
    before = loss.get_extra_state()["values"].clone()
    loss.eval()(padded, targets([[0, 1, -1, -1]], 3, ids=("a",)))
    torch.testing.assert_close(loss.get_extra_state()["values"], before)
    loss.train()(padded[:, :3], targets([[0, 1, 2]], 3, ids=("a",)))
    assert loss.get_extra_state()["units"] == [3]


def test_its_memory_survives_a_checkpoint_of_plain_values() -> None:
    holder = torch.nn.ModuleDict({"loss": EarlyLearningLoss()})
    taught = targets([[0, 1, -1], [2, -1, -1], [-1, -1, -1]], 3, ids=("a", "b", "none"))
    holder["loss"](logits_of(0, 3, 3, 3), taught)
    file = io.BytesIO()
    torch.save(holder.state_dict(), file)
    file.seek(0)
    resumed = torch.nn.ModuleDict({"loss": EarlyLearningLoss()})
    resumed.load_state_dict(torch.load(file, weights_only=True))
    for seed in (1, 2):
        logits = logits_of(seed, 3, 3, 3)
        torch.testing.assert_close(
            resumed["loss"](logits, taught), holder["loss"](logits, taught), rtol=0, atol=0
        )


def test_an_empty_memory_survives_too() -> None:
    loss = EarlyLearningLoss()
    loss.load_state_dict(EarlyLearningLoss().state_dict())
    assert loss.get_extra_state()["ids"] == []


def test_the_average_has_no_gradient() -> None:
    logits = logits_of(0, 2, 3).requires_grad_()
    loss, taught = EarlyLearningLoss(3.0, 0.0), targets([0, 1], 3)
    loss(logits, taught).sum().backward()
    p = logits.detach().softmax(-1)
    fixed = logits.detach().clone().requires_grad_()
    (
        CrossEntropyLoss()(fixed, taught) + 3 * torch.log(1 - (fixed.softmax(-1) * p).sum(-1))
    ).sum().backward()
    torch.testing.assert_close(logits.grad, fixed.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("strength", "momentum", "named"), [(-1.0, 0.7, "strength=-1.0"), (3.0, 1.0, "momentum=1.0")]
)
def test_settings_in_their_ranges(strength: float, momentum: float, named: str) -> None:
    with pytest.raises(ConfigError, match=f"loss.{named} must be"):
        EarlyLearningLoss(strength, momentum)
