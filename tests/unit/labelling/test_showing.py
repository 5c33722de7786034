"""The shots and the labels that a prompt shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tests.helpers.classification import WordTeacher, prompt_set
from tests.helpers.doubles import ScriptedTeacher
from tests.helpers.letter_model import LetterModel

from tutelage.errors import ConfigError
from tutelage.labelling.base import Draft
from tutelage.labelling.calibration import NoCalibration
from tutelage.labelling.showing import Shortlist, ShotChoice
from tutelage.labelling.text_labeller import TextLabeller
from tutelage.records import Example, Label
from tutelage.teacher.base import Chat, ScoreRequest


class Compass:
    """Embeds a text as the direction of the number that it ends with."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> Any:
        self.batches.append(list(texts))
        angles = np.radians([float(text.split()[-1]) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def shots(*degrees: int, label: str = "") -> list[Example]:
    return [Example(f"s{one}", f"shot {one}", label or f"L{one}") for one in degrees]


def shown(found: Sequence[Sequence[Example]]) -> list[list[int]]:
    return [[int(shot.id[1:]) for shot in own] for own in found]


def test_no_more_shots_than_the_limit_are_all_shown_as_given() -> None:
    def never(_: Sequence[str]) -> Any:
        raise AssertionError("nothing has to be embedded")

    for choice in ("nearest", "random", "fixed"):
        subject = ShotChoice(shots(40, 10, 90), 3, choice, never)  # type: ignore[arg-type]
        assert shown(subject(["text 9", "text 80"])) == [[40, 10, 90]] * 2


def test_the_nearest_come_last_and_texts_are_embedded_at_once() -> None:
    compass = Compass()
    subject = ShotChoice(shots(90, 10, 40, 200), 2, "nearest", compass)
    assert shown(subject(["text 12", "text 85"])) == [[40, 10], [40, 90]]
    assert compass.batches == [
        ["shot 90", "shot 10", "shot 40", "shot 200"],
        ["text 12", "text 85"],
    ]
    assert shown(subject.ordered(["text 12"])) == [[200, 90, 40, 10]]
    # Of other labels there is nothing to show.
    assert shown(subject(["text 12"], [{"L90", "L200", "L40"}])) == [[90, 40]]
    assert shown(subject(["text 12"], [{"L10"}])) == [[10]]


def test_random_shots_depend_on_the_text_and_the_seed_only() -> None:
    many = shots(*range(30))
    texts = [f"text {number}" for number in range(20)]
    first = shown(ShotChoice(many, 4, "random", seed=1)(texts))
    assert first == shown(ShotChoice(many, 4, "random", seed=1)(texts[::-1]))[::-1]
    assert first != shown(ShotChoice(many, 4, "random", seed=2)(texts))
    assert len({tuple(own) for own in first}) > 15
    assert all(len(set(own)) == 4 for own in first)


def test_fixed_shots_show_each_class_once_before_any_twice() -> None:
    given = [*shots(1, 2, 3, label="A"), *shots(4, label="B"), *shots(5, 6, label="C")]
    assert shown(ShotChoice(given, 3, "fixed")(["text 1"])) == [[1, 4, 5]]
    assert shown(ShotChoice(given, 4, "fixed")(["text 1"])) == [[1, 2, 4, 5]]


LABELS = tuple(
    Label(f"L{degree}", f"word{degree}", f"about {degree}") for degree in range(0, 300, 30)
)


def listed(found: Sequence[tuple[int, ...]]) -> list[list[str]]:
    return [[LABELS[index].name for index in own] for own in found]


def test_a_shortlist_has_the_labels_nearest_by_description_or_shot_in_their_order() -> None:
    far = Example("s", "shot 95", "L270")
    subject = Shortlist(LABELS, [far], Compass(), 3)
    assert listed(subject(["text 32", "text 92"], [(), ()])) == [
        ["L0", "L30", "L60"],
        ["L90", "L120", "L270"],
    ]
    assert subject([], []) == []


def test_the_student_s_classes_have_up_to_half_of_the_places() -> None:
    subject = Shortlist(LABELS, (), Compass(), 4)
    (own,) = listed(subject(["text 32"], [("L240", "L30", "L210", "L180")]))
    assert own == ["L0", "L30", "L60", "L240"]


def test_recall_compares_each_shot_with_the_others() -> None:
    # A shot of L0 at 180 is found only by its twin; the one at 2 by its label.
    lost = [Example("a", "shot 180", "L0"), Example("b", "shot 2", "L0")]
    assert Shortlist(LABELS, lost, Compass(), 2).recall() == (1, 2)
    twins = [*lost, Example("c", "shot 181", "L0")]
    assert Shortlist(LABELS, twins, Compass(), 2).recall() == (3, 3)
    assert Shortlist(LABELS, (), Compass(), 2).recall() == (0, 0)


def test_the_list_of_a_shot_does_not_know_its_label() -> None:
    own = Example("a", "shot 180", "L0")
    subject = Shortlist(LABELS, [own, Example("b", "shot 95", "L270")], Compass(), 2)
    assert listed(subject([own.text, "text 180"], [(), ()])) == [["L150", "L180"], ["L0", "L180"]]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"shortlist": 1}, "shortlist=1 must"),
        ({"max_demonstrations": -1}, "demonstrations=-1 must"),
    ],
)
def test_settings_out_of_range(settings: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        labeller(WordTeacher(lambda request: []), **settings)


def labeller(teacher: ScriptedTeacher, **settings: Any) -> TextLabeller:
    given = [Example(f"s{n}", f"shot {n}", f"L{n}") for n in range(0, 300, 30)]
    return TextLabeller(
        teacher,
        LABELS,
        prompt_set(),
        given,
        NoCalibration(),
        embed=Compass(),
        **{"demonstrations": "nearest", **settings},
    )


def test_a_text_is_labelled_within_its_shortlist() -> None:
    teacher = WordTeacher(lambda request: [-1.0, -2.0, -3.0, -4.0])
    subject = labeller(teacher, shortlist=4, max_demonstrations=2)
    (found,) = subject.label([Draft("text 31", likely=("L270",))]).opinions
    (request,) = teacher.asked
    assert isinstance(request, ScoreRequest)
    assert len(request.choices) == 4
    assert found is not None
    outside = {
        name
        for name, probability in zip(
            found.distribution.labels, found.distribution.probabilities, strict=True
        )
        if probability == 0.0
    }
    assert outside == {label.name for label in LABELS} - {"L0", "L30", "L60", "L270"}
    assert found.distribution.off_label_mass == pytest.approx(
        1 - sum(np.exp([-1.0, -2.0, -3.0, -4.0])), abs=1e-6
    )
    # Both demonstrations are of listed labels, the nearest one last.
    prompt = str(request.prompt)
    assert [line for line in prompt.splitlines() if "shot" in line] == [
        "Text: shot 60",
        "Text: shot 30",
    ]
    assert subject.asks_student
    (note,) = subject.notes
    assert "lists the 4 labels of 10" in note
    assert "For 10 of 10 shots" in note


def test_few_labels_are_all_listed_and_the_student_is_not_asked() -> None:
    teacher = WordTeacher(lambda request: [-1.0] * len(request.choices))  # type: ignore[union-attr]
    for settings in ({"shortlist": 5}, {"shortlist": None}):
        subject = labeller(teacher, **settings)
        assert (subject.asks_student, subject.notes) == (False, ())
        subject.label([Draft("text 31")])
        assert len(teacher.scorings()[-1].choices) == len(LABELS)


def test_a_chat_lists_the_shortlist_alone() -> None:
    teacher = LetterModel()
    subject = TextLabeller(
        teacher, LABELS, prompt_set("chat_classification"), (), NoCalibration(),
        shortlist=3, embed=Compass(),
    )  # fmt: skip
    (found,) = subject.label([Draft("text 31")]).opinions
    for request in teacher.asked:
        assert isinstance(request.prompt, Chat)
        system = request.prompt.messages[0].content
        assert [label.name for label in LABELS if f"{label.word}: " in system] == [
            "L0", "L30", "L60",
        ]  # fmt: skip
    assert found is not None
    assert sum(found.distribution.probabilities) == pytest.approx(1, abs=1e-5)
    assert set(found.distribution.raw[3:]) == {0.0}
