"""What the teacher is shown."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.classification import MIXED, NAMES, SHOTS, TASK, feedback, outcome

from tutelage.methods.evokd.demonstrations import DemonstrationSampler, balanced_sample
from tutelage.records import Example, Feedback


def sampler(
    given_feedback: Feedback = MIXED, seed: int = 0, **changes: Any
) -> DemonstrationSampler:
    settings: dict[str, Any] = {
        "wrong": 4,
        "correct": 4,
        "confident": 0,
        "rng": random.Random(seed),
        **changes,
    }
    return DemonstrationSampler(TASK, given_feedback, SHOTS, **settings)


def test_no_class_fills_the_page() -> None:
    many = [outcome("Animal", "Tool", n) for n in range(20)] + [
        outcome("Food", "Tool", n) for n in range(2)
    ]
    drawn = balanced_sample(TASK, many, 5, random.Random(0))
    assert Counter(one.target for one in drawn) == {"Animal": 3, "Food": 2}


@given(st.lists(st.sampled_from(NAMES), max_size=20), st.integers(0, 12), st.integers(0, 5))
def test_a_balanced_sample_is_a_sample(names: list[str], count: int, seed: int) -> None:
    outcomes = [outcome(name, "Tool", n) for n, name in enumerate(names)]
    drawn = balanced_sample(TASK, outcomes, count, random.Random(seed))
    assert len(drawn) == min(count, len(outcomes))
    assert len({one.id for one in drawn}) == len(drawn)
    assert {one.id for one in drawn} <= {one.id for one in outcomes}


def test_the_analysis_is_shown_wrong_and_right_ones() -> None:
    shown = sampler()
    assert len(shown.wrong) == 4
    assert not any(one.correct for one in shown.wrong)
    assert len(shown.correct) == 4
    assert all(one.correct for one in shown.correct)
    assert {one.target for one in shown.correct} == set(NAMES)


def test_confident_mistakes_stand_beside_the_others() -> None:
    alone = sampler(wrong=2)
    beside = sampler(confident=2, wrong=2)
    assert beside.wrong == alone.wrong, "not instead of them"
    assert alone.confident == []
    others = [one for one in MIXED.confident_wrong if one not in beside.wrong]
    assert beside.confident == others[:2]
    shown = sampler(confident=2, wrong=0)
    shown.wrong = shown.confident
    assert shown.wrong == list(MIXED.confident_wrong[:2])
    assert (
        shown.wrong[0].confidence
        >= shown.wrong[1].confidence
        > min(one.confidence for one in MIXED.wrong)
    )


def test_a_hard_text_is_written_from_mistakes_and_one_shot() -> None:
    picked, confused, mistakes = sampler().for_hard("Tool", 3)
    missed = [one for one in picked if getattr(one, "correct", None) is False]
    assert len(picked) == 3
    assert len(missed) == 2
    assert all(one in mistakes for one in missed)
    assert confused == "Animal"
    assert len([one for one in picked if one in SHOTS]) == 1


def test_without_mistakes_what_it_was_least_sure_of() -> None:
    outcomes = tuple(outcome("Food", "Food", n, 0.5 + 0.05 * n) for n in range(8))
    picked, confused, _ = sampler(Feedback(1, outcomes, TASK.scores(outcomes))).for_hard("Food", 2)
    assert confused == ""
    (uncertain,) = [one for one in picked if one not in SHOTS]
    assert uncertain.confidence <= 0.65  # type: ignore[union-attr]


def test_an_easy_text_is_written_from_what_it_knows() -> None:
    for seed in range(5):
        picked = sampler(seed=seed).for_easy("Animal", 3)
        assert all(getattr(one, "correct", True) for one in picked)
        assert len([one for one in picked if one in SHOTS]) == 1


def test_without_correct_ones_on_show_none_comes_back_as_a_demonstration() -> None:
    shown = sampler(correct=0)
    assert shown.correct == []
    for name in NAMES:
        picked = [*shown.for_hard(name, 4)[0], *shown.for_easy(name, 4)]
        assert not any(getattr(one, "correct", False) for one in picked)


def test_shots_fill_up_and_are_never_shown_twice() -> None:
    nothing = feedback({}, {})
    for shown in (
        sampler(nothing).for_easy("Tool", 3),
        sampler(nothing).for_hard("Tool", 3)[0],
        sampler().from_shots("Tool", 3),
    ):
        assert sorted(one.id for one in shown) == sorted(
            shot.id for shot in SHOTS if shot.label == "Tool"
        )
    assert sampler().from_shots("Tool", 1)[0] in SHOTS


@given(st.sampled_from(NAMES), st.integers(1, 6), st.integers(0, 20))
def test_demonstrations_are_different_texts_of_the_class(name: str, count: int, seed: int) -> None:
    shown = sampler(seed=seed)
    for picked in (
        shown.for_hard(name, count)[0],
        shown.for_easy(name, count),
        shown.from_shots(name, count),
    ):
        assert 1 <= len(picked) <= count
        assert len({one.text for one in picked}) == len(picked)
        assert all(getattr(one, "target", getattr(one, "label", "")) == name for one in picked)


def test_prompts_take_turns_in_what_they_show() -> None:
    outcomes = [outcome("Tool", "Animal", n) for n in range(3)]
    outcomes += [outcome("Tool", "Tool", n) for n in range(10, 13)]
    known = [Example(f"k{n}", f"real text {n}", "Tool") for n in range(3)]
    known.append(Example("other", "a real animal", "Animal"))
    given = Feedback(1, tuple(outcomes), TASK.scores(outcomes))
    shown = sampler(given, takes_turns=True, known=known)
    # Each mistake once, before any of them a second time.
    mistakes = [shown.for_hard("Tool", 1).mistakes[0].id for _ in range(6)]
    assert len(set(mistakes[:3])) == len(set(mistakes[3:])) == 3
    # Real texts of the class fill what outcomes leave; one place is the shot's.
    first, second = ({one.id for one in shown.for_easy("Tool", 6)} for _ in range(2))
    assert len(first) == len(second) == 6
    assert first & {"k0", "k1", "k2"}
    assert "other" not in first | second
    # All three of the known texts are shown within two prompts, since two fit into each.
    assert {"k0", "k1", "k2"} <= first | second
