"""The teacher's opinions of test texts: a task reads what it writes, and scores the answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tutelage.labelling.base import Opinion
from tutelage.records import Example, Label, LabelDistribution
from tutelage.tasks.opinions import TeacherOpinion
from tutelage.tasks.protocol import Task
from tutelage.tasks.registry import TASKS, new_task
from tutelage.tasks.spans import Span, write_spans

LABELS = tuple(Label(name, name.lower(), name) for name in ("PER", "LOC"))
TEXTS, WORDS = new_task("classification", LABELS), new_task("ner", LABELS)
GOLD = write_spans([Span(0, 1, "PER")])
TEXT = Example("1", "Anna left Bath", "PER")
MARKED = Example("1", "Anna left Bath", GOLD)
DISTRIBUTION = LabelDistribution(("PER", "LOC"), (0.25, 0.75), 0.5, (0.75, 0.25))
ENTITIES = ((Span(0, 1, "PER"), 0.875), (Span(2, 3, "LOC"), 0.5))
OUTSIDE = LabelDistribution(("PER", "LOC", "O"), (0.25, 0.0, 0.75), 0.0)


def there_and_back(task: Task, example: Example, opinion: Opinion | None) -> TeacherOpinion:
    line = task.opinion_record(example, opinion, "refused")
    return task.read_opinion(json.loads(json.dumps(line)))


def test_a_label_comes_back_with_its_distribution() -> None:
    opinion = there_and_back(TEXTS, TEXT, Opinion(DISTRIBUTION))
    assert opinion == TeacherOpinion("1", "", "PER", "LOC", (0.25, 0.75), (0.75, 0.25))
    # Calibration changed the label, and the answer with it.
    assert TEXTS.answers(opinion) == [(0.75, False)]
    assert TEXTS.answers(opinion, raw=True) == [(0.75, True)]


def test_a_marking_comes_back_with_its_text_and_one_confidence_per_entity() -> None:
    opinion = there_and_back(WORDS, MARKED, Opinion(OUTSIDE, ENTITIES, marked=True))
    predicted = write_spans(span for span, _ in ENTITIES)
    assert opinion == TeacherOpinion("1", MARKED.text, GOLD, predicted, (0.875, 0.5), ())
    assert WORDS.answers(opinion) == [(0.875, True), (0.5, False)]


@pytest.mark.parametrize("name", TASKS)
def test_an_error_leaves_an_empty_target(name: str) -> None:
    task = new_task(name, LABELS)
    opinion = there_and_back(task, Example("1", "a text", task.empty_target), None)
    assert (opinion.error, opinion.predicted) == ("refused", task.empty_target)
    assert opinion.probabilities == opinion.raw == ()


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        (TEXTS, {"probabilities": [0.5]}, '"probabilities" must hold 2 numbers'),
        (TEXTS, {"raw": [0.5, 1.5]}, '"raw" must hold 2 numbers in .* one per label'),
        (WORDS, {"confidences": [0.5]}, '"confidences" must hold 2 numbers .* one per entity'),
        (WORDS, {"target": "Anna"}, "Expecting value"),
    ],
)
def test_a_line_that_no_task_writes_is_refused(
    task: Task, changes: dict[str, Any], message: str
) -> None:
    marked = task is WORDS
    opinion = Opinion(OUTSIDE, ENTITIES, marked=True) if marked else Opinion(DISTRIBUTION)
    line = task.opinion_record(MARKED if marked else TEXT, opinion, "")
    with pytest.raises(ValueError, match=message):
        task.read_opinion(line | changes)


def test_a_line_without_raw_probabilities_was_not_calibrated() -> None:
    line = TEXTS.opinion_record(TEXT, Opinion(DISTRIBUTION), "")
    del line["raw"]
    assert TEXTS.read_opinion(line).raw == DISTRIBUTION.probabilities
