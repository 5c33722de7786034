"""The student's view of an epoch's rows, for selectors that decide once per epoch.

Plain numbers from one pass over the rows in evaluation mode, before the epoch trains on them.
Everything is computed per decided unit, the texts or the words visible to the student, and then
averaged per row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from tutelage.data.items import Batch, Item
from tutelage.errors import ConfigError, StudentError
from tutelage.selectors.protocol import WITHOUT_STUDENT, EpochView, Floats, Indices
from tutelage.student.held_out import HeldOut
from tutelage.student.module import StudentModule
from tutelage.student.observing import (
    evaluating,
    head_inputs,
    last_layer,
    logits_and_states,
    mean_state,
)
from tutelage.student.peers import mean_logits, networks_of
from tutelage.student.units import at_units

DIRECTIONS = 64
"""Dimension P of projected gradients; keeps cosines to about 1/8 (Johnson and Lindenstrauss)."""
_SEED = 20240204
"""Seed of the projection where none is given; a run gives its own."""


Collate = Callable[[Iterable[tuple[int, Item]]], Batch]


@dataclass(frozen=True, slots=True)
class Moments:
    """Adam's state of the weights of the last layer, [C, D], before a step.

    Attributes:
        mean: Moving average of the gradients.
        square: Moving average of their squares.
        steps: Number of steps so far; with 0 both averages are 0.
        betas: Decay of the two averages.
        eps: Added to the root of the second one.
    """

    mean: torch.Tensor
    square: torch.Tensor
    steps: int
    betas: tuple[float, float]
    eps: float

    def updates(self, gradients: torch.Tensor) -> torch.Tensor:
        """Directions of Adam's next step if it saw one row alone, [B, C, D].

        Without any step before, this is the sign of the gradient.

        Args:
            gradients: Gradients of the rows, [B, C, D].
        """
        (first, second), step = self.betas, self.steps + 1
        mean = (first * self.mean + (1 - first) * gradients) / (1 - first**step)
        square = (second * self.square + (1 - second) * gradients**2) / (1 - second**step)
        return mean / (square.sqrt() + self.eps)


def moments_of(module: StudentModule, optimizer: torch.optim.Optimizer) -> Moments:
    """Adam's state of the weights of the student's last layer; with two networks, of the first.

    Args:
        module: The student.
        optimizer: Its optimizer, an Adam.

    Raises:
        StudentError: The network has no linear head.
    """
    head = last_layer(networks_of(module.network)[0])
    if head is None:
        raise StudentError(
            "select.form=adam looks for a linear head, and "
            f"{type(networks_of(module.network)[0]).__name__} has none. Give select.form=plain, or "
            "another student.model=."
        )
    weight = head.weight
    state, zeros = optimizer.state.get(weight, {}), torch.zeros_like(weight)
    group = next(
        one for one in optimizer.param_groups if any(value is weight for value in one["params"])
    )
    return Moments(
        state.get("exp_avg", zeros).detach().float(),
        state.get("exp_avg_sq", zeros).detach().float(),
        int(state.get("step", 0)),
        group["betas"],
        group["eps"],
    )


def epoch_view(
    module: StudentModule,
    items: Sequence[Item],
    collate: Collate,
    *,
    needs: Collection[str],
    blank: Sequence[int] | None = None,
    held_out: HeldOut | None = None,
    at_once: int = 64,
    moments: Moments | None = None,
    rate: float = 1.0,
    directions: int = DIRECTIONS,
    seed: int = _SEED,
) -> EpochView:
    """Computes the view of an epoch training on ``items``.

    Each row appears once, in the order of its first occurrence, however often it is trained on.
    Modes, hooks and random states are left unchanged. A row without any word visible to the student
    has NaN everywhere.

    - ``losses``: cross-entropy against ``item.vectors``; for NER the mean over the words.
    - ``gradients``: gradient of this loss at the last layer's weights, (p - t) times the layer's
      input for the text; for NER the mean over the words of (p - t) times its input for the word.
      Projected by random signs. For a head without a linear layer that reads one vector per text
      (per token for NER), the mean-pooled state (the word's own state) stands in for it.
    - ``updates``: Adam's direction for this gradient, by ``moments``, projected in the same way.
    - ``prior_losses``: cross-entropy of the target under the student's distribution for the empty
      text; for NER, where an empty text has no words, under the mean of its distributions over all
      words of the epoch.
    - ``embeddings``: mean over the tokens of the last hidden states.
    - ``held_out`` and ``confirmed``: see :class:`tutelage.student.held_out.HeldOut`.
    - ``peer_losses``: ``losses`` of each network alone, where the student has two.

    Args:
        module: The student.
        items: Items of the epoch, repetitions included.
        collate: The collate function of the :class:`~tutelage.data.items.ItemEncoder` of the items.
        needs: The selector's ``needs``. "gradients", "prior_losses", "embeddings" and "peers" are
            only computed if listed. With nothing but "rows", "held_out" and "confirmed" the student
            makes no pass, and ``probabilities`` and ``losses`` are NaN.
        blank: Token ids of the empty text, special tokens included; only used for "prior_losses".
            None where the student predicts words, since an empty text has none.
        held_out: Judges the rows for "held_out" and "confirmed".
        at_once: Number of rows per chunk; each chunk has rows of similar length.
        moments: Adam's state, for "updates". These need the whole gradients of a chunk, ``at_once``
            times C times D numbers of 4 bytes, and some three times as much in between.
        rate: Learning rate of the coming epoch.
        directions: Dimension of projected gradients. 0 keeps them whole: 8 bytes for each of M
            times C times D numbers, and as much for "updates".
        seed: Seed of the projection. Its signs are D times C times ``directions`` numbers of 4
            bytes.

    Raises:
        ConfigError: The tokenizer gives an empty text no tokens.
        StudentError: Gradients or embeddings are needed, but the encoder returns no hidden states.
    """
    # One entry per row, and NaN wherever the student makes no pass.
    rows = list({item.id: item for item in items}.values())
    outputs = len(module.task.outputs)
    projection = _Projection(outputs, directions, seed) if "gradients" in needs else None
    probabilities, targets = np.full((2, len(rows), outputs), np.nan)
    losses = np.full(len(rows), np.nan)
    slopes: list[tuple[Indices, Floats]] = []
    updates: list[tuple[Indices, Floats]] = []
    peers = len(networks_of(module.network)) if "peers" in needs else 1
    peer_losses = np.full((len(rows), peers), np.nan)
    total, units = np.zeros(outputs), 0
    prior = np.full(outputs, np.nan)
    embeddings: list[tuple[Indices, Floats]] = []
    # One pass in chunks of similar length; the row means fill the arrays.
    with evaluating(module):
        for chunk in _by_length(rows, at_once) if set(needs) - WITHOUT_STUDENT else ():
            seen = _observe(
                module,
                [rows[index] for index in chunk],
                collate,
                projection,
                embeds="embeddings" in needs,
                apart=peers > 1,
                moments=moments if "updates" in needs else None,
            )
            if seen.embeddings is not None:
                embeddings.append((chunk, seen.embeddings))
            probabilities[chunk] = seen.least_certain()
            targets[chunk] = seen.by_row(seen.targets)
            losses[chunk] = seen.losses([seen.logs])[:, 0]
            peer_losses[chunk] = seen.losses(seen.peer_logs or [seen.logs])
            if seen.gradients is not None:
                slopes.append((chunk, seen.by_row(seen.gradients)))
            if seen.updates is not None:
                updates.append((chunk, seen.updates))
            total, units = total + np.exp(seen.logs).sum(axis=0), units + len(seen.owners)
        # The prior: the empty text's distribution, or the mean over all words.
        if "prior_losses" in needs and rows:
            if blank is not None:
                prior = _of_empty_text(module, rows[0], collate, blank)
            elif units:
                prior = np.log(np.maximum(total / units, np.finfo(np.float64).tiny))
    return EpochView(
        ids=tuple(item.id for item in rows),
        texts=tuple(item.text for item in rows),
        groups=np.array([item.group for item in rows], dtype=np.int64),
        confidence=np.array([item.confidence for item in rows], dtype=np.float64),
        least_confidence=np.array([item.least_confidence for item in rows], dtype=np.float64),
        gold=np.array([item.gold for item in rows], dtype=np.bool_),
        probabilities=probabilities,
        losses=losses,
        gradients=None if projection is None else _in_order(slopes, len(rows), directions),
        # Cross-entropy is linear in the target: the mean over words equals the mean target's.
        prior_losses=-(targets * prior).sum(axis=1) if "prior_losses" in needs else None,
        classes=module.task.num_groups,
        disagreement=np.array([item.disagreement for item in rows], dtype=np.float64),
        embeddings=_in_order(embeddings, len(rows)) if "embeddings" in needs else None,
        held_out=(
            held_out.confidence(rows, collate, module.device)
            if held_out and "held_out" in needs
            else None
        ),
        confirmed=(
            held_out.confirmed(rows, collate, module.device)
            if held_out and "confirmed" in needs
            else None
        ),
        peer_losses=peer_losses if peers > 1 else None,
        updates=_in_order(updates, len(rows), directions) if "updates" in needs else None,
        rate=rate,
    )


def _in_order(chunks: Sequence[tuple[Indices, Floats]], rows: int, width: int = 0) -> Floats:
    """Puts the vectors of all chunks in the order of the rows, [rows, D]; D is at least width."""
    width = chunks[0][1].shape[1] if chunks else width
    found = np.full((rows, width), np.nan)
    for indices, embeddings in chunks:
        found[indices] = embeddings
    return found


@dataclass(frozen=True, slots=True)
class _Units:
    """The student's view of the N decided units of B rows.

    Attributes:
        rows: Number of rows B.
        owners: Row of each unit, [N].
        logs: Log-probabilities, [N, C].
        targets: Targets, [N, C].
        gradients: Projected gradients, [N, P]; None if not needed.
        updates: Projected directions of Adam for the rows, [B, P]; None if not needed.
        embeddings: Mean-pooled last hidden states of the rows, [B, D]; None if not needed.
        peer_logs: Log-probabilities by each network alone, [N, C] each; empty if not needed.
    """

    rows: int
    owners: Indices
    logs: Floats
    targets: Floats
    gradients: Floats | None
    updates: Floats | None
    embeddings: Floats | None
    peer_logs: list[Floats]

    def losses(self, each: Sequence[Floats]) -> Floats:
        """Mean cross-entropy of each row under K log-distributions of the units, [B, K]."""
        return self.by_row(np.stack([-(self.targets * logs).sum(axis=1) for logs in each], axis=1))

    def by_row(self, values: Floats) -> Floats:
        """Mean over the units of each row, [N, K] → [B, K]; NaN for a row without units."""
        sums = np.zeros((self.rows, values.shape[1]))
        np.add.at(sums, self.owners, values)
        counts = np.bincount(self.owners, minlength=self.rows)[:, None]
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def least_certain(self) -> Floats:
        """Distribution of each row's least certain unit, [B, C]; NaN for a row without units."""
        found = np.full((self.rows, self.logs.shape[1]), np.nan)
        # Sorted by row, then by top probability: the first unit of each row is least certain.
        order = np.lexsort((self.logs.max(axis=1), self.owners))
        owners, first = np.unique(self.owners[order], return_index=True)
        found[owners] = np.exp(self.logs[order[first]])
        return found


class _Projection:
    """Random signs R, mapping the outer product of e and h to R (e outer h) / sqrt(P).

    With P = 0 the outer product stays as it is.

    The outer product itself is never formed. Rank-one signs (one vector for e, one for h) would be
    smaller, but would double the error of the cosines.
    """

    def __init__(self, outputs: int, directions: int, seed: int) -> None:
        self._outputs, self._directions, self._seed = outputs, directions, seed
        self._signs: torch.Tensor | None = None

    def __call__(self, errors: torch.Tensor, states: torch.Tensor) -> Floats:
        """Projects errors [N, C] and states [N, D] to [N, P]."""
        if not self._directions:
            return _plain(torch.einsum("nc,nd->ncd", errors, states).flatten(1))
        # Contract with the states first, so no [N, C * D] array is formed.
        halfway = (states @ self._matrix(states)).view(-1, self._directions, self._outputs)
        return _plain(torch.einsum("npc,nc->np", halfway, errors))

    def of(self, matrices: torch.Tensor) -> Floats:
        """Projects whole matrices [B, C, D] to [B, P]."""
        if not self._directions:
            return _plain(matrices.flatten(1))
        signs = self._matrix(matrices).view(-1, self._directions, self._outputs)
        return _plain(torch.einsum("bcd,dpc->bp", matrices, signs))

    def _matrix(self, states: torch.Tensor) -> torch.Tensor:
        """The signs, [D, P * C], drawn once."""
        if self._signs is None:
            rng = torch.Generator().manual_seed(self._seed)
            shape = (states.shape[-1], self._directions * self._outputs)
            signs = torch.randint(0, 2, shape, generator=rng)
            self._signs = (2 * signs - 1).to(states) / self._directions**0.5
        return self._signs


def _observe(
    module: StudentModule,
    items: Sequence[Item],
    collate: Collate,
    projection: _Projection | None,
    *,
    embeds: bool,
    apart: bool,
    moments: Moments | None,
) -> _Units:
    """Runs one chunk of items through the student and returns its units."""
    # A text is one unit; only words with a token count as units.
    indices = [[index for index, at in enumerate(item.indices) if at >= 0] for item in items]
    owners = np.repeat(np.arange(len(items)), [len(own) for own in indices])
    vectors = [
        item.vectors[index] for item, own in zip(items, indices, strict=True) for index in own
    ]
    targets = torch.tensor(vectors, dtype=torch.float32, device=module.device).view(
        len(owners), len(module.task.outputs)
    )
    batch = _moved(collate(enumerate(items)), module.device)
    each = [one.float() for one in module.each(batch)] if apart else []
    # Hidden states are only caught when something needs them.
    head = last_layer(networks_of(module.network)[0]) if projection is not None else None
    with head_inputs(head) as caught:
        logits, states = (
            logits_and_states(module, batch)
            if projection is not None or embeds
            else (mean_logits(each) if apart else module(batch).float(), None)
        )
    # Position of each unit in its row's output.
    positions = np.array(
        [items[row].indices[index] for row, own in enumerate(indices) for index in own],
        dtype=np.int64,
    )
    logs = at_units(logits, owners, positions).log_softmax(dim=-1)
    peer_logs = [_plain(at_units(one, owners, positions).log_softmax(dim=-1)) for one in each]
    # Gradient at the last layer: the error p - t, and the input it multiplies.
    gradients: Floats | None = None
    updates: Floats | None = None
    if projection is not None and states is not None:
        if caught and caught[0].shape[:-1] == logits.shape[:-1]:
            read = caught[0].float()
        else:  # Another form of head.
            read = states if logits.ndim == 3 else mean_state(states, batch["attention_mask"])
        errors, inputs = logs.exp() - targets, at_units(read, owners, positions)
        gradients = projection(errors, inputs)
        if moments is not None:
            updates = projection.of(moments.updates(_whole(errors, inputs, owners, len(items))))
    embeddings = (
        _plain(mean_state(states, batch["attention_mask"]))
        if embeds and states is not None
        else None
    )
    return _Units(
        len(items),
        owners,
        _plain(logs),
        _plain(targets),
        gradients,
        updates,
        embeddings,
        peer_logs,
    )


def _whole(errors: torch.Tensor, states: torch.Tensor, owners: Indices, rows: int) -> torch.Tensor:
    """Gradient of each row: the mean outer product of its units, [rows, C, D]; NaN without any.

    Args:
        errors: Errors of the units, [N, C].
        states: What the last layer reads, [N, D].
        owners: Row of each unit, [N].
        rows: Number of rows.
    """
    own = torch.nn.functional.one_hot(torch.from_numpy(owners).to(errors.device), rows).to(errors)
    whole = torch.einsum("nb,nc,nd->bcd", own, errors, states)
    # 0 / 0 for a row without units.
    return whole / own.sum(dim=0).view(-1, 1, 1)


def _of_empty_text(
    module: StudentModule, item: Item, collate: Collate, blank: Sequence[int]
) -> Floats:
    """Log-probabilities of the empty text, [C].

    Args:
        module: The student.
        item: Any item; lends everything but its tokens.
        collate: The collate function of the item's encoder.
        blank: Token ids of the empty text.
    """
    if not blank:
        raise ConfigError(
            "select=answer_difficulty compares each text with an empty one, but this student's "
            "tokenizer gives an empty text no tokens. Choose another student.model= or another "
            "select=."
        )
    batch = _moved(collate([(0, replace(item, token_ids=tuple(blank)))]), module.device)
    found: Floats = _plain(module(batch).float().log_softmax(dim=-1))[0]
    return found


def _by_length(items: Sequence[Item], at_once: int) -> Iterator[Indices]:
    order = np.argsort(
        np.array([len(item.token_ids) for item in items], dtype=np.int64), kind="stable"
    )
    for start in range(0, len(order), at_once):
        yield order[start : start + at_once]


def _moved(batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
    return {
        key: value.to(device) for key, value in batch.items() if isinstance(value, torch.Tensor)
    }


def _plain(values: torch.Tensor) -> Floats:
    plain: Floats = values.cpu().numpy().astype(np.float64)
    return plain
