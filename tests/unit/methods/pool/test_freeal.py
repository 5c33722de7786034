"""FreeAL: clean rows teach the teacher, and the other texts are labelled anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.classification import (
    LABELS,
    NAMES,
    SHOTS,
    RecordedProgress,
    WordTeacher,
    make_text,
    obliging,
    prompt_set,
    scored_text,
)
from tests.helpers.methods import freeal
from tests.helpers.ner import TYPES, knowing, marked, scored_mention
from tests.helpers.pool import Student, class_of, method_arguments, pool_context
from tests.helpers.pool_views import ArrayView

from tutelage.data.training_view import RoundView, newest_of_each_text
from tutelage.errors import ConfigError
from tutelage.labelling.calibration import NoCalibration, TemperatureCalibration
from tutelage.labelling.ner_candidates import SpanCandidates
from tutelage.labelling.ner_verify import SpanVerifier
from tutelage.methods.pool.freeal import FreeAL
from tutelage.records import Example, Feedback, Outcome
from tutelage.tasks.ner import NerTask
from tutelage.teacher.base import Reply, Request

NOTHING = Feedback(0, (), {})
POOL = tuple(
    Example(f"pool-{name}-{n}", make_text(name, 8000 + n)) for n in range(10) for name in NAMES
)
ODD = {
    example.text
    for example in POOL
    if example.id in ("pool-Animal-3", "pool-Tool-0", "pool-Food-7")
}
"""Texts that the teacher gets wrong as long as its demonstrations are the shots."""


def erring(request: Request) -> Any:
    """Takes the odd texts for the next class, unless a text of the pool stands beside them."""
    text = scored_text(request.prompt)
    taught = any(
        f"Text: {example.text}\n" in request.prompt for example in POOL if example.text != text
    )
    said = NAMES[(NAMES.index(class_of(text)) + (text in ODD and not taught)) % len(NAMES)]
    return [-0.1 if label.name == said else -4.0 for label in LABELS]


SETTINGS = {
    "name": "freeal",
    "rounds": 2,
    "n_texts": None,
    "a_class": 2,
    "nearest": 3,
    "threshold": 0.7,
}


def set_up(
    folder: Path,
    teacher: Any = None,
    *,
    context_changes: dict[str, Any] | None = None,
    **changes: Any,
) -> tuple[FreeAL, Any]:
    """A method after labelling the pool once.

    The student is confident about every text, and so disagrees with the labels of the odd ones.
    """
    method = freeal(**method_arguments(**{**SETTINGS, **changes}))
    given = pool_context(
        folder, teacher or WordTeacher(erring), **{"unlabelled": POOL, **(context_changes or {})}
    )
    method.setup(given)
    given.pool.append(method.first_rows().rows)
    return method, given


def shown(prompt: str) -> list[str]:
    return [
        line.removeprefix("Text: ") for line in prompt.splitlines() if line.startswith("Text: ")
    ][:-1]


def test_the_whole_pool_is_labelled_first(tmp_path: Path) -> None:
    _, method_context = set_up(tmp_path)
    assert [row.text for row in method_context.pool.accepted()] == [
        example.text for example in POOL
    ]
    assert {row.text for row in method_context.pool.rows if row.target != class_of(row.text)} == ODD


def test_what_the_student_does_not_fit_is_labelled_anew_beside_clean_rows(tmp_path: Path) -> None:
    recorded, teacher = RecordedProgress(), WordTeacher(erring)
    method, method_context = set_up(tmp_path, teacher, context_changes={"recorded": recorded})
    teacher.asked.clear()
    growth = method.next_rows(NOTHING, 1)
    assert {row.text for row in growth.rows} == ODD
    assert all(
        (row.target, row.round, row.source, row.accepted) == (class_of(row.text), 1, "pool", True)
        for row in growth.rows
    )
    assert len(teacher.asked) == growth.asked == 3
    clean = {row.text for row in method_context.pool.rows} - ODD
    for request in teacher.asked:
        beside = shown(request.prompt)
        assert len(beside) == 3
        assert set(beside) <= clean | {shot.text for shot in SHOTS}
        assert {class_of(text) for text in beside} == {class_of(scored_text(request.prompt))}
    method_context.pool.append(growth.rows)
    assert [phase for phase, _ in recorded.phases] == [
        "calibration",
        "labelling",
        "filtering",
        "acquisition",
        "labelling",
    ]
    assert set(growth.seconds) == {"filtering", "labelling"}


def test_training_takes_the_newest_row_of_each_text(tmp_path: Path) -> None:
    method, method_context = set_up(tmp_path)
    method_context.pool.append(method.next_rows(NOTHING, 1).rows)
    assert len(method_context.pool.accepted()) == len(POOL) + 3
    rows = RoundView("all", 1, 0, 0, 1, "method=freeal").rows(method_context.pool, 0)
    assert len(rows) == len(POOL)
    assert all(row.target == class_of(row.text) for row in rows)
    again = method.next_rows(NOTHING, 2)
    assert again.rows == ()
    assert again.asked == 0


def test_a_text_that_is_not_answered_anew_keeps_its_row(tmp_path: Path) -> None:
    method, method_context = set_up(tmp_path)
    lost = sorted(ODD)[0]
    teacher = WordTeacher(
        lambda request: (
            Reply(request.id, error="lost")
            if scored_text(request.prompt) == lost
            else erring(request)
        )
    )
    other = freeal(**method_arguments(**SETTINGS))
    other.setup(pool_context(tmp_path, teacher, unlabelled=POOL))
    growth = other.next_rows(NOTHING, 1)
    assert {row.text: row.accepted for row in growth.rows}[lost] is False
    method_context.pool.append(growth.rows)
    (kept,) = [
        row for row in newest_of_each_text(method_context.pool.accepted()) if row.text == lost
    ]
    assert kept.round == 0
    assert method.rounds == 2


def test_a_text_that_was_never_answered_is_asked_for_again(tmp_path: Path) -> None:
    lost = POOL[0].text
    teacher = WordTeacher(
        lambda request: (
            Reply(request.id, error="lost")
            if scored_text(request.prompt) == lost
            else erring(request)
        )
    )
    method, _ = set_up(tmp_path, teacher)
    assert lost in {row.text for row in method.next_rows(NOTHING, 1).rows}


def test_typical_clean_rows_of_each_class_stand_beside_every_text(tmp_path: Path) -> None:
    teacher = WordTeacher(erring)
    method, _ = set_up(tmp_path, teacher, nearest=0)
    teacher.asked.clear()
    method.next_rows(NOTHING, 1)
    (beside,) = {tuple(shown(request.prompt)) for request in teacher.asked}
    assert len(beside) == len(SHOTS) + 2 * len(NAMES)
    grown = [text for text in beside if text not in {shot.text for shot in SHOTS}]
    assert sorted(class_of(text) for text in grown) == sorted([*NAMES, *NAMES])
    assert ODD.isdisjoint(grown)


def test_without_shots_the_clean_rows_alone_teach(tmp_path: Path) -> None:
    teacher = WordTeacher(erring)
    method, _ = set_up(tmp_path, teacher, context_changes={"shots": ()})
    assert shown(teacher.asked[0].prompt) == []
    teacher.asked.clear()
    assert all(row.target == class_of(row.text) for row in method.next_rows(NOTHING, 1).rows)
    assert all(len(shown(request.prompt)) == 3 for request in teacher.asked)


def test_where_nothing_was_answered_everything_is_asked_for_again(tmp_path: Path) -> None:
    from tutelage.errors import TeacherError

    with pytest.raises(TeacherError):
        set_up(tmp_path, WordTeacher(lambda request: Reply(request.id, error="down")))
    method = freeal(**method_arguments(**SETTINGS))
    method.setup(pool_context(tmp_path, WordTeacher(obliging), unlabelled=POOL, shots=()))
    assert len(method.next_rows(NOTHING, 1).rows) == len(POOL)


def test_the_selector_chooses_where_not_all_are_labelled_anew(tmp_path: Path) -> None:
    student = Student({text: 0.5 + index / 10 for index, text in enumerate(sorted(ODD))})
    method, _ = set_up(tmp_path, context_changes={"student": student}, n_texts=2)
    growth = method.next_rows(NOTHING, 1)
    assert [row.text for row in growth.rows] == sorted(ODD)[:2]


def test_a_resumed_method_goes_on_alike(tmp_path: Path) -> None:
    method, method_context = set_up(tmp_path)
    state = method.state_dict()
    undisturbed = method.next_rows(NOTHING, 1)
    resumed = freeal(**method_arguments(**SETTINGS))
    resumed.setup(pool_context(tmp_path, WordTeacher(erring), unlabelled=POOL))
    resumed.load_state_dict(state)
    assert resumed.next_rows(NOTHING, 1).rows == undisturbed.rows
    assert len(method_context.pool) == len(POOL)


def test_dev_is_fitted_beside_neighbours_of_its_own(tmp_path: Path) -> None:
    teacher = WordTeacher(erring)
    method, method_context = set_up(tmp_path, teacher, calibrator=TemperatureCalibration)
    teacher.asked.clear()
    method.next_rows(NOTHING, 1)
    on_dev = [
        request.prompt
        for request in teacher.asked
        if scored_text(request.prompt) in {one.text for one in method_context.dev}
    ]
    assert len(on_dev) == len(method_context.dev) == method.calibration_labels
    assert all(
        {class_of(text) for text in shown(prompt)} == {class_of(scored_text(prompt))}
        for prompt in on_dev
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a_class": 0}, "method.a_class=0 must be 1 or more"),
        ({"nearest": -1}, "method.nearest=-1 0 or more"),
        ({"threshold": 0.0}, "method.threshold=0.0 must be above 0 and at most 1"),
        (
            {"first": 5},
            "method.first=5: FreeAL labels the whole pool at first; leave it null, or set "
            "method.pool_size",
        ),
    ],
)
def test_what_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        freeal(**method_arguments(**{**SETTINGS, **changes}))


SENTENCES = tuple(
    Example(f"s{n}", f"number {n} Ada was in Paris" if n % 2 else f"number {n} Acme was sold")
    for n in range(20)
)


def seen(texts: Any, learnt: Any) -> ArrayView:
    """A student that is unsure of the numbers 4 and 13, and sure of all others."""
    numbers = np.array(
        [[float(text.split()[1]) if text.startswith("number") else 50.0] for text in texts]
    ).reshape(len(texts), 1)
    beside = np.array([[50.0] for _ in learnt]).reshape(len(learnt), 1)
    sure = np.where(np.isin(numbers, (4, 13)), 0.6, 0.95)
    return ArrayView(
        np.hstack([sure, 1 - sure]),
        np.hstack([numbers, np.ones_like(numbers)]),
        np.hstack([beside, np.ones_like(beside)]),
    )


def test_ner_sentences_are_labelled_anew_beside_clean_ones(tmp_path: Path) -> None:
    prompts = prompt_set("completion_ner")

    def labeller(task: Any, teacher: Any, demonstrations: Any, nearest: Any = None) -> SpanVerifier:
        return SpanVerifier(
            teacher,
            TYPES,
            prompts,
            demonstrations,
            NoCalibration(),
            SpanCandidates(0),
            nearest=nearest,
        )

    teacher = WordTeacher(knowing())
    shots = (marked("then Grace Hopper left", {"Grace Hopper": "PER"}),)
    method = freeal(**{**method_arguments(**{**SETTINGS, "nearest": 2}), "new_labeller": labeller})
    method_context = pool_context(
        tmp_path,
        teacher,
        student=seen,
        task=NerTask(TYPES),
        shots=shots,
        dev=(),
        held_out=(),
        unlabelled=SENTENCES,
    )
    method.setup(method_context)
    first = method.first_rows()
    method_context.pool.append(first.rows)
    otherwise = [
        Outcome(row.id, row.text, row.target, "[]", (0.9,), "pool", 0)
        for row in first.rows
        if row.text.startswith("number 7 ")
    ]
    teacher.asked.clear()
    growth = method.next_rows(replace(NOTHING, outcomes=tuple(otherwise)), 1)
    assert {row.text for row in growth.rows} == {SENTENCES[number].text for number in (4, 7, 13)}
    assert {scored_mention(request.prompt)[0] for request in teacher.scorings()} == {
        row.text for row in growth.rows
    }
    assert all("number" in request.prompt.splitlines()[0] for request in teacher.scorings())
    assert {row.parents[0]: row.target for row in growth.rows} == {
        row.parents[0]: row.target for row in first.rows if row.parents[0] in ("s4", "s7", "s13")
    }
