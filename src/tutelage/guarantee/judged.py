"""A student's predictions of labelled texts, as `tutelage predict` makes them, beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tutelage.records import Example
from tutelage.selectors.protocol import Floats
from tutelage.tasks.protocol import Task
from tutelage.tasks.spans import read_spans, to_characters


@dataclass(frozen=True)
class Judged:
    """Predictions of labelled texts.

    Attributes:
        confidences: Confidence in each text's prediction, [N]; for NER that of its least certain
            word.
        right: Whether the prediction is right, [N]; for NER whether all entities are.
        probabilities: Probability of each label, [N, C]; None for NER.
        targets: Index of the right label, [N]; None for NER.
    """

    confidences: Floats
    right: NDArray[np.bool_]
    probabilities: Floats | None
    targets: NDArray[np.int64] | None

    @property
    def of_the_right_label(self) -> Floats | None:
        """Probability of the right label, [N]; None for NER."""
        if self.probabilities is None:
            return None
        return np.take_along_axis(self.probabilities, self.targets[:, None], axis=1)[:, 0]  # type: ignore[index]


def judge(student: Any, task: Task, examples: Sequence[Example]) -> Judged:
    """Predicts labelled texts like new ones, and compares with their labels.

    The numbers are rounded as `tutelage predict` rounds them, so a threshold on them means the same
    there. For NER the text is split into words as a raw text is, and entities are compared by their
    characters.

    Args:
        student: A :class:`tutelage.student.inference.Student`.
        task: Its task.
        examples: The texts with their labels, at least one.
    """
    found = list(student.stream([one.text for one in examples], with_confidence=True))
    confidences = np.array([one["confidence"] for one in found])
    if task.is_token_level:
        same = [
            {(entity["start"], entity["end"], entity["label"]) for entity in one["entities"]}
            == _marked(example)
            for one, example in zip(found, examples, strict=True)
        ]
        return Judged(confidences, np.array(same), None, None)
    names = task.outputs
    targets = np.array([names.index(str(example.label)) for example in examples])
    right = np.array([one["label"] for one in found]) == np.array(names)[targets]
    probabilities = np.array([[one["probabilities"][name] for name in names] for one in found])
    return Judged(confidences, right, probabilities, targets)


def _marked(example: Example) -> set[tuple[int, int, str]]:
    """The entities of a text whose words are joined by single spaces, in characters."""
    ends = list(accumulate(len(word) + 1 for word in example.text.split(" ")))
    words = [(start, end - 1) for start, end in zip([0, *ends], ends, strict=False)]
    return {(*to_characters(words, span), span.type) for span in read_spans(str(example.label))}
