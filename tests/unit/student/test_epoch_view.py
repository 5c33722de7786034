"""A tiny student's view of an epoch, against single rows and against autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.helpers.classification import NAMES, make_text
from tests.helpers.classification import TASK as TOPICS
from tests.helpers.ner import TYPES, marked
from tests.helpers.tiny_student import tiny_encoder, tiny_network, tiny_tokenizer

from tutelage.data.items import Item, ItemEncoder
from tutelage.errors import ConfigError, StudentError
from tutelage.records import LabelDistribution, Row
from tutelage.selectors.protocol import EpochView
from tutelage.selectors.row_selection import EveryRow
from tutelage.student.checkpoint import new_tagger
from tutelage.student.epoch_view import DIRECTIONS, epoch_view, moments_of
from tutelage.student.module import StudentModule
from tutelage.student.schedule import RateSchedule
from tutelage.tasks.ner import NerTask

TAGS = NerTask(TYPES)
EVERYTHING = {"epoch", "gradients", "prior_losses"}
OF_THE_TARGETS = [1.0, 0.3, 0.2, 0.5, 0.3, 0.2, 0.5]
"""The teacher's probability of each text's target; 1 for the gold one."""
SENTENCES = (
    marked("amber birch met cedar at dune", {"amber birch": "PER", "dune": "LOC"}),
    marked("the ember grove club left fjord", {"ember grove club": "ORG", "fjord": "LOC"}),
    marked("nothing was said of it"),
    marked("tide"),
    marked("\u200b"),
)
"""The last one has no word visible to the tokenizer."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


class Sight:
    """A student with its items."""

    def __init__(self, network: Any, task: Any, rows: Sequence[Row], pooling: str = "mean") -> None:
        self.pooling = pooling
        values: dict[str, float] = {
            "learning_rate": 1e-3,
            "head_learning_rate": 1e-2,
            "weight_decay": 0.0,
        }
        self.module = StudentModule(
            network, task, torch.nn.Identity(), RateSchedule(), EveryRow(), batch_size=4, **values
        )  # type: ignore[arg-type]
        self.encoder = ItemEncoder(task, tiny_tokenizer(), 32)
        self.items = self.encoder.encode(rows)
        self.task = task

    def view(
        self,
        needs: set[str],
        items: Sequence[Item] | None = None,
        at_once: int = 64,
        **changes: Any,
    ) -> EpochView:
        given = self.items if items is None else items
        settings = {"needs": needs, "blank": self.encoder.blank, "at_once": at_once, **changes}
        return epoch_view(self.module, given, self.encoder.collate, **settings)

    def alone(self, item: Item) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits [N, C], targets [N, C] and the head's input [N, D] of an item in its own batch."""
        ids = torch.tensor([item.token_ids])
        mask = torch.ones_like(ids)
        network: Any = self.module.network.eval()
        with torch.no_grad():
            logits = network(input_ids=ids, attention_mask=mask).logits[0]
            seen = network.base_model(input_ids=ids, attention_mask=mask)
            states = seen.last_hidden_state[0]
        if not self.task.is_token_level:
            # BERT's own head reads its pooler, which sees the first token.
            own = getattr(seen, "pooler_output", None)
            read = states.mean(dim=0, keepdim=True) if self.pooling == "mean" else own
            return logits[None], torch.tensor(item.vectors), read
        indices = [(index, at) for index, at in enumerate(item.indices) if at >= 0]
        columns = [at for _, at in indices]
        return (
            logits[columns],
            torch.tensor([item.vectors[index] for index, _ in indices]),
            states[columns],
        )


def topics(encoder: Path, pooling: str = "mean", count: int = 7) -> Sight:
    rows = []
    for number in range(count):
        name = NAMES[number % 3]
        text = " ".join([make_text(name, number), "tide " * (5 * number % 7)]).strip()
        apart = number / 10 if number % 2 else None
        opinion = (
            LabelDistribution(NAMES, (0.5, 0.3, 0.2), 0.1, disagreement=apart) if number else None
        )
        rows.append(
            Row(
                f"r{number}",
                text,
                name,
                "pool" if number else "gold",
                0,
                True,
                distribution=opinion,
            )
        )
    return Sight(tiny_network(encoder, pooling, head_dropout=0.5), TOPICS, rows, pooling)


def tags(encoder: Path) -> Sight:
    torch.manual_seed(1)
    rows = [
        Row(
            one.id,
            one.text,
            str(one.label),
            "pool",
            0,
            True,
            entity_confidence=(0.9, 0.5)[: number % 3],
        )
        for number, one in enumerate(SENTENCES)
    ]
    return Sight(new_tagger(str(encoder), TAGS.outputs), TAGS, rows)


