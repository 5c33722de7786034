"""A contrastive start: the encoder is tuned on pairs of rows before the head is fitted.

From N rows per class come some N² pairs, so a few labelled rows say more to the encoder as pairs
than as rows. Tunstall et al. (2022, "Efficient Few-Shot Learning Without Prompts", section 3,
SetFit) tune a sentence encoder so that the cosine of two embeddings is 1 for texts of one class and
0 for texts of two, and then train a head on the embeddings.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from tutelage.data.items import Batch, Item
from tutelage.errors import StudentError
from tutelage.records import derive_seed
from tutelage.student.module import StudentModule
from tutelage.student.observing import mean_state
from tutelage.student.peers import networks_of
from tutelage.student.schedule import RateSchedule


class Pair(NamedTuple):
    """Two rows, by their indices, and the cosine that their embeddings are to have."""

    first: int
    second: int
    cosine: float


@dataclass(frozen=True, slots=True)
class PairTraining:
    """Settings of the start.

    Attributes:
        steps: Optimizer steps.
        batch_size: Pairs per step.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        schedule: Factor on the learning rate over the steps.
        first_token: Compare the states of the first token instead of the mean over all tokens.
    """

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    schedule: RateSchedule
    first_token: bool = False


def draw_pairs(classes: Sequence[int], count: int, seed: int) -> list[Pair]:
    """Draws pairs of different rows: every other one of one class, and the classes evenly.

    Rows of a small class are drawn as often as those of a large one. Where no class has two rows,
    or all rows are of one class, the pairs are of the other kind alone.

    Args:
        classes: Class of each row.
        count: Number of pairs.
        seed: Determines the pairs.

    Returns:
        The pairs; none if there is no pair of either kind.
    """
    members: dict[int, list[int]] = {}
    for index, group in enumerate(classes):
        members.setdefault(group, []).append(index)
    groups = [members[group] for group in sorted(members)]
    several = [group for group in groups if len(group) > 1]
    rng = random.Random(seed)

    def alike() -> Pair:
        first, second = rng.sample(rng.choice(several), 2)
        return Pair(first, second, 1.0)

    def apart() -> Pair:
        first, second = (rng.choice(group) for group in rng.sample(groups, 2))
        return Pair(first, second, 0.0)

    kinds: list[Callable[[], Pair]] = []
    kinds += [alike] if several else []
    kinds += [apart] if len(groups) > 1 else []
    return [kinds[number % len(kinds)]() for number in range(count)] if kinds else []


def start_by_pairs(
    module: StudentModule,
    items: Sequence[Item],
    collate: Callable[[Iterator[tuple[int, Item]]], Batch],
    training: PairTraining,
    seed: int,
) -> None:
    """Tunes the encoder on pairs of rows; the head stays as it is.

    A step minimises the mean of (cos(u, v) - t)² over its pairs, with t = 1 for two rows of one
    class and 0 for rows of two, u and v the embeddings under dropout. With ``student.peers=2`` each
    network has pairs of its own. Random states of the run stay as they are.

    Args:
        module: The student, on its training device.
        items: The rows; those of weight 0 are left out, and copies count once.
        collate: The collate function of the :class:`~tutelage.data.items.ItemEncoder` of the items.
        training: Steps, rates and batches.
        seed: Determines pairs and dropout.

    Raises:
        StudentError: The loss is NaN or infinite.
    """
    # A shot may stand there several times, and a text is no pair with itself.
    rows = [*{item.id: item for item in items if item.weights[0] > 0}.values()]
    devices = [module.device.index or 0] if module.device.type == "cuda" else []
    for number, network in enumerate(networks_of(module.network)):
        own = derive_seed("contrastive start", seed, number, bits=63)
        pairs = draw_pairs([item.group for item in rows], training.steps * training.batch_size, own)
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(own)
            _tune(module, network, rows, collate, training, pairs)


def _tune(
    module: StudentModule,
    network: Any,
    rows: Sequence[Item],
    collate: Callable[[Iterator[tuple[int, Item]]], Batch],
    training: PairTraining,
    pairs: Sequence[Pair],
) -> None:
    """Makes all steps of one network."""
    encoder, size = network.base_model, training.batch_size
    # The encoder's own optimizer, which is forgotten after the start.
    optimizer = torch.optim.AdamW(
        encoder.parameters(),
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
        fused=module.device.type == "cpu",
    )
    for step, at in enumerate(range(0, len(pairs), size)):
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * training.schedule.factor(step / training.steps)
        loss = _loss(module, encoder, rows, collate, pairs[at : at + size], training.first_token)
        if not torch.isfinite(loss):
            raise StudentError(
                f"The loss of student.contrastive_start became {loss.item()} in step {step}. Lower "
                f"student.learning_rate (now {training.learning_rate:g})."
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    optimizer.zero_grad()


def _loss(
    module: StudentModule,
    encoder: Any,
    rows: Sequence[Item],
    collate: Callable[[Iterator[tuple[int, Item]]], Batch],
    pairs: Sequence[Pair],
    first_token: bool,
) -> torch.Tensor:
    """Mean squared difference between the cosines of B pairs and their targets."""
    # One pass over both sides; a row that two pairs share is read twice, under other dropout.
    indices = [*(pair.first for pair in pairs), *(pair.second for pair in pairs)]
    batch = collate((index, rows[index]) for index in indices)
    mask = batch["attention_mask"].to(module.device)
    states = encoder(
        input_ids=batch["input_ids"].to(module.device), attention_mask=mask
    ).last_hidden_state
    embeddings = states[:, 0] if first_token else mean_state(states, mask)
    first, second = embeddings.chunk(2)
    cosines = torch.nn.functional.cosine_similarity(first, second, dim=-1)
    return ((cosines - cosines.new_tensor([pair.cosine for pair in pairs])) ** 2).mean()
