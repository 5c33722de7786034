"""Suspects among gold labels: who must agree, and how surely."""

from __future__ import annotations

from dataclasses import replace

from tests.helpers.classification import NAMES, outcome
from tests.helpers.classification import TASK as TOPICS
from tests.helpers.ner import TYPES

from tutelage.audit.gold import audit_gold
from tutelage.records import Outcome
from tutelage.tasks.ner import NerTask
from tutelage.tasks.opinions import TeacherOpinion

TAGS = NerTask(TYPES)


def opinion(one: Outcome, predicted: str, confidence: float, error: str = "") -> TeacherOpinion:
    rest = (1 - confidence) / (len(NAMES) - 1)
    shares = tuple(confidence if name == predicted else rest for name in NAMES)
    return TeacherOpinion(one.id, one.text, one.target, predicted, shares, (), error)


def test_student_and_teacher_must_be_sure_of_the_same_other_label() -> None:
    first, second, third = NAMES[:3]
    agreed = outcome(first, second, 1, 0.95)
    surer = outcome(first, second, 2, 0.99)
    others = [outcome(first, second, number, 0.95) for number in (3, 4, 5, 6)]
    unsure = outcome(first, second, 7, 0.8)
    right = outcome(first, first, 8, 0.99)
    outcomes = [agreed, surer, *others, unsure, right]
    opinions = {one.id: opinion(one, second, 0.97) for one in (agreed, surer, unsure)}
    opinions[others[0].id] = opinion(others[0], third, 0.97)
    opinions[others[1].id] = opinion(others[1], second, 0.85)
    opinions[others[2].id] = opinion(others[2], second, 0.97, error="no reply")
    opinions[right.id] = opinion(right, second, 0.97)
    suspects, split = audit_gold(TOPICS, "test", outcomes, opinions, 0.9)
    assert [(one.id, one.probability) for one in suspects] == [(surer.id, 0.97), (agreed.id, 0.95)]
    assert suspects[0].why == (
        "the student (0.99) and the teacher (0.97) agree against the gold label"
    )
    assert (suspects[0].split, suspects[0].label, suspects[0].suggested) == ("test", first, second)
    assert (split.texts, split.suspects, split.by) == (8, 2, ("student", "teacher"))


def test_without_a_teacher_the_student_judges_alone() -> None:
    wrong = outcome(NAMES[0], NAMES[1], 1, 0.95)
    suspects, split = audit_gold(TOPICS, "dev", [wrong], {}, 0.9)
    assert suspects[0].why == "the student (0.95) contradicts the gold label"
    assert split.by == ("student",)
    assert audit_gold(TOPICS, "dev", [wrong], {}, 0.96)[0] == []


def test_of_entities_the_least_certain_one_counts_and_no_entity_is_no_opinion() -> None:
    two, none = '[[0,1,"PER"],[2,3,"LOC"]]', "[]"
    one = Outcome("a", "amber met dune", none, two, (0.97,), "test", 0)
    said = TeacherOpinion("a", one.text, none, two, (0.99, 0.5), (), "")
    assert audit_gold(TAGS, "test", [one], {"a": said}, 0.9)[0] == []
    sure = replace(said, probabilities=(0.99, 0.95))
    (suspect,), _ = audit_gold(TAGS, "test", [one], {"a": sure}, 0.9)
    assert suspect.probability == 0.95
    empty = Outcome("a", "amber met dune", two, none, (0.99,), "test", 0)
    silent = TeacherOpinion("a", one.text, two, none, (), (), "")
    assert audit_gold(TAGS, "test", [empty], {"a": silent}, 0.9)[0] == []
