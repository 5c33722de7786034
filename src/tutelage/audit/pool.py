"""Suspects among the teacher's labels: rows that a classifier of the other rows contradicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tutelage.audit.confident_joint import expected_wrong
from tutelage.data.items import Item
from tutelage.records import Row
from tutelage.runs.check_records import AuditedClass, AuditedSplit, Suspect
from tutelage.selectors.protocol import Floats
from tutelage.student.held_out import visible
from tutelage.tasks.protocol import Task

CLASSIFIER = "classifier"
"""Name of the cross-validated classifier as a judge."""


@dataclass(frozen=True, slots=True)
class _Units:
    """The judged units of all rows: a text each, or its visible words.

    Attributes:
        rows: Index of each unit's row, [N].
        labels: The output class that the row's label gives it, [N].
        shares: Its held-out distribution over the outputs, [N, C].
        gold: The output class that the gold label gives it, [N]; -1 where none is known.
        words: Index of each unit among the visible ones of its row, [N].
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    shares: Floats
    gold: NDArray[np.int64]
    words: NDArray[np.int64]

    @property
    def own(self) -> Floats:
        """Held-out probability of each unit's label, [N]."""
        found: Floats = self.shares[np.arange(len(self.labels)), self.labels]
        return found

    @property
    def contradicted(self) -> NDArray[np.bool_]:
        """Whether another class is more probable than each unit's own, [N]."""
        found: NDArray[np.bool_] = self.shares.argmax(axis=1) != self.labels
        return found


def audit_pool(
    task: Task,
    rows: Sequence[Row],
    items: Sequence[Item],
    distributions: Sequence[Floats | None],
    gold: Mapping[str, Row],
) -> tuple[list[Suspect], list[AuditedClass], AuditedSplit]:
    """Ranks the rows by the held-out probability of their labels.

    As many units become suspects as the confident joint expects to be wrong: the least probable
    ones whose label is not the most probable one. (Northcutt et al. also prune each class by its
    own number; over all classes together precision was a little higher on our runs.) For NER a row
    with a suspect word is one, and has the probability of the least probable such word.

    Args:
        task: The task.
        rows: The accepted rows, M.
        items: The same as the student sees them.
        distributions: Held-out distributions of each row's units (see
            :meth:`tutelage.student.held_out.HeldOut.distributions`).
        gold: By row id, the same row with its gold target, where it is known.

    Returns:
        The suspects, least probable first; the classes with a unit; and the counts.
    """
    units = _units(task, items, distributions, gold)
    wrong = expected_wrong(units.labels, units.shares)
    judged = sum(shares is not None and len(shares) > 0 for shares in distributions)
    suspects = []
    for index in _suspected(units, round(float(wrong.sum()))):
        item, shares = items[index], distributions[index]
        assert shares is not None
        suggested = task.read(_as_seen(item, shares)).predicted
        # Decoding may repair what a single word suggested.
        if suggested != item.target:
            suspects.append((index, _suspect(task, units, index, item, suggested)))
    known = [rows[index] for index, _ in suspects if rows[index].id in gold]
    split = AuditedSplit(
        "pool",
        judged,
        len(suspects),
        len(known),
        sum(row.target != gold[row.id].target for row in known),
        (CLASSIFIER,),
    )
    return [suspect for _, suspect in suspects], _classes(task, units, wrong), split


def _units(
    task: Task,
    items: Sequence[Item],
    distributions: Sequence[Floats | None],
    gold: Mapping[str, Row],
) -> _Units:
    rows: list[int] = []
    labels: list[int] = []
    true: list[int] = []
    words: list[int] = []
    shares: list[Floats] = [np.empty((0, len(task.outputs)))]
    for index, (item, found) in enumerate(zip(items, distributions, strict=True)):
        if found is None:
            continue
        own = [int(np.argmax(vector)) for vector in visible(item)]
        rows += [index] * len(own)
        labels += own
        words += range(len(own))
        shares.append(found)
        true += _gold_of(task, item, gold.get(item.id)) or [-1] * len(own)
    return _Units(
        np.array(rows, dtype=np.int64),
        np.array(labels, dtype=np.int64),
        np.concatenate(shares),
        np.array(true, dtype=np.int64),
        np.array(words, dtype=np.int64),
    )


def _gold_of(task: Task, item: Item, row: Row | None) -> list[int]:
    """The output classes of a row's visible units by its gold target; empty without one."""
    if row is None:
        return []
    vectors = task.target_vectors(row)
    return [
        int(np.argmax(vector)) for vector, at in zip(vectors, item.indices, strict=True) if at >= 0
    ]


def _suspected(units: _Units, count: int) -> list[int]:
    """Indices of the rows with one of the ``count`` least probable labels, in that order."""
    order = np.argsort(units.own, kind="stable")
    chosen = order[units.contradicted[order]][:count]
    return list(dict.fromkeys(units.rows[chosen].tolist()))


def _as_seen(item: Item, shares: Floats) -> list[Sequence[float] | None]:
    """A row's distributions unit by unit; words cut off keep the label that they have."""
    seen = iter(shares.tolist())
    return [
        next(seen) if at >= 0 else vector
        for vector, at in zip(item.vectors, item.indices, strict=True)
    ]


def _suspect(task: Task, units: _Units, index: int, item: Item, suggested: str) -> Suspect:
    (own,) = np.nonzero((units.rows == index) & units.contradicted)
    least = own[int(np.argmin(units.own[own]))]
    label, best = units.labels[least], int(np.argmax(units.shares[least]))
    why = (
        f"held out, the other rows give it {task.outputs[label]} with "
        f"{units.own[least]:.2f} and {task.outputs[best]} with {units.shares[least, best]:.2f}"
    )
    if task.is_token_level:
        places = [at for at, place in enumerate(item.indices) if place >= 0]
        word = item.text.split(" ")[places[units.words[least]]]
        why = f"“{word}”: {why}"
    return Suspect(
        item.id, item.text, "pool", item.target, suggested, round(float(units.own[least]), 6), why
    )


def _classes(task: Task, units: _Units, wrong: Floats) -> list[AuditedClass]:
    """Counts by class; the B- and I- tags of an entity type are one class."""
    names = [*(label.name for label in task.labels), "O"]
    groups = np.array(task.output_groups, dtype=np.int64)
    found = []
    for group, name in enumerate(names[: task.num_groups]):
        own = groups[units.labels] == group
        known = own & (units.gold >= 0)
        if own.any():
            found.append(
                AuditedClass(
                    name,
                    int(own.sum()),
                    round(float(wrong[groups == group].sum()), 2),
                    int(known.sum()),
                    int((units.gold[known] != units.labels[known]).sum()),
                )
            )
    return found
