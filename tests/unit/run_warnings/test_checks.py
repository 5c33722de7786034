"""Warnings about a run: each has its sign, is quiet without it, and names settings that exist."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from tutelage.config.compose import compose_config
from tutelage.progress import NoProgress
from tutelage.records import Feedback, Growth, Label, LabelDistribution, Outcome, Row
from tutelage.run_warnings.checks import warnings_of
from tutelage.run_warnings.facts import Facts
from tutelage.run_warnings.rounds import RoundWatch
from tutelage.tasks.classification import ClassificationTask
from tutelage.tasks.ner import NerTask
from tutelage.tasks.opinions import TeacherOpinion

NAMES = ("music", "weather", "food")
TASK = ClassificationTask([Label(name, name, f"texts about {name}") for name in NAMES])
ENTITIES = NerTask([Label("PER", "person", "people"), Label("LOC", "place", "places")])


@cache
def settings(*overrides: str) -> Mapping[str, Any]:
    return compose_config(["data=snips", *overrides]).source


def row(
    target: str = "",
    reason: str = "",
    number: int = 0,
    source: Any = "easy",
    off_label: float | None = None,
    **detail: str,
) -> Row:
    distribution = None
    if off_label is not None:
        distribution = LabelDistribution(NAMES, (0.5, 0.3, 0.2), off_label)
    return Row(
        f"row-{number}", "play it loud", target, source, 1, not reason, reason, distribution,
        detail={"prompt": "abc", **detail},
    )  # fmt: skip


def rows(*groups: tuple[int, Row]) -> tuple[Row, ...]:
    """Copies of rows; one without a target has each class in turn."""
    copies = [one for count, one in groups for _ in range(count)]
    return tuple(
        replace(one, id=f"row-{number}", target=one.target or NAMES[number % 3])
        for number, one in enumerate(copies)
    )


def outcome(target: str, predicted: str) -> Outcome:
    return Outcome("id", "some text of four", target, predicted, (1.0,), "test", 2)


def on_test(*groups: tuple[int, str, str]) -> tuple[Outcome, ...]:
    return tuple(outcome(target, found) for count, target, found in groups for _ in range(count))


def opinions(*groups: tuple[int, str, str], error: str = "") -> tuple[TeacherOpinion, ...]:
    return tuple(
        TeacherOpinion("id", "text", target, found, (1.0,), (), error)
        for count, target, found in groups
        for _ in range(count)
    )


GOOD = on_test((15, "music", "music"), (14, "weather", "weather"), (11, "food", "food"))
SOUND = Facts(
    TASK,
    settings(),
    rows(*((12, row(name, off_label=0.8)) for name in NAMES), (20, row(reason="under 3 words"))),
    GOOD,
    opinions((15, "music", "music"), (14, "weather", "weather"), (11, "food", "food")),
    mistakes=(0, 4, 2),
    rounds=3,
    stopped_by="rounds",
    requests=100,
    failed=2,
)
"""A run that did what it is for."""


def found(**changes: Any) -> list[str]:
    return warnings_of(replace(SOUND, **changes))


def advice_is_sound(message: str, given: Mapping[str, Any] | None = None) -> None:
    """Checks that the run's own configuration has every setting that a message names."""
    node: Any = given or settings()
    for name in re.findall(r"\b(?:[a-z]+\.[a-z_]+|shots(?==))", message):
        value: Any = node
        for part in name.split("."):
            assert part in value, f"{name} in {message!r}"
            value = value[part]
    for override in re.findall(r"[a-z.]+=[a-z]+\b", message):
        assert compose_config(["data=snips", override])


def test_a_sound_run_has_no_warning() -> None:
    assert warnings_of(SOUND) == []
    assert warnings_of(Facts(TASK, settings())) == []


