"""The teacher alone: scored on every test text, answered or not, from the written lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import classification, ner
from tests.helpers.doubles import Script
from tests.helpers.fitting import RecordingReporter

from tutelage.config.compose import compose_config
from tutelage.data.dataset import Dataset
from tutelage.interruption import Interruption
from tutelage.records import Example
from tutelage.references import teacher_alone
from tutelage.runs.folder import RunFolder
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.ner import NerTask
from tutelage.tasks.protocol import Task
from tutelage.teacher.base import Reply, Request
from tutelage.teacher.stack import build_teacher

NAMED = {"Ada": "PER", "Paris": "LOC", "Acme": "ORG", "Refused": "PER"}
SENTENCES = (
    ner.marked("We saw Ada there", {"Ada": "PER"}),
    ner.marked("We saw Acme there", {"Acme": "ORG"}),
    ner.marked("We saw Refused there", {"Refused": "PER"}),
    ner.marked("There it is Refused"),
)
TEXTS = (
    Example("1", "tool amber", "Tool"),
    Example("2", "food birch", "Food"),
    Example("3", "animal cedar", "Food"),
    Example("4", "Refused dune", "Animal"),
)


@dataclass(frozen=True)
class Measured:
    """What the arm gave, and the lines that it wrote."""

    result: dict[str, Any]
    lines: Sequence[dict[str, Any]]


class Listener(RecordingReporter):
    """Ignores replies."""

    def reply(self, reply: Any) -> None:
        pass


def refusing(script: Script) -> Script:
    """The script, but for texts with the word."""

    def answer(request: Request) -> Any:
        question = "\n".join(request.prompt.splitlines()[-2:])
        return (
            Reply(request.id, error="too long for the engine")
            if "Refused" in question
            else script(request)
        )

    return answer


def measured(folder: Path, task: Task, examples: Sequence[Example], script: Script) -> Measured:
    overrides = ["task=ner", "data=wikigold"] if task.is_token_level else []
    config = compose_config([*overrides, "calibration=none", "shots=0"])
    dataset = Dataset(
        "a few",
        tuple(task.labels),
        (),
        (),
        tuple(examples),
        kind="ner" if overrides else "classification",
    )
    given = RunFolder(folder)
    with Interruption() as interruption:
        result = teacher_alone(
            config,
            given,
            dataset,
            task,
            build_teacher(classification.WordTeacher(script)),
            Listener(),
            interruption,
        )
    return Measured(result, given.read_lines("teacher/evaluation.jsonl"))


def test_a_text_that_was_not_labelled_is_a_wrong_answer(tmp_path: Path) -> None:
    found = measured(
        tmp_path,
        ClassificationTask(classification.LABELS),
        TEXTS,
        refusing(classification.obliging),
    )
    assert (found.result["accuracy"], found.result["raw"], found.result["failed"]) == (0.5, 0.5, 1)
    assert [line["id"] for line in found.lines] == ["1", "2", "3", "4"]
    assert found.lines[3] == {"id": "4", "target": "Animal", "error": "too long for the engine"}
    assert all("error" not in line for line in found.lines[:3])


def test_a_text_that_was_not_marked_is_not_one_without_entities(tmp_path: Path) -> None:
    found = measured(tmp_path, NerTask(ner.TYPES), SENTENCES, refusing(ner.knowing(NAMED)))
    # Two of three entities; and of the texts the fourth holds none, which nobody said.
    assert found.result["f1_strict"] == found.result["f1_default"] == pytest.approx(2 * 2 / (2 + 3))
    assert (found.result["accuracy"], found.result["raw"], found.result["failed"]) == (0.5, None, 2)
    assert found.lines[3] == {
        "id": SENTENCES[3].id,
        "target": "[]",
        "text": SENTENCES[3].text,
        "error": "too long for the engine",
    }
    assert found.lines[0]["predicted"] == SENTENCES[0].label


def test_where_every_text_is_answered_none_failed(tmp_path: Path) -> None:
    found = measured(
        tmp_path, ClassificationTask(classification.LABELS), TEXTS[:2], classification.obliging
    )
    assert (found.result["accuracy"], found.result["failed"]) == (1.0, 0)
    assert all(
        set(line) == {"id", "target", "probabilities", "raw", "off_label_mass"}
        for line in found.lines
    )
