"""The Step passed to a train selector: student classes next to teacher classes."""

from __future__ import annotations

from typing import Any

import torch
from tests.helpers.ner import TYPES

from tutelage.data.items import Item
from tutelage.selectors.protocol import Step, Weighed
from tutelage.selectors.row_selection import EveryRow
from tutelage.student.selection import select
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.ner import NerTask
from tutelage.tasks.protocol import Task


class Onlooker(EveryRow):
    """Keeps every row, and records the last step."""

    def weigh(self, step: Step) -> Weighed:
        self.seen = step
        return super().weigh(step)


def shown(task: Task, items: list[Item], outputs: Any) -> Step:
    """The Step of a student whose most probable outputs are these."""
    logits = torch.nn.functional.one_hot(
        torch.tensor([[task.outputs.index(name) for name in row] for row in outputs]),
        len(task.outputs),
    )
    onlooker = Onlooker()
    select(onlooker, items, 5.0 * (logits if task.is_token_level else logits[:, 0]), task)
    return onlooker.seen


def item(group: int, indices: tuple[int, ...] = (0,)) -> Item:
    return Item(
        "1", "text", "target", "pool", 0, (0,), ((1.0,),), (1.0,), indices=indices, group=group
    )


def test_the_student_s_class_of_a_text_is_its_most_probable_one() -> None:
    step = shown(
        ClassificationTask(TYPES), [item(0), item(0), item(2)], [["LOC"], ["PER"], ["ORG"]]
    )
    assert (step.groups.tolist(), step.predicted.tolist()) == ([0, 0, 2], [1, 0, 2])


def test_the_student_s_class_of_a_sentence_is_the_type_of_most_of_its_words() -> None:
    sentences = [
        ["O", "O", "B-LOC", "O"],
        ["B-PER", "B-ORG", "I-ORG", "O"],
        ["B-ORG", "B-LOC", "O", "O"],
        ["O", "O", "O", "O"],
        ["B-PER", "B-PER", "B-LOC", "O"],
        ["B-PER", "O", "O", "O"],
    ]
    indices = [(0, 1, 2, 3)] * 4 + [(-1, -1, 2, 3), ()]
    step = shown(NerTask(TYPES), [item(0, seen) for seen in indices], sentences)
    # The first label wins a tie, unseen words do not count, and the last two texts have no entity.
    assert step.predicted.tolist() == [1, 2, 1, 3, 1, 3]
