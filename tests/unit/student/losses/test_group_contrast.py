"""Pseudo group contrast against a slow double loop, and its memory over steps and checkpoints."""

from __future__ import annotations

import io
import math
from collections import defaultdict, deque
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.fitting import Fit, Killed, ScriptedMethod, build, run
from tests.helpers.loss_targets import targets
from tests.helpers.tiny_student import tiny_network

from tutelage.errors import ConfigError
from tutelage.student.losses.contrastive import GroupContrastLoss
from tutelage.student.losses.cross_entropy import CrossEntropyLoss
from tutelage.student.losses.protocol import Targets
from tutelage.student.observing import mean_state
from tutelage.student.peers import PeerNetworks

Unit = tuple[int, ...]


class Table(torch.nn.Module):
    """An encoder whose states are rows of a table, after dropout."""

    def __init__(self, seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self.table = torch.nn.Parameter(torch.randn(9, 4, generator=rng))
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        states = self.dropout(self.table[input_ids])
        return SimpleNamespace(logits=states.sum(1), last_hidden_state=states)


def batch_of(hard: Any, seed: int) -> dict[str, torch.Tensor]:
    """Token ids, [B, L]; a text has from 1 to 3 tokens."""
    rng = torch.Generator().manual_seed(seed)
    shape = torch.tensor(hard).shape if isinstance(hard[0], list) else (len(hard), 3)
    ids = torch.randint(0, 9, tuple(shape), generator=rng)
    lengths = torch.randint(1, shape[1] + 1, (len(hard), 1), generator=rng)
    mask = (torch.arange(shape[1]) < lengths).long()
    return {"input_ids": ids, "attention_mask": mask}


def states_of(table: torch.Tensor, batch: dict[str, torch.Tensor], taught: Targets) -> torch.Tensor:
    states = table[batch["input_ids"]]
    by_word = taught.weights.ndim == 2
    return states if by_word else mean_state(states, batch["attention_mask"])


def step(loss: GroupContrastLoss, network: Table, hard: Any, seed: int = 0) -> torch.Tensor:
    taught, batch = targets(hard, 3), batch_of(hard, seed)
    features = states_of(network.table, batch, taught)
    return loss.contrast(network, batch, features, taught)


class Reference:
    """The loss by its formula, unit by unit and key by key."""

    def __init__(self, temperature: float, keys_per_class: int, momentum: float) -> None:
        self.temperature, self.momentum = temperature, momentum
        self.queues: dict[int, deque[list[float]]] = defaultdict(
            lambda: deque(maxlen=keys_per_class)
        )
        self.encoder: torch.Tensor | None = None

    def similarity(self, a: list[float], b: list[float]) -> float:
        product = sum(x * y for x, y in zip(a, b, strict=True))
        return product / math.hypot(*a) / math.hypot(*b) / self.temperature

    def losses(
        self, table: torch.Tensor, batch: dict[str, torch.Tensor], taught: Targets
    ) -> dict[Unit, float]:
        old = table if self.encoder is None else self.encoder
        self.encoder = self.momentum * old + (1 - self.momentum) * table
        queries, keys = states_of(table, batch, taught), states_of(self.encoder, batch, taught)
        found, new = {}, []
        for unit in (tuple(index) for index in taught.weights.nonzero().tolist()):
            label = int(taught.hard[unit].argmax())
            query, own = queries[unit].tolist(), keys[unit].tolist()
            positive = [own, *self.queues[label]]
            negative = [k for c, queue in self.queues.items() if c != label for k in queue]
            total = sum(math.exp(self.similarity(query, key)) for key in positive + negative)
            logs = [math.log(math.exp(self.similarity(query, key)) / total) for key in positive]
            found[unit] = -sum(logs) / len(logs)
            new.append((label, own))
        for label, own in new:
            self.queues[label].append(own)
        return found


HARD = st.one_of(
    st.lists(st.integers(0, 2), min_size=1, max_size=5),
    st.lists(st.lists(st.integers(-1, 2), min_size=3, max_size=3), min_size=1, max_size=3),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(HARD, min_size=2, max_size=5),
    st.floats(0.1, 2),
    st.integers(1, 4),
    st.floats(0, 0.99),
    st.floats(0, 3),
)
def test_it_is_its_formula_over_several_steps(
    batches: list[Any], temperature: float, keys_per_class: int, momentum: float, weight: float
) -> None:
    loss = GroupContrastLoss(weight, temperature, keys_per_class, momentum)
    slow, network = Reference(temperature, keys_per_class, momentum), Table()
    for number, hard in enumerate(batches):
        taught, batch = targets(hard, 3), batch_of(hard, number)
        features = states_of(network.table, batch, taught)
        losses = loss.contrast(network, batch, features, taught)
        assert losses.shape == taught.weights.shape
        if taught.weights.any():
            expected = slow.losses(network.table.detach(), batch, taught)
            for unit, value in expected.items():
                assert losses[unit].item() == pytest.approx(weight * value, rel=1e-3, abs=1e-4)
            losses.sum().backward()
            assert network.table.grad is not None
            assert network.table.grad.isfinite().all()
        assert not losses[taught.weights == 0].any()
        with torch.no_grad():
            network.table.add_(torch.randn(9, 4, generator=torch.Generator().manual_seed(number)))
    # Cross-entropy itself is as ever.
    taught = targets([0, 2, 1], 3)
    logits = torch.randn(3, 3, dtype=torch.float64)
    assert torch.equal(loss(logits, taught), CrossEntropyLoss()(logits, taught))


def test_the_first_step_has_nothing_to_compare_with_and_the_second_has() -> None:
    loss, network = GroupContrastLoss(), Table()
    assert not step(loss, network, [0, 1, 2, 0]).any()
    assert step(loss, network, [0, 1, 2, 0], seed=1).all()


def test_a_wrong_label_changes_little_where_the_group_is_right() -> None:
    """One wrong key in a queue moves the gradient less, the more keys the queue has."""

    def change(keys: int) -> float:
        grads = []
        for last in (0, 1):
            network = Table()
            loss = GroupContrastLoss(temperature=1.0, keys_per_class=keys + 4)
            step(loss, network, [*[0] * keys, *[1] * keys, last], seed=3)
            step(loss, network, [0, 0, 1], seed=4).sum().backward()
            assert network.table.grad is not None
            grads.append(network.table.grad)
        return float((grads[0] - grads[1]).norm() / grads[0].norm())

    assert change(32) < change(8) < change(2)


def test_rows_left_out_by_the_selector_are_neither_compared_nor_remembered() -> None:
    loss, other, network = GroupContrastLoss(), GroupContrastLoss(), Table()
    for number in range(2):
        batch, taught = batch_of([0, 1, 2, 0], number), targets([0, 1, 2, 0], 3)
        features, keep = states_of(network.table, batch, taught), [0, 1, 3]
        chosen = replace(taught, weights=torch.tensor([1.0, 0.5, 0.0, 2.0]).double())
        losses = loss.contrast(network, batch, features, chosen)
        fewer = {name: value[keep] for name, value in batch.items()}
        alone = other.contrast(network, fewer, features[keep], targets([0, 1, 0], 3))
        torch.testing.assert_close(losses[keep], alone)
        assert losses[2] == 0
    assert torch.equal(loss.get_extra_state()["classes"], torch.tensor([0, 1, 0, 0, 1, 0]))


@pytest.mark.parametrize("hard", [[[-1, -1]], [[-1], [-1]]])
def test_a_batch_without_a_unit_moves_nothing(hard: Any) -> None:
    loss, network = GroupContrastLoss(), Table()
    assert not step(loss, network, hard).any()
    assert loss.get_extra_state()["encoder"] == {}


def test_a_queue_keeps_its_newest_keys_and_no_others() -> None:
    loss, network = GroupContrastLoss(keys_per_class=2), Table()
    made = []
    for number, hard in enumerate(([0, 1, 0], [0, 0, 0], [2, 1])):
        batch = batch_of(hard, number)
        step(loss, network, hard, number)
        states = states_of(network.table.detach(), batch, targets(hard, 3))
        made.append(torch.nn.functional.normalize(states, dim=-1))
    state = loss.get_extra_state()
    assert state["classes"].tolist() == [1, 0, 0, 2, 1]
    torch.testing.assert_close(state["keys"], torch.cat([made[0][1:2], made[1][1:], made[2]]))


def test_keys_are_made_without_dropout_and_leave_mode_and_random_numbers_alone() -> None:
    plain, dropping = Table(), Table(dropout=0.5).train()
    loss, other = GroupContrastLoss(), GroupContrastLoss()
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    for one, network in ((loss, plain), (other, dropping)):
        step(one, network, [0, 1, 2])
    assert torch.equal(torch.random.get_rng_state(), before)
    assert dropping.dropout.training
    assert torch.equal(loss.get_extra_state()["keys"], other.get_extra_state()["keys"])
    assert not loss.get_extra_state()["keys"].requires_grad


def test_the_key_encoder_is_a_copy_and_follows_in_float32() -> None:
    loss, network = GroupContrastLoss(momentum=0.75), Table().bfloat16()
    start = network.table.detach().clone()
    step(loss, network, [0, 1])
    with torch.no_grad():
        network.table.add_(1.0)
    assert torch.equal(loss.get_extra_state()["encoder"]["table"], start.float())
    step(loss, network, [0, 1])
    table = loss.get_extra_state()["encoder"]["table"]
    assert table.dtype == torch.float32
    torch.testing.assert_close(table, torch.lerp(start.float(), network.table.float(), 0.25))


def test_a_new_student_has_a_new_key_encoder_and_empty_queues() -> None:
    loss, fresh = GroupContrastLoss(), GroupContrastLoss()
    step(loss, Table(), [0, 1, 2])
    loss.start_anew()
    for number in range(2):
        ours, theirs = (step(one, Table(seed=1), [2, 0], number) for one in (loss, fresh))
        assert torch.equal(ours, theirs)


def test_its_memory_goes_into_a_checkpoint_and_comes_back() -> None:
    loss, network, file = GroupContrastLoss(), Table(), io.BytesIO()
    restored = GroupContrastLoss()
    for number in range(3):
        step(loss, network, [0, 1, 2, 0], number)
        # Also before it has made a step.
        file = io.BytesIO()
        torch.save(restored.state_dict(), file)
        torch.save(loss.state_dict(), file := io.BytesIO())
        file.seek(0)
        restored.load_state_dict(torch.load(file, weights_only=True))
        with torch.no_grad():
            network.table.mul_(1.1)
    for number in range(2):
        ours, theirs = (step(one, network, [1, 0], number) for one in (loss, restored))
        assert torch.equal(ours, theirs)


def pair(encoder: Path, seed: int = 1) -> PeerNetworks:
    return PeerNetworks([tiny_network(encoder, head_dropout=0.1, seed=seed + n) for n in (0, 1)])


def fitted(folder: Path, encoder: Path, resume: bool = False, **given: Any) -> Fit:
    """A run with two networks whose final stage begins with a new student."""
    fit = build(
        folder,
        encoder,
        ScriptedMethod(2),
        network=pair(encoder),
        loss=GroupContrastLoss(keys_per_class=3, momentum=0.5),
        window="all",
        resume=resume,
        new_weights=lambda: pair(encoder, seed=7).state_dict(),
        **given,
    )
    return run(fit, resume=resume)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Fit:
    """The run that nothing disturbed."""
    return fitted(tmp_path_factory.mktemp("whole"), encoder)


@pytest.mark.parametrize("explode_at", [3, 4, 6])
def test_a_killed_run_ends_with_the_same_networks_and_key_encoders(
    whole: Fit, tmp_path: Path, encoder: Path, explode_at: int
) -> None:
    with pytest.raises(Killed):
        fitted(tmp_path, encoder, explode_at=explode_at)
    resumed = fitted(tmp_path, encoder, resume=True)
    assert resumed.numbers() == whole.numbers()
    ours, theirs = (fit.module.state_dict() for fit in (resumed, whole))
    assert ours.keys() == theirs.keys()
    extra = [name for name in theirs if name.endswith("_extra_state")]
    assert len(extra) == 2, "each network has its own"
    for name, value in theirs.items():
        if name not in extra:
            assert torch.equal(ours[name], value)
    for name in extra:
        for part in ("keys", "classes"):
            assert torch.equal(ours[name][part], theirs[name][part])
        encoders = ours[name]["encoder"], theirs[name]["encoder"]
        assert all(torch.equal(encoders[0][key], value) for key, value in encoders[1].items())


def test_each_network_has_its_own_key_encoder_of_the_new_student(whole: Fit, encoder: Path) -> None:
    losses = (whole.module.loss, *whole.module._peer_losses)
    first, second = (loss.get_extra_state()["encoder"] for loss in losses)
    head = "classifier.weight"
    assert not torch.equal(first[head], second[head])
    # The final stage begins where new_weights is, and the old student is far from there.
    start = pair(encoder, seed=7).networks
    for own, network, began in zip(
        (first, second), whole.module.network.networks, start, strict=True
    ):
        now, then = network.state_dict()[head], began.state_dict()[head]
        assert torch.linalg.norm(own[head] - then) < torch.linalg.norm(now - then)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"weight": -0.1}, "weight=-0.1 must be"),
        ({"temperature": 0.0}, "temperature=0.0 must be"),
        ({"keys_per_class": 0}, "keys_per_class=0 must be"),
        ({"momentum": 1.0}, "momentum=1.0 must be"),
        ({"momentum": -0.1}, "momentum=-0.1 must be"),
    ],
)
def test_settings_in_their_ranges(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=f"loss.{named}"):
        GroupContrastLoss(**values)
