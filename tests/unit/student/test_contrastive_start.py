"""With student.contrastive_start, a new student's encoder is tuned on pairs of rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.classification import NAMES, make_text
from tests.helpers.classification import TASK as TOPICS
from tests.helpers.fitting import Fit, Killed, ScriptedMethod, build, run
from tests.helpers.tiny_student import tiny_network, tiny_tokenizer, untaught

from tutelage.callbacks.contrastive_start import ContrastiveStart
from tutelage.config.build_student import build_student, pair_training
from tutelage.config.compose import compose_config
from tutelage.data.items import Item, ItemEncoder
from tutelage.errors import ConfigError, StudentError
from tutelage.records import Row, derive_seed
from tutelage.selectors.row_selection import EveryRow, SmallLoss, Surest
from tutelage.student.contrastive_start import Pair, PairTraining, draw_pairs, start_by_pairs
from tutelage.student.module import StudentModule
from tutelage.student.peers import PeerNetworks
from tutelage.student.schedule import RateSchedule
from tutelage.tasks.ner import NerTask
from tutelage.timeline import Timeline

TRAINING = PairTraining(3, 4, 1e-2, 0.01, RateSchedule(), first_token=False)


def items_of(rows: list[Row]) -> tuple[list[Item], ItemEncoder]:
    encoder = ItemEncoder(TOPICS, tiny_tokenizer(), 32)
    return encoder.encode(rows), encoder


def topics(count: int) -> list[Row]:
    return [
        Row(f"r{n}", make_text(NAMES[n % 3], n), NAMES[n % 3], "pool", 0, True)
        for n in range(count)
    ]


def calm(network: Any) -> Any:
    """Without dropout and in float64, since Adam makes much of small differences."""
    for part in network.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return network.double()


def weights_of(network: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_pairs_are_of_one_class_and_of_two_in_turn_and_classes_count_alike() -> None:
    classes = [0] * 40 + [1] * 2 + [2] * 2
    pairs = draw_pairs(classes, 3000, seed=5)
    assert pairs == draw_pairs(classes, 3000, seed=5) != draw_pairs(classes, 3000, seed=6)
    assert all(one.first != one.second for one in pairs)
    assert [one.cosine for one in pairs[:4]] == [1.0, 0.0, 1.0, 0.0]
    for one in pairs:
        assert (classes[one.first] == classes[one.second]) == (one.cosine == 1.0)
    alike = Counter(classes[one.first] for one in pairs if one.cosine)
    assert all(400 < alike[group] < 600 for group in range(3))


@pytest.mark.parametrize(
    ("classes", "cosines"),
    [([0, 1, 2], {0.0}), ([0, 0, 0], {1.0}), ([0], set()), ([], set()), ([4, 4, 7], {0.0, 1.0})],
)
def test_where_one_kind_of_pairs_is_missing_the_other_is_drawn(
    classes: list[int], cosines: set[float]
) -> None:
    assert {one.cosine for one in draw_pairs(classes, 20, seed=0)} == cosines


def slow_start(network: Any, items: list[Item], pairs: list[Pair], training: PairTraining) -> None:
    """Text by text, with the loss and AdamW written out."""
    moments: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for step in range(training.steps):
        for value in network.parameters():
            value.grad = None
        own = pairs[step * training.batch_size : (step + 1) * training.batch_size]
        loss = torch.zeros((), dtype=torch.float64)
        for pair in own:
            first, second = (
                states[0] if training.first_token else states.mean(0)
                for states in (
                    network.base_model(
                        input_ids=torch.tensor([items[index].token_ids])
                    ).last_hidden_state[0]
                    for index in (pair.first, pair.second)
                )
            )
            cosine = first @ second / (first.norm() * second.norm())
            loss = loss + (cosine - pair.cosine) ** 2 / len(own)
        loss.backward()
        rate = training.learning_rate * training.schedule.factor(step / training.steps)
        for name, value in network.base_model.named_parameters():
            if value.grad is None:
                continue
            mean, square = moments.get(name, (torch.zeros_like(value),) * 2)
            mean = 0.9 * mean + 0.1 * value.grad
            square = 0.999 * square + 0.001 * value.grad**2
            moments[name] = mean, square
            with torch.no_grad():
                value.mul_(1 - rate * training.weight_decay)
                value.sub_(
                    rate
                    * (mean / (1 - 0.9 ** (step + 1)))
                    / ((square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
                )


@pytest.mark.parametrize("pooling", ["normalized_mean", "first"])
def test_the_steps_are_those_of_a_slow_reference(encoder: Path, pooling: str) -> None:
    training = replace(TRAINING, first_token=pooling == "first")
    # Copies of a row count once, rows of weight 0 not at all.
    rows = topics(9)
    given = [*rows, *rows[:3], replace(rows[0], id="none", weight=0.0)]
    items, item_encoder = items_of(given)
    fast, slow = (calm(tiny_network(encoder, pooling)).train() for _ in range(2))
    head = fast.classifier.weight.clone()

    start_by_pairs(untaught(fast, TOPICS), items, item_encoder.collate, training, seed=3)

    own = derive_seed("contrastive start", 3, 0, bits=63)
    pairs = draw_pairs([n % 3 for n in range(9)], 12, own)
    before = weights_of(slow)
    slow_start(slow, items[:9], pairs, training)
    for name, value in slow.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], value, atol=1e-6, rtol=1e-6)
    assert torch.equal(head, fast.classifier.weight)
    assert any(not torch.equal(before[name], value) for name, value in weights_of(slow).items())
    assert all(value.grad is None for value in fast.parameters())


def test_texts_of_a_class_come_closer_and_the_random_state_stays(encoder: Path) -> None:
    module = untaught(tiny_network(encoder), TOPICS)
    items, item_encoder = items_of(topics(12))

    def gap() -> float:
        with torch.no_grad():
            vectors = torch.stack(
                [
                    module.network.base_model.eval()(input_ids=torch.tensor([item.token_ids]))
                    .last_hidden_state[0]
                    .mean(0)
                    for item in items
                ]
            )
        module.train()
        cosines = torch.nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=-1)
        same = torch.tensor([[a.group == b.group for b in items] for a in items])
        return float(cosines[same].mean() - cosines[~same].mean())

    before = gap()
    torch.manual_seed(4)
    state = torch.get_rng_state()
    start_by_pairs(module, items, item_encoder.collate, replace(TRAINING, steps=40), seed=1)
    assert gap() > before + 0.2
    assert torch.equal(torch.get_rng_state(), state)


def test_rows_without_a_pair_change_nothing(encoder: Path) -> None:
    module = untaught(tiny_network(encoder), TOPICS)
    before = weights_of(module.network)
    for rows in ([], topics(1)):
        items, item_encoder = items_of(rows)
        start_by_pairs(module, items, item_encoder.collate, TRAINING, seed=1)
    assert all(
        torch.equal(before[name], value) for name, value in weights_of(module.network).items()
    )


def test_a_diverging_start_names_the_settings(encoder: Path) -> None:
    module = untaught(tiny_network(encoder), TOPICS)
    items, item_encoder = items_of(topics(9))
    training = replace(TRAINING, steps=20, learning_rate=1e30)
    with pytest.raises(
        StudentError, match=r"in step \d+. Lower student.learning_rate \(now 1e\+30"
    ):
        start_by_pairs(module, items, item_encoder.collate, training, seed=1)


def started(
    folder: Path, encoder: Path, resume: bool = False, stages: Any = ("start",), **given: Any
) -> Fit:
    network = PeerNetworks([tiny_network(encoder, head_dropout=0.1, seed=one) for one in (1, 2)])
    fit = build(
        folder,
        encoder,
        ScriptedMethod(2),
        network=network,
        window="all",
        resume=resume,
        begins=[
            ContrastiveStart(TRAINING, 0, stages, kept=False),
            ContrastiveStart(TRAINING, 0, stages, kept=True),
        ],
        **given,
    )
    return run(fit, resume=resume)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Fit:
    return started(
        tmp_path_factory.mktemp("whole"), encoder, stages=("start", "round"), **anew(encoder)
    )


def anew(encoder: Path) -> dict[str, Any]:
    pair = PeerNetworks([tiny_network(encoder, head_dropout=0.1, seed=one) for one in (1, 2)])
    return {"round_weights": lambda: weights_of(pair)}


@pytest.mark.parametrize("explode_at", [3, 6])
def test_a_killed_run_ends_with_the_same_student(
    whole: Fit, tmp_path: Path, encoder: Path, explode_at: int
) -> None:
    given = {"stages": ("start", "round"), **anew(encoder)}
    with pytest.raises(Killed):
        started(tmp_path, encoder, explode_at=explode_at, **given)
    resumed = started(tmp_path, encoder, resume=True, **given)
    assert resumed.numbers() == whole.numbers()
    ours, theirs = resumed.module.network.state_dict(), whole.module.network.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def calls(
    monkeypatch: pytest.MonkeyPatch, folder: Path, encoder: Path, **given: Any
) -> list[tuple[str, int, int]]:
    """Stage, round and number of rows of each start."""
    found: list[tuple[str, int, int]] = []

    def note(module: StudentModule, items: Any, *_: Any) -> None:
        found.append((module.position.stage, module.position.round, len({one.id for one in items})))

    monkeypatch.setattr("tutelage.callbacks.contrastive_start.start_by_pairs", note)
    started(folder, encoder, **given)
    return found


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        (("start",), [("start", 0, 3)]),
        (("start", "final"), [("start", 0, 3), ("final", 3, 13)]),
        (("start", "round"), [("start", 0, 3), ("round", 1, 8), ("round", 2, 13)]),
    ],
)
def test_it_runs_once_where_a_new_student_starts_on_all_rows_so_far(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoder: Path, stages: Any, expected: Any
) -> None:
    timeline = Timeline(2, 2, 1, 0)
    found = calls(monkeypatch, tmp_path, encoder, stages=stages, timeline=timeline)
    assert found == expected


@pytest.mark.parametrize(
    ("selector", "rows"), [(EveryRow(), 13), (Surest(share=0.5), 8), (SmallLoss(), 13)]
)
def test_a_selector_that_needs_no_student_chooses_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, encoder: Path, selector: Any, rows: int
) -> None:
    found = calls(monkeypatch, tmp_path, encoder, stages=("final",), selector=selector)
    assert found == [("final", 3, rows)]


def composed(encoder: Path, *overrides: str) -> Any:
    return compose_config([f"student.model={encoder}", *overrides])


def test_the_settings_are_those_of_the_student(encoder: Path) -> None:
    config = composed(encoder, "student=contrastive_classification", "student.batch_size=8")
    training = pair_training(config)
    assert training is not None
    assert (training.steps, training.batch_size, training.learning_rate) == (
        config.student.contrastive_start,
        8,
        1e-4,
    )
    assert training.steps > 0
    assert not training.first_token
    assert pair_training(composed(encoder)) is None


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["student.contrastive_start=5", "student.freeze_encoder=true"],
            "=5 tunes the encoder, and student.freeze_encoder=true",
        ),
        (["student.contrastive_start=-1"], "=-1 must be a number of optimizer steps"),
        (
            [
                *("task=ner", "data=wikigold"),
                *("student=contrastive_classification", "student.contrastive_start=5"),
            ],
            "=5 compares the embeddings of whole texts",
        ),
    ],
)
def test_what_cannot_be_is_refused(encoder: Path, overrides: list[str], said: str) -> None:
    task: Any = NerTask([]) if "task=ner" in overrides else TOPICS
    with pytest.raises(ConfigError, match=said):
        build_student(composed(encoder, *overrides), task)
