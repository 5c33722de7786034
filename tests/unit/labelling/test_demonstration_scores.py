"""Demonstrations by their scores, against a slow reference."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.helpers.classification import LABELS, NAMES, WordTeacher, make_text, prompt_set
from tests.helpers.letter_model import LetterModel

from tutelage.labelling.base import Draft
from tutelage.labelling.calibration import BatchCalibration, NoCalibration
from tutelage.labelling.demonstration_scores import JURY, trials
from tutelage.labelling.scoring import TextLabeller
from tutelage.records import Example
from tutelage.teacher.base import Chat, Reply, Request

PROMPTS = prompt_set()
SHOTS = [
    Example(f"s{name}{n}", make_text(name, 3000 + n), name) for n in range(4) for name in NAMES
]
DRAFTS = [Draft("a text"), Draft("another one")]


def by_prompt(request: Request) -> list[float]:
    """Log-probabilities that depend on the whole prompt."""
    rng = random.Random(str(request.prompt))
    return [-6 * rng.random() - 0.1 for _ in LABELS]


def labeller(
    script: Any = by_prompt, shots: Sequence[Example] = SHOTS, **changes: Any
) -> tuple[TextLabeller, WordTeacher]:
    teacher = WordTeacher(script)
    given = {"demonstrations": "predictive", "max_demonstrations": 4, **changes}
    calibrator = given.pop("calibrator", NoCalibration())
    return TextLabeller(teacher, LABELS, PROMPTS, shots, calibrator, **given), teacher


def prompt_of(shown: Example | None, asked: Example) -> str:
    """A labelling prompt, written out."""
    word = {label.name: label.word for label in LABELS}
    block = f"Text: {shown.text}\nAnswer: {word[str(shown.label)]}\n\n" if shown else ""
    return f"{block}Text: {asked.text}\nAnswer:"


def slow_scores(shots: Sequence[Example]) -> list[float]:
    """The mean rise of the right label's log-probability over all other shots."""

    def right(shown: Example | None, asked: Example) -> float:
        rng = random.Random(prompt_of(shown, asked))
        values = [math.exp(-6 * rng.random() - 0.1) for _ in LABELS]
        return math.log(values[NAMES.index(str(asked.label))] / sum(values))

    return [
        sum(right(one, other) - right(None, other) for other in shots if other is not one)
        / (len(shots) - 1)
        for one in shots
    ]


def test_scores_are_the_mean_rise_of_the_other_shots_right_labels() -> None:
    subject, teacher = labeller()
    assert subject.fit() == 0
    assert {str(request.prompt) for request in teacher.scorings()} == {
        prompt_of(shown, asked) for shown in [None, *SHOTS] for asked in SHOTS if shown is not asked
    }
    assert len(teacher.asked) == 12 * 12
    state = subject.calibrator.state_dict()
    assert state["scores"] == pytest.approx(slow_scores(SHOTS), abs=1e-5)


def test_the_best_of_each_class_is_shown_before_any_second_in_the_given_order() -> None:
    subject, teacher = labeller()
    subject.fit()
    subject.label(DRAFTS)
    scores = dict(zip(SHOTS, slow_scores(SHOTS), strict=True))
    ranked = sorted(SHOTS, key=lambda shot: -scores[shot])
    firsts = [next(shot for shot in ranked if shot.label == name) for name in NAMES]
    seconds = [[shot for shot in ranked if shot.label == name][1] for name in NAMES]
    expected = {*firsts, max(seconds, key=scores.__getitem__)}
    for request in teacher.scorings()[-2:]:
        shown = [shot for shot in SHOTS if shot.text in str(request.prompt)]
        assert set(shown) == expected
        places = [str(request.prompt).index(shot.text) for shot in shown]
        assert places == sorted(places)


def test_it_asks_once_and_a_resumed_one_not_at_all() -> None:
    whole, _ = labeller(calibrator=BatchCalibration())
    assert {kind: len(own) for kind, own in whole.preparation().items()} == {"demonstrations": 144}
    whole.fit()
    whole.label(DRAFTS)
    resumed, teacher = labeller(calibrator=BatchCalibration())
    resumed.calibrator.load_state_dict(json.loads(json.dumps(whole.calibrator.state_dict())))
    assert resumed.label(DRAFTS) == whole.label(DRAFTS)
    assert len(teacher.asked) == len(DRAFTS)
    assert (whole.calibrator.name, whole.calibrator.needs) == ("batch", "")
    assert "144 requests" in whole.notes[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"shots": SHOTS[:4]},
        {"max_demonstrations": 0},
        {"nearest": lambda text: SHOTS[:2]},
        {"demonstrations": "fixed"},
    ],
)
def test_where_there_is_nothing_to_choose_nothing_is_asked(changes: dict[str, Any]) -> None:
    subject, teacher = labeller(**changes)
    assert subject.preparation() == {}
    subject.fit()
    assert not teacher.asked


def test_a_shot_whose_trials_failed_has_the_lowest_score() -> None:
    def failing(request: Request) -> Any:
        if str(request.prompt).startswith(f"Text: {SHOTS[5].text}\nAnswer: "):
            return Reply(request.id, error="too long")
        return by_prompt(request)

    subject, _ = labeller(failing)
    subject.fit()
    scores = subject.calibrator.state_dict()["scores"]
    assert scores[5] == min(scores)
    assert scores[:5] == pytest.approx(slow_scores(SHOTS)[:5], abs=1e-5)


def test_many_shots_are_scored_by_a_jury_of_all_classes() -> None:
    many = [Example(f"{n}", f"text {n}", NAMES[0] if n < 90 else NAMES[1]) for n in range(100)]
    asked = trials(many)
    jury = {own for _, own in asked.pairs}
    assert len(jury) == JURY
    assert len(asked.pairs) == 101 * JURY - JURY
    assert {*range(90, 100)} <= jury


def test_of_many_labels_each_trial_lists_the_right_one_and_the_one_shown() -> None:
    from tests.unit.labelling.test_showing import LABELS as MANY
    from tests.unit.labelling.test_showing import Compass

    shots = [Example(f"s{n}", f"shot {30 * n}", MANY[9 - n].name) for n in range(10)]
    teacher = LetterModel()
    subject = TextLabeller(
        teacher,
        MANY,
        prompt_set("chat_classification"),
        shots,
        NoCalibration(),
        demonstrations="predictive",
        max_demonstrations=2,
        shortlist=3,
        embed=Compass(),
    )
    requests = subject.preparation()["demonstrations"]
    # All words begin alike, so each reply is begun.
    chats = [request.prompt for request in requests if isinstance(request.prompt, Chat)]
    prompts = {str(replace(chat, messages=chat.messages[:-1])) for chat in chats}
    assert len(prompts) == 100
    for prompt in prompts:
        shown = [shot for shot in shots if f"]\n{shot.text}\n" in f"{prompt}\n"]
        words = {label.name: label.word for label in MANY}
        assert all(f"{words[str(shot.label)]}:" in prompt for shot in shown)
    subject.fit()
    assert np.isfinite(subject.calibrator.state_dict()["scores"]).all()