NONE_LEFT = rows(
    (30, row(reason="scored label is not the one asked for")), (6, row(reason="empty"))
)
MANY = rows((30, row()), (9, row(artefacts="label, JSON")), (3, row(reason="no text: a refusal",
            artefacts="refusal")))  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        # The student and the teacher, against the most frequent class.
        (
            {"test": on_test((20, "music", "music"), (6, "food", "food"), (13, "weather", "music"),
                             (1, "weather", "weather"))},
            None,
        ),
        (
            {"test": on_test((20, "music", "music"), (16, "food", "music"), (4, "food", "food"))},
            "student is right on 24 of 40 test texts (0.600), not clearly above the answer 'music' "
            "to every text (20, 0.500)",
        ),
        (
            {"test": on_test((40, "music", "music"), (40, "food", "weather"))},
            "student is right on 40 of 80",
        ),
        (
            {"teacher": opinions((10, "music", "food"), (30, "food", "music"))},
            "teacher alone is right on 0 of 40",
        ),
        ({"teacher": opinions((20, "music", "music"), error="lost")}, "alone is right on 0 of 20"),
        # Skewed classes, and a student that would do better without looking.
        (
            {"test": on_test((35, "music", "music"), (53, "music", "food"), (12, "food", "food"))},
            "student is right on 47 of 100 test texts (0.470), below the answer 'music' to every "
            "text (88, 0.880). Try calibration.prior=[…] with the share of each class",
        ),
        (
            {"teacher": opinions((47, "music", "music"), (53, "music", "food"))},
            "teacher alone is right on 47 of 100 test texts (0.470), below the answer 'music' to "
            "every text (100, 1.000). A student seldom ends far above its teacher. Try "
            "calibration.prior=[…]",
        ),
        ({"teacher": ()}, None),
        # Classes that are never predicted, and such without rows.
        (
            {"test": on_test((30, "music", "music"), (30, "food", "food"), (9, "weather", "food"))},
            "never predicts 'weather', which 9 test texts have",
        ),
        (
            {"test": on_test((30, "music", "music"), (30, "food", "food"), (4, "weather", "food"))},
            None,
        ),
        ({"rows": rows((8, row("music")), (8, row("food")))}, "16 accepted rows none is of class"),
        ({"rows": rows((8, row("music")), (6, row("food")))}, None),
        # What was accepted.
        (
            {
                "rows": (
                    *rows((30, row())),
                    *(replace(one, round=2) for one in NONE_LEFT),
                    *(replace(one, round=3) for one in NONE_LEFT),
                )
            },
            "2 of 3 rounds brought no text or nearly none. Reasons: scored label is not the one",
        ),
        (
            {"stopped_by": "nothing accepted"},
            "Growth ended after round 3 because 3 rounds in a row brought no text. Try "
            "training.stop_after_empty=0 to go on regardless",
        ),
        (
            {"stopped_by": "nothing to learn"},
            "because the student was right on every text of 3 rounds in a row before it learnt it",
        ),
        ({"rows": NONE_LEFT}, "Of 36 texts none was accepted. Reasons: scored label is not the one "
         "asked for (30), empty (6); the first: 'scored label is not the one asked for' (of "
         "'play it loud'). Try accept=scored"),
        (
            {"rows": rows((40, row(reason="does not hold 'Ada'")), (1, row()))},
            "Of 41 texts only 1 was accepted. Reasons: does not hold … (40)",
        ),
        ({"rows": rows((2, row(reason="over 60 words")))}, "Try a higher method.max_words"),
        ({"rows": rows((18, row(reason="empty")), (2, row()))}, None),
        ({"rows": rows((9, row(source="gold")))}, None),
        # Requests.
        ({"failed": 9}, "9 of 100 requests to the teacher failed (9%)"),
        (
            {"failed": 9, "rows": rows((20, row()), (9, row(reason="request failed: too long")))},
            "The first: 'request failed: too long'",
        ),
        ({"failed": 4}, None),
        ({"failed": 3, "requests": 6}, None),
        # Replies.
        ({"rows": MANY}, "12 of 42 replies (29%) held more than a text, or none: label (9), JSON "
         "(9), refusal (3)"),
        ({"rows": rows((36, row()), (4, row(artefacts="label")))}, None),
        ({"rows": rows((9, row()), (9, row(artefacts="label")))}, None),
        ({"rows": rows((30, row(off_label=0.99)))}, "In half of 30 answers the teacher put 99.0%"),
        ({"rows": rows((9, row(off_label=0.99)), (21, row(off_label=0.9)))}, None),
        # Rounds.
        ({"mistakes": (0, 0, 3)}, "2 of 3 rounds were aimed at no mistake"),
        ({"mistakes": (0, 0, 3, 1)}, None),
        ({"mistakes": (0, 0, 0), "rows": rows((4, row(source="gold")))}, None),
        ({"mistakes": (0, 0), "settings": settings("ablation=no_feedback")}, None),
        (
            {"rounds": 0, "stopped_by": "budget", "settings": settings("budget.tokens=5000")},
            "budget of 5,000 tokens ended before the first round",
        ),
        ({"rounds": 1, "stopped_by": "budget"}, None),
    ],
)  # fmt: skip
def test_each_warning_has_its_sign(changes: dict[str, Any], says: str | None) -> None:
    messages = [one for one in found(**changes) if says is None or says in one]
    assert len(messages) == (says is not None), found(**changes)
    for message in messages:
        advice_is_sound(message, changes.get("settings"))


