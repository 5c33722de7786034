"""Ensembles of prompts: their mean, their disagreement, and the members themselves."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from tests.helpers.classification import (
    LABELS,
    NAMES,
    SHOTS,
    WordTeacher,
    obliging,
    prompt_set,
    scored_text,
)

from tutelage.errors import ConfigError
from tutelage.labelling.base import Draft
from tutelage.labelling.calibration import BatchCalibration, NoCalibration
from tutelage.labelling.ensemble import EnsembleLabeller, MemberTeacher
from tutelage.labelling.text_labeller import TextLabeller
from tutelage.records import Example
from tutelage.teacher.base import Reply, Request

PROMPTS = prompt_set()
DRAFTS = [Draft(f"a text {number}") for number in range(4)]


def by_order(request: Request) -> list[float]:
    """Log-probabilities that depend on every line of the prompt, as a small teacher's do."""
    marks = [sum(map(ord, line)) * (at + 1) for at, line in enumerate(str(request.prompt).split())]
    numbers = [1 + (sum(marks) * (label + 3)) % 7 for label in range(len(LABELS))]
    return [math.log(number / (1 + sum(numbers))) for number in numbers]


def ensemble(
    script: Any = by_order,
    calibrator: Any = None,
    shots: Sequence[Example] = SHOTS,
    **changes: Any,
) -> tuple[EnsembleLabeller, WordTeacher]:
    teacher = WordTeacher(script)
    labeller = EnsembleLabeller(
        teacher, LABELS, PROMPTS, shots, calibrator or NoCalibration(), **changes
    )
    return labeller, teacher


def entropy(distribution: Sequence[float]) -> float:
    return -sum(p * math.log(p) for p in distribution if p)


def test_its_distribution_is_the_members_mean_and_says_how_far_they_are_apart() -> None:
    labeller, teacher = ensemble(orders=3)
    labelled = labeller.label(DRAFTS)
    assert (labelled.asked, labelled.failed) == (12, 0)
    for number, opinion in enumerate(labelled.opinions):
        assert opinion is not None
        members = []
        for request in teacher.scorings()[number :: len(DRAFTS)]:
            values = [math.exp(value) for value in by_order(request)]
            members.append([value / sum(values) for value in values])
        assert len(members) == 3
        mean = [sum(own) / 3 for own in zip(*members, strict=True)]
        found = opinion.distribution
        assert found.probabilities == pytest.approx(mean, abs=2e-6)
        apart = (entropy(mean) - sum(map(entropy, members)) / 3) / math.log(len(LABELS))
        assert found.disagreement == pytest.approx(apart, abs=2e-6)
        assert apart > 0.001


def test_members_that_agree_have_no_disagreement() -> None:
    labeller, _ = ensemble(obliging)
    (opinion,) = labeller.label([Draft(f"{NAMES[0].lower()} x")]).opinions
    assert opinion is not None
    assert (opinion.distribution.top, opinion.distribution.disagreement) == (NAMES[0], 0.0)


def test_the_first_member_asks_like_a_single_labeller_and_the_others_in_other_orders() -> None:
    labeller, teacher = ensemble(orders=4)
    labeller.label(DRAFTS[:1])
    single = WordTeacher(by_order)
    TextLabeller(single, LABELS, PROMPTS, SHOTS, NoCalibration()).label(DRAFTS[:1])
    prompts = [str(request.prompt) for request in teacher.scorings()]
    assert prompts[0] == str(single.scorings()[0].prompt)
    assert len(set(prompts)) == 4
    assert len({tuple(sorted(prompt.splitlines())) for prompt in prompts}) == 1


def test_two_shots_have_two_orders() -> None:
    labeller, _ = ensemble(orders=5, shots=SHOTS[:2])
    assert len(labeller.requests(DRAFTS)) == 2 * len(DRAFTS)


def test_a_member_without_shots_shows_none() -> None:
    labeller, teacher = ensemble(orders=1, without_shots=True)
    labeller.label(DRAFTS[:1])
    with_shots, without = (str(request.prompt) for request in teacher.scorings())
    assert SHOTS[0].text in with_shots
    assert SHOTS[0].text not in without


