"""Boosted rules: SAMME against a slow reference, and the votes of what the teacher wrote."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tests.helpers.classification import (
    DEV,
    LABELS,
    NAMES,
    SHOTS,
    WordTeacher,
    make_text,
    prompt_set,
    scored_text,
    shipped,
)

from tutelage.errors import ConfigError, TeacherError
from tutelage.labelling.base import Draft
from tutelage.labelling.boosted import BoostedLabeller, samme, voted
from tutelage.labelling.calibration import BatchCalibration, NoCalibration
from tutelage.records import Example, LabelDistribution
from tutelage.teacher.base import GenerateRequest, Reply, Request

PROMPTS = prompt_set()
DRAFTS = [Draft(make_text(name, 9000 + n)) for name in NAMES for n in range(3)]


def answered(request: Request) -> str | list[float]:
    """Writes a rule that names a class, and by a rule labels most texts of that class alone."""
    if isinstance(request, GenerateRequest):
        return f" {NAMES[request.seed % 3]} goes by its {request.seed % 1000}.\n"
    rule = str(request.prompt).split("Rule: ")[1].splitlines()[0]
    text = scored_text(str(request.prompt))
    known = rule.split()[0].lower()
    right = text.split()[0] if text.split()[0] == known else ""
    rng = random.Random(f"{rule} {text}")
    chosen = right or rng.choice(NAMES).lower()
    return [-0.1 if label.name.lower() == chosen else -3.0 for label in LABELS]


def boosted(
    script: Any = answered,
    shots: Sequence[Example] = SHOTS,
    calibrator: Any = None,
    **changes: Any,
) -> tuple[BoostedLabeller, WordTeacher]:
    teacher = WordTeacher(script)
    return BoostedLabeller(
        teacher, LABELS, PROMPTS, shots, calibrator or NoCalibration(), **changes
    ), teacher


def slow_samme(
    outcomes: Sequence[Sequence[bool]], classes: int
) -> tuple[list[float | None], list[float]]:
    """The votes of learners and the last weights, from who has which example wrong."""
    count = len(outcomes[0])
    weights = [1 / count] * count
    votes: list[float | None] = []
    for wrong in outcomes:
        error = sum(weight for weight, is_wrong in zip(weights, wrong, strict=True) if is_wrong)
        if error >= 1 - 1 / classes - 1e-12:
            votes.append(None)
            continue
        error = max(error, 1 / (2 * count))
        vote = math.log((1 - error) / error) + math.log(classes - 1)
        votes.append(vote)
        weights = [
            weight * math.exp(vote) if is_wrong else weight
            for weight, is_wrong in zip(weights, wrong, strict=True)
        ]
        weights = [weight / sum(weights) for weight in weights]
    return votes, weights


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_votes_and_weights_are_those_of_samme(classes: int) -> None:
    rng = random.Random(classes)
    # A perfect learner and one that only guesses are among them.
    outcomes = [[rng.random() < share for _ in range(9)] for share in (0.3, 0.2, 0.4, 0.0, 1.0)]
    expected, last = slow_samme(outcomes, classes)
    weights = np.full(9, 1 / 9)
    for wrong, vote in zip(outcomes, expected, strict=True):
        found = samme(weights, np.array(wrong), classes)
        if found is None:
            assert vote is None
            continue
        assert found[0] == pytest.approx(vote)
        weights = found[1]
    assert weights == pytest.approx(last)
    assert None in expected


def test_votes_are_those_of_scikit_learn() -> None:
    from sklearn.ensemble import AdaBoostClassifier
    from sklearn.tree import DecisionTreeClassifier

    rng = np.random.default_rng(3)
    features, targets = rng.normal(size=(60, 2)), rng.integers(0, 3, 60)
    stump = DecisionTreeClassifier(max_depth=2, random_state=0)
    model = AdaBoostClassifier(stump, n_estimators=4, random_state=0).fit(features, targets)
    weights = np.full(60, 1 / 60)
    for tree, vote in zip(model.estimators_, model.estimator_weights_, strict=True):
        found = samme(weights, tree.predict(features) != targets, 3)
        assert found is not None
        assert found[0] == pytest.approx(vote)
        weights = found[1]


def test_a_label_is_the_weighted_vote_of_rules_that_were_tried_on_the_shots() -> None:
    labeller, teacher = boosted(learners=4)
    labeller.fit()
    asked = len(teacher.asked)
    rules = [str(one.prompt) for one in teacher.asked if isinstance(one, GenerateRequest)]
    assert len(rules) == 4
    # Half of the six shots are in each prompt, one of each class.
    assert all(sum(shot.text in prompt for shot in SHOTS) == 3 for prompt in rules)
    assert all(sum(text.split()[0] == name.lower() for text in _texts(prompt)) == 1
               for prompt in rules for name in NAMES)  # fmt: skip

    # From the rules and the teacher alone.
    wrong, tried = [], teacher.scorings()
    for start in range(0, len(tried), len(SHOTS)):
        own = zip(tried[start : start + len(SHOTS)], SHOTS, strict=True)
        wrong.append([_best(answered(request)) != shot.label for request, shot in own])
    votes, _ = slow_samme(wrong, 3)
    voting = [vote for vote in votes if vote is not None]
    assert len(voting) >= 2

    labelled = labeller.label(DRAFTS)
    later = teacher.scorings()[asked - 4 :]
    assert labelled.asked == len(later) == len(voting) * len(DRAFTS)
    split = 0
    for number, opinion in enumerate(labelled.opinions):
        assert opinion is not None
        shares = dict.fromkeys(NAMES, 0.0)
        for vote, request in zip(voting, later[number :: len(DRAFTS)], strict=True):
            shares[_best(answered(request))] += vote / sum(voting)
        assert opinion.distribution.probabilities == pytest.approx(tuple(shares.values()), abs=2e-6)
        assert opinion.distribution.top == max(shares, key=shares.__getitem__)
        split += max(shares.values()) < 1
    assert split, "the rules never disagreed, so the votes were not tested"


def _texts(prompt: str) -> list[str]:
    return [
        line.removeprefix("Text: ") for line in prompt.splitlines() if line.startswith("Text: ")
    ]


def _best(logprobs: Any) -> str:
    return NAMES[max(range(len(NAMES)), key=lambda at: logprobs[at])]


def test_the_run_s_seed_draws_the_examples_of_a_rule() -> None:
    drawn = [
        [str(request.prompt) for request in boosted(seed=seed)[0].preparation()["rules"]]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len({*drawn[0]}) > 1, "and each round draws its own"


def test_examples_that_rules_have_wrong_are_shown_more_often() -> None:
    hard = SHOTS[0].text

    def script(request: Request) -> str | list[float]:
        if isinstance(request, GenerateRequest):
            return f" rule {request.seed}\n"
        text = scored_text(str(request.prompt))
        right = text.split()[0] if text != hard else "tool"
        return [-0.1 if label.name.lower() == right else -3.0 for label in LABELS]

    labeller, teacher = boosted(script, learners=30)
    labeller.fit()
    rules = [str(one.prompt) for one in teacher.asked if isinstance(one, GenerateRequest)]
    assert sum(hard in prompt for prompt in rules[1:]) >= 25
    assert 5 <= sum(SHOTS[2].text in prompt for prompt in rules) <= 25


def test_it_resumes_with_its_rules_votes_and_calibrators() -> None:
    whole, teacher = boosted(calibrator=BatchCalibration())
    whole.fit()
    whole.label(DRAFTS)
    resumed, other = boosted(calibrator=BatchCalibration())
    resumed.calibrator.load_state_dict(json.loads(json.dumps(whole.calibrator.state_dict())))
    assert resumed.label(DRAFTS) == whole.label(DRAFTS)
    assert not [one for one in other.asked if isinstance(one, GenerateRequest)]
    assert whole.calibrator.name == "batch"
    assert teacher.asked


def test_dev_is_learnt_from_only_where_it_is_allowed_and_then_counted() -> None:
    labeller, teacher = boosted(learners=2)
    assert labeller.fit(DEV) == 0
    assert not [one for one in teacher.asked if DEV[0].text in str(one.prompt)]
    labeller, teacher = boosted(learners=2, with_dev=True, shots=())
    assert labeller.fit(DEV) == len(DEV)
    assert [one for one in teacher.asked if DEV[0].text in str(one.prompt)]


def test_a_rule_that_failed_costs_its_round_and_no_more() -> None:
    def script(request: Request) -> Any:
        if request.id == "rule-1":
            return Reply(request.id, error="overloaded")
        return answered(request)

    labeller, teacher = boosted(script, learners=3)
    labeller.fit()
    assert len(teacher.scorings()) == 2 * len(SHOTS)


@pytest.mark.parametrize(
    ("reply", "why"), [({"error": "overloaded"}, "overloaded"), ({"text": " "}, "was empty")]
)
def test_without_a_single_rule_the_reason_is_named(reply: dict[str, str], why: str) -> None:
    def script(request: Request) -> Any:
        return Reply(request.id, **reply) if request.id.startswith("rule") else answered(request)

    labeller, teacher = boosted(script, learners=3)
    with pytest.raises(
        TeacherError, match=rf"None of 3 requests for a rule .* brought one: .*{why}"
    ):
        labeller.fit()
    assert not teacher.scorings()


def test_its_requests_are_known_in_number_before_it_has_rules() -> None:
    labeller, teacher = boosted(learners=3)
    before = labeller.preparation()
    planned = labeller.requests(DRAFTS)
    assert not teacher.asked
    assert {kind: len(own) for kind, own in before.items()} == {"rules": 3, "boosting": 18}
    assert len({request.id for request in planned}) == 3 * len(DRAFTS)
    labeller.fit()
    assert len(teacher.asked) == 21
    assert len(labeller.requests(DRAFTS)) == len(DRAFTS) * len(
        labeller.calibrator.state_dict()["rules"]
    )


def test_a_vote_has_the_members_outside_mass_and_disagreement() -> None:
    def one(*p: float) -> LabelDistribution:
        return LabelDistribution(NAMES, p, 0.4, p[::-1])

    found = voted([one(0.6, 0.4, 0.0), one(0.1, 0.9, 0.0)], [3.0, 1.0])
    assert found.probabilities == (0.75, 0.25, 0.0)
    assert found.raw == (0.0, 0.25, 0.75)
    assert found.off_label_mass == pytest.approx(0.4)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(3)
    assert found.disagreement == pytest.approx(entropy, abs=1e-6)
    assert voted([one(0.6, 0.4, 0.0)], [2.0]).disagreement == 0.0


def test_rules_no_better_than_guessing_stop_the_run() -> None:
    def wrong(request: Request) -> str | list[float]:
        if isinstance(request, GenerateRequest):
            return " a rule\n"
        first = scored_text(str(request.prompt)).split()[0]
        return [-4.0 if label.name.lower() == first else -1.0 for label in LABELS]

    labeller, _ = boosted(wrong)
    with pytest.raises(TeacherError, match="None of 5 rules labels the 6 labelled examples better"):
        labeller.fit()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"learners": 1}, "labelling.learners=1 must be 2 or more"),
        ({"rule_examples": 0}, "labelling.rule_examples=0 must be 1 or more"),
        ({"shots": ()}, "there are no shots. Give shots=4, or labelling.with_dev=true"),
        ({"nearest": lambda text: SHOTS}, "shows rules and no demonstrations"),
    ],
)
def test_what_it_cannot_do_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        boosted(**changes)


def test_a_template_that_does_not_show_the_rule_is_refused() -> None:
    templates = {
        **shipped("prompt/templates", "classification")["completion"],
        "score": "Text: {{ text | line }}\n{{ cue }}:",
    }
    prompts = prompt_set(completion=templates)
    with pytest.raises(ConfigError, match=r"prompt.completion.score does not show .*`rule`"):
        BoostedLabeller(WordTeacher(answered), LABELS, prompts, SHOTS, NoCalibration())