def softmax_loss(logits: torch.Tensor, targets: torch.Tensor) -> float:
    return float(torch.nn.functional.cross_entropy(logits, targets))


@pytest.mark.parametrize("at_once", [1, 3, 64])
@pytest.mark.parametrize("kind", ["mean", "first", "words"])
def test_each_row_is_seen_as_it_would_be_alone(encoder: Path, kind: str, at_once: int) -> None:
    sight = tags(encoder) if kind == "words" else topics(encoder, kind)
    view = sight.view({"epoch"}, at_once=at_once)
    assert view.ids == tuple(item.id for item in sight.items)
    assert view.texts == tuple(item.text for item in sight.items)
    assert (view.gradients, view.prior_losses) == (None, None)
    for index, item in enumerate(sight.items):
        logits, targets, _ = sight.alone(item)
        if not len(logits):
            assert np.isnan(view.probabilities[index]).all()
            assert math.isnan(view.losses[index])
            continue
        assert view.losses[index] == pytest.approx(softmax_loss(logits, targets), abs=1e-5)
        distributions = logits.softmax(dim=-1)
        least = min(range(len(distributions)), key=lambda unit: float(distributions[unit].max()))
        assert view.probabilities[index].tolist() == pytest.approx(
            distributions[least].tolist(), abs=1e-5
        )


def test_the_teacher_s_side_is_the_items(encoder: Path) -> None:
    view = topics(encoder).view({"epoch"})
    assert view.groups.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert view.gold.tolist() == [True] + [False] * 6
    assert view.confidence.tolist() == view.least_confidence.tolist() == OF_THE_TARGETS
    assert view.classes == 3
    assert view.disagreement == pytest.approx(
        [math.nan, 0.1, math.nan, 0.3, math.nan, 0.5, math.nan], nan_ok=True
    )
    words = tags(encoder)
    view = words.view({"epoch"})
    assert view.groups.tolist() == [item.group for item in words.items]
    assert view.confidence.tolist() == pytest.approx([item.confidence for item in words.items])
    assert view.least_confidence.tolist() == [item.least_confidence for item in words.items]
    assert view.classes == 4


def flat_gradient(
    logits: torch.Tensor, targets: torch.Tensor, states: torch.Tensor
) -> torch.Tensor:
    """Autograd's gradient of the mean loss at a linear layer from these states to these logits."""
    layer = torch.zeros(logits.shape[1], states.shape[1], requires_grad=True)
    loss = torch.nn.functional.cross_entropy(logits + states @ layer.T, targets)
    loss.backward()  # type: ignore[no-untyped-call]
    assert layer.grad is not None
    return layer.grad.flatten()