def test_demonstrations_of_each_text_are_shown_in_several_orders() -> None:
    labeller, teacher = ensemble(nearest=lambda text: SHOTS[:4])
    labeller.label(DRAFTS[:1])
    assert len({str(request.prompt) for request in teacher.scorings()}) == 3


def test_a_text_that_a_member_gave_no_opinion_of_has_none() -> None:
    asked = []

    def failing(request: Request) -> Any:
        asked.append(request)
        # The second text of the second member.
        return Reply(request.id, error="too long") if len(asked) == 4 else by_order(request)

    labeller, _ = ensemble(failing, orders=2)
    labelled = labeller.label(DRAFTS[:2])
    assert [opinion is None for opinion in labelled.opinions] == [False, True]
    assert (labelled.errors, labelled.asked, labelled.failed) == ({1: "too long"}, 4, 1)


def test_each_member_is_calibrated_on_its_own_and_resumes_with_its_own_state() -> None:
    whole, teacher = ensemble(calibrator=BatchCalibration())
    whole.label(DRAFTS)
    resumed, _ = ensemble(calibrator=BatchCalibration())
    state = json.loads(json.dumps(whole.calibrator.state_dict()))
    assert len({json.dumps(own) for own in state["members"]}) == 3
    resumed.calibrator.load_state_dict(state)
    assert resumed.label(DRAFTS) == whole.label(DRAFTS)
    assert (whole.calibrator.name, whole.calibrator.needs) == ("batch", "")
    assert scored_text(str(teacher.scorings()[0].prompt)) == DRAFTS[0].text


def test_it_tells_how_many_prompts_it_takes() -> None:
    labeller, _ = ensemble(orders=2)
    assert labeller.notes[0].startswith("Each text is labelled by 2 prompts")
    assert not labeller.asks_in_messages


def test_each_teacher_has_its_own_prompts_calibrator_and_members() -> None:
    second, own = WordTeacher(lambda request: [-1.0, -2.0, -3.0]), prompt_set()

    def opened(name: str) -> MemberTeacher:
        return MemberTeacher(name, second, own, BatchCalibration())

    labeller, first = ensemble(orders=2, teachers={"second": {}}, open_teacher=opened)
    labelled = labeller.label(DRAFTS)
    assert (len(first.scorings()), len(second.scorings())) == (8, 8)
    assert (labelled.asked, labelled.failed) == (16, 0)
    # By batch calibration, what is the same for every text says nothing: a third for each label.
    alone = ensemble(orders=2)[0].label(DRAFTS)
    for both, one in zip(labelled.opinions, alone.opinions, strict=True):
        assert both is not None
        assert one is not None
        expected = [p / 2 + 1 / 6 for p in one.distribution.probabilities]
        assert both.distribution.probabilities == pytest.approx(expected, abs=3e-6)
    assert labeller.calibrator.name == "none and batch"
    assert labeller.notes[0].startswith("Each text is labelled by 4 prompts of 2 teachers")


def test_the_requests_of_all_members_can_be_sent_as_one_batch() -> None:
    labeller, _ = ensemble(
        orders=2,
        without_shots=True,
        teachers={"second": {}},
        open_teacher=lambda name: MemberTeacher(
            name, WordTeacher(by_order), PROMPTS, NoCalibration()
        ),
    )
    requests = labeller.requests(DRAFTS)
    assert len({request.id for request in requests}) == len(requests) == 6 * len(DRAFTS)
    assert [request.teacher for request in requests] == [""] * 12 + ["second"] * 12


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"orders": 0}, "labelling.orders=0 must be 1 or more"),
        ({"max_demonstrations": 0}, "labelling.max_demonstrations=0 must be 1 or more"),
        ({"orders": 1}, "labelling.orders=1 with 6 labelled shots gives 1. Give"),
        ({"shots": ()}, "labelling.orders=3 with 0 labelled shots gives 0. Give"),
    ],
)
def test_an_ensemble_has_two_members_at_least(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        ensemble(**changes)