@pytest.mark.parametrize(
    ("target", "predicted", "quiet"),
    [('[[0, 1, "PER"]]', "[]", False), ('[[0, 1, "PER"]]', '[[0, 1, "PER"]]', True),
     ("[]", '[[0, 1, "PER"]]', True)],
)  # fmt: skip
def test_a_student_that_finds_no_entity(target: str, predicted: str, quiet: bool) -> None:
    facts = Facts(
        ENTITIES, settings("task=ner", "data=wikigold"), test=[outcome(target, predicted)]
    )
    messages = [one for one in warnings_of(facts) if "finds none of the 1 entities" in one]
    assert bool(messages) != quiet
    for message in messages:
        advice_is_sound(message, facts.settings)


@pytest.mark.parametrize(
    "method", ["shots", "eda", "llkd", "llm_da", "zerogen", "llmaaa", "static"]
)
def test_advice_follows_the_method(method: str) -> None:
    """Everything that may be wrong at once, in the configuration of other methods."""
    task = ("task=ner", "data=wikigold") if method == "llm_da" else ()
    given = settings(f"method={method}", "teacher=server", "teacher.model=m", *task)
    facts = replace(
        SOUND,
        settings=given,
        rows=(*NONE_LEFT, *MANY[30:], *rows((60, row(off_label=1.0, reason="near duplicate")))),
        test=on_test((20, "music", "food"), (20, "food", "music")),
        teacher=opinions((20, "music", "food"), (20, "food", "music")),
        failed=50,
        stopped_by="plateau",
    )
    messages = warnings_of(facts)
    assert len(messages) >= 5
    for message in messages:
        advice_is_sound(message, given)
        # A run that trains on no shots learns nothing from more of them.
        if message.startswith("The student"):
            assert ("shots=" in message) == (given["training"]["gold"] == "shots")


class Told(NoProgress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


EMPTY = Feedback(1, (outcome("music", "music"),), {})
WRONG = Feedback(1, (outcome("music", "food"),), {})
REJECTED = Growth(2, rows((3, row(reason="under 3 words")), (1, row(source="gold"))))
KEPT = Growth(2, rows((3, row(reason="under 3 words")), (1, row())))
HARDLY = Growth(2, rows((30, row(reason="over 31 tokens")), (1, row())))


@pytest.mark.parametrize(
    ("look", "says"),
    [
        (lambda watch: watch.aimed(EMPTY, 2), "Round 2 is aimed at no mistake"),
        (lambda watch: watch.aimed(EMPTY, 1), None),
        (lambda watch: watch.aimed(WRONG, 2), None),
        (lambda watch: watch.grown(REJECTED), "Round 2: none of 3 texts was accepted"),
        (lambda watch: watch.grown(KEPT), None),
        (
            lambda watch: watch.grown(HARDLY),
            "Round 2: only 1 of 31 texts was accepted. Reasons: over 31 tokens (30); the first: "
            "'over 31 tokens' (of 'play it loud'). Try a method.max_tokens above",
        ),
        (lambda watch: watch.grown(Growth(2, ())), None),
    ],
)
def test_a_round_that_brings_nothing_is_told_once(
    look: Callable[[RoundWatch], None], says: str | None
) -> None:
    told = Told()
    watch = RoundWatch(told, settings())
    for _ in range(3):
        look(watch)
    assert len(told.warnings) == (says is not None)
    for message in told.warnings:
        assert says is not None
        assert says in message
        advice_is_sound(message)


def test_a_round_after_an_empty_one_is_not_told_of_its_mistakes() -> None:
    told = Told()
    watch = RoundWatch(told, settings())
    watch.grown(REJECTED)
    watch.aimed(EMPTY, 3)
    assert len(told.warnings) == 1


def test_a_method_that_aims_at_nothing_is_not_told_of_it() -> None:
    told = Told()
    RoundWatch(told, settings("ablation=no_feedback")).aimed(EMPTY, 2)
    RoundWatch(told, settings("method=llkd_on_demand")).aimed(EMPTY, 2)
    assert told.warnings == []


def test_a_margin_of_zero_is_not_advised_again() -> None:
    told = Told()
    RoundWatch(told, settings("method.mistake_margin=0")).aimed(EMPTY, 2)
    assert "mistake_margin" not in told.warnings[0]
    advice_is_sound(told.warnings[0])