@pytest.mark.parametrize("kind", ["mean", "first", "words"])
def test_embeddings_are_the_mean_of_a_row_s_hidden_states(encoder: Path, kind: str) -> None:
    sight = tags(encoder) if kind == "words" else topics(encoder, kind)
    view = sight.view({"epoch", "embeddings"}, at_once=3)
    assert view.embeddings is not None
    for found, item in zip(view.embeddings, sight.items, strict=True):
        ids = torch.tensor([item.token_ids])
        with torch.no_grad():
            states = (
                sight.module.network.eval()
                .base_model(  # type: ignore[operator]
                    input_ids=ids, attention_mask=torch.ones_like(ids)
                )
                .last_hidden_state[0]
            )
        assert found == pytest.approx(states.mean(dim=0).numpy(), abs=1e-5)
    assert sight.view({"epoch", "gradients"}).embeddings is None
    assert sight.view({"epoch"}).losses == pytest.approx(view.losses, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("kind", ["mean", "first", "words"])
def test_projected_gradients_are_a_linear_map_of_autograd_s(encoder: Path, kind: str) -> None:
    sight = tags(encoder) if kind == "words" else topics(encoder, kind, count=60)
    view = sight.view({"epoch", "gradients"}, at_once=4)
    assert view.gradients is not None
    assert view.gradients.shape == (len(sight.items), DIRECTIONS)
    seen = [index for index, item in enumerate(sight.items) if len(sight.alone(item)[0])]
    assert np.isnan(view.gradients).all(axis=1).tolist() == [
        index not in seen for index in range(len(sight.items))
    ]
    exact = torch.stack([flat_gradient(*sight.alone(sight.items[index])) for index in seen]).numpy()
    outputs = len(sight.task.outputs)
    rng = torch.Generator().manual_seed(20240204)
    signs = (
        2 * torch.randint(0, 2, (exact.shape[1] // outputs, DIRECTIONS * outputs), generator=rng)
        - 1
    )
    matrix = signs.view(-1, DIRECTIONS, outputs).permute(1, 2, 0).reshape(
        DIRECTIONS, -1
    ).numpy() / math.sqrt(DIRECTIONS)
    assert np.abs(view.gradients[seen] - exact @ matrix.T).max() < 1e-4


@pytest.mark.parametrize("kind", ["mean", "first", "words"])
@pytest.mark.parametrize("steps", [0, 3])
def test_updates_are_the_steps_that_adam_would_make(encoder: Path, kind: str, steps: int) -> None:
    """Whole gradients are autograd's, and updates are what torch's own AdamW does with them."""
    sight = tags(encoder) if kind == "words" else topics(encoder, kind)
    head = sight.module.network.classifier
    assert isinstance(head, torch.nn.Linear)
    optimizer = torch.optim.AdamW([head.weight], lr=1e-3, weight_decay=0.0)
    rng = torch.Generator().manual_seed(2)
    start = head.weight.detach().clone()
    for _ in range(steps):
        head.weight.grad = torch.randn(head.weight.shape, generator=rng) / 10
        optimizer.step()
    # The student itself stays as it was.
    with torch.no_grad():
        head.weight.copy_(start)
    view = sight.view(
        {"epoch", "gradients", "updates"},
        at_once=2,
        directions=0,
        moments=moments_of(sight.module, optimizer),
    )
    assert view.gradients is not None
    assert view.updates is not None
    for index, item in enumerate(sight.items):
        if not len(sight.alone(item)[0]):
            assert np.isnan(view.updates[index]).all()
            continue
        exact = flat_gradient(*sight.alone(item))
        assert np.abs(view.gradients[index] - exact.numpy()).max() < 1e-5
        layer = torch.nn.Parameter(start.clone().double())
        twin = torch.optim.AdamW([layer], lr=1.0, weight_decay=0.0)
        state = optimizer.state[head.weight]
        twin.state[layer] = {
            "step": torch.tensor(float(steps)),
            **{
                name: state[name].clone().double() if steps else torch.zeros_like(layer)
                for name in ("exp_avg", "exp_avg_sq")
            },
        }
        layer.grad = torch.tensor(view.gradients[index]).view(layer.shape)
        twin.step()
        step = (start.double() - layer.detach()).flatten().numpy()
        assert np.abs(view.updates[index] - step).max() < 1e-3


def test_a_run_s_seed_draws_its_own_projection(encoder: Path) -> None:
    sight = topics(encoder)
    moments = moments_of(sight.module, sight.module.configure_optimizers())
    given: dict[str, Any] = {"needs": {"epoch", "gradients", "updates"}, "moments": moments}
    views = [sight.view(**given, seed=seed, directions=16) for seed in (1, 1, 2)]
    whole = sight.view(**given, directions=0)
    for name in ("gradients", "updates"):
        first, again, other = (getattr(view, name) for view in views)
        assert first.shape == (7, 16)
        assert (first == again).all()
        assert np.abs(first - other).max() > 0.01
        # Both are the same linear map of the whole ones, with Euclid's lengths in the mean.
        lengths = [
            np.linalg.norm(getattr(one, name), axis=1).mean()
            for one in (sight.view(**given, directions=4096), whole)
        ]
        assert lengths[0] == pytest.approx(lengths[1], rel=0.1)


def test_the_projection_keeps_cosines(encoder: Path) -> None:
    sight = topics(encoder, count=60)
    view = sight.view({"epoch", "gradients"})
    exact = (
        torch.stack([flat_gradient(*sight.alone(item)) for item in sight.items]).double().numpy()
    )
    assert view.gradients is not None
    cosines = []
    for vectors in (exact, view.gradients):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines.append(unit @ unit.T)
    apart = np.abs(cosines[0] - cosines[1])
    assert apart.mean() < 1 / math.sqrt(DIRECTIONS)
    assert np.abs(view.gradients - sight.view({"epoch", "gradients"}).gradients).max() == 0


def test_the_prior_of_a_text_is_what_the_student_says_of_an_empty_one(encoder: Path) -> None:
    sight = topics(encoder)
    assert sight.encoder.blank == (2, 3)
    view = sight.view(EVERYTHING)
    assert view.prior_losses is not None
    empty = torch.tensor([[2, 3]])
    with torch.no_grad():
        logits = sight.module.network.eval()(
            input_ids=empty, attention_mask=torch.ones_like(empty)
        ).logits
    expected = [softmax_loss(logits, torch.tensor(item.vectors)) for item in sight.items]
    assert view.prior_losses.tolist() == pytest.approx(expected, abs=1e-5)


def test_the_prior_of_words_is_the_student_s_mean_over_the_epoch(encoder: Path) -> None:
    sight = tags(encoder)
    assert sight.encoder.blank is None
    view = sight.view(EVERYTHING, at_once=2)
    assert view.prior_losses is not None
    units = [sight.alone(item) for item in sight.items]
    mean = torch.cat([logits.softmax(dim=-1) for logits, _, _ in units]).mean(dim=0)
    for index, (_, targets, _) in enumerate(units):
        if len(targets):
            assert view.prior_losses[index] == pytest.approx(
                float(-(targets * mean.log()).sum(dim=1).mean()), abs=1e-5
            )
        else:
            assert math.isnan(view.prior_losses[index])


def test_where_only_the_rows_are_asked_for_the_student_does_not_run(encoder: Path) -> None:
    sight = topics(encoder)
    sight.module.network = torch.nn.Identity()
    view = sight.view({"rows"})
    assert view.confidence.tolist() == OF_THE_TARGETS
    assert np.isnan(view.losses).all()
    assert view.probabilities.shape == (7, 3)
    assert np.isnan(view.probabilities).all()


def test_a_row_that_is_trained_on_twice_stands_once(encoder: Path) -> None:
    sight = topics(encoder)
    twice = sight.view(EVERYTHING, [*sight.items, *reversed(sight.items)], at_once=100)
    once = sight.view(EVERYTHING, at_once=100)
    assert twice.ids == once.ids
    assert (twice.losses == once.losses).all()


@pytest.mark.parametrize("kind", ["mean", "words"])
def test_no_rows_give_an_empty_view(encoder: Path, kind: str) -> None:
    sight = tags(encoder) if kind == "words" else topics(encoder)
    view = sight.view(EVERYTHING, [])
    outputs = len(sight.task.outputs)
    assert view.gradients is not None
    assert view.prior_losses is not None
    assert (view.ids, view.probabilities.shape, view.gradients.shape) == (
        (),
        (0, outputs),
        (0, DIRECTIONS),
    )
    assert (view.losses.shape, view.prior_losses.shape, view.groups.shape) == ((0,), (0,), (0,))


def test_words_that_are_never_seen_give_no_numbers_and_no_error(encoder: Path) -> None:
    sight = tags(encoder)
    view = sight.view(EVERYTHING, sight.items[-1:])
    assert view.prior_losses is not None
    assert np.isnan([*view.losses, *view.prior_losses]).all()


def test_it_leaves_the_student_as_it_was(encoder: Path) -> None:
    sight = topics(encoder)
    sight.module.train()
    sight.module.network.encoder.eval()
    modes = [part.training for part in sight.module.modules()]
    sight.module.network.encoder.register_forward_hook(
        lambda *_: torch.rand(1) and None
    )  # a network drawing random numbers in evaluation mode too
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    view = sight.view(EVERYTHING)
    assert (torch.random.get_rng_state() == before).all()
    assert [part.training for part in sight.module.modules()] == modes
    assert len(sight.module.network.base_model._forward_hooks) == 1
    assert torch.is_grad_enabled()
    assert all(value.grad is None for value in sight.module.parameters())
    # Dropout would show: half of the pooled state would be missing.
    assert (view.losses == sight.view({"epoch"}).losses).all()


def test_it_leaves_the_student_as_it_was_after_an_error_too(encoder: Path) -> None:
    sight = topics(encoder)
    sight.module.train()
    with pytest.raises(
        ConfigError, match=r"tokenizer gives an empty text no tokens.*student.model="
    ):
        sight.view(EVERYTHING, blank=())
    assert sight.module.network.training
    assert torch.is_grad_enabled()


def test_a_network_without_hidden_states_is_named(encoder: Path) -> None:
    sight = topics(encoder)
    sight.module.network = Headless(sight.module.network)
    assert not np.isnan(sight.view({"epoch"}).losses).any()
    with pytest.raises(
        StudentError, match="The encoder of Headless returns no last hidden state per token"
    ):
        sight.view({"epoch", "gradients"})
    assert len(sight.module.network._forward_hooks) == 0


class Headless(torch.nn.Module):
    """A network without a visible encoder."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self._network = network

    def forward(self, **inputs: torch.Tensor) -> Any:
        return self._network(**inputs)
