"""LLMaAA: each text is labelled beside the gold examples that are most like it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.classification import (
    NAMES,
    SHOTS,
    WordTeacher,
    context,
    obliging,
    prompt_set,
    scored_text,
)
from tests.helpers.methods import llmaaa
from tests.helpers.ner import TYPES, knowing, marked, scored_mention
from tests.helpers.pool import POOL, Student, class_of, method_arguments, pool_context
from tests.helpers.pool_views import ArrayView

from tutelage.errors import ConfigError
from tutelage.labelling.base import Draft
from tutelage.labelling.calibration import NoCalibration, TemperatureCalibration
from tutelage.labelling.neighbours import Neighbours
from tutelage.labelling.ner_candidates import SpanCandidates
from tutelage.labelling.ner_extract import SpanExtractor
from tutelage.labelling.ner_verify import SpanVerifier
from tutelage.methods.pool.llmaaa import LLMaAA
from tutelage.records import Example, Feedback
from tutelage.tasks.ner import NerTask

NOTHING = Feedback(0, (), {})


def set_up(
    folder: Path, teacher: Any = None, student: Any = None, **changes: Any
) -> tuple[LLMaAA, Any]:
    method = llmaaa(
        **method_arguments(
            **{
                "name": "llmaaa",
                "first": 4,
                "rounds": 2,
                "n_texts": 3,
                "demonstrations": 2,
                **changes,
            }
        )
    )
    method_context = pool_context(folder, teacher, student=student)
    method.setup(method_context)
    return method, method_context


def shown(prompt: str) -> list[str]:
    """The texts of a scoring prompt, that which is asked about last."""
    return [
        line.removeprefix("Text: ") for line in prompt.splitlines() if line.startswith("Text: ")
    ]


def test_each_text_is_shown_the_shots_most_like_it(tmp_path: Path) -> None:
    teacher = WordTeacher(obliging)
    method, method_context = set_up(tmp_path, teacher)
    growth = method.first_rows()
    assert len(growth.rows) == len(teacher.asked) == 4
    for request, row in zip(teacher.asked, growth.rows, strict=True):
        *demonstrations, text = shown(request.prompt)
        assert text == row.text
        # The embeddings of a class lie together, and each class has two shots.
        assert set(demonstrations) == {shot.text for shot in SHOTS if shot.label == class_of(text)}
    method_context.pool.append(growth.rows)
    assert len(method.next_rows(NOTHING, 1).rows) == 3
    assert {
        class_of(shown(request.prompt)[0]) == class_of(scored_text(request.prompt))
        for request in teacher.asked
    } == {True}


def test_the_most_similar_stands_last() -> None:
    examples = [Example(str(number), f"text {number}", "A") for number in range(4)]
    given = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [1.0, 1.0]])
    near = Neighbours(examples, given, ["here", "there"], np.array([[2.0, 0.0], [0.0, 0.3]]), 3)
    assert [one.id for one in near("here")] == ["3", "1", "0"]
    assert [one.id for one in near("there")] == ["1", "3", "2"]


def test_equally_similar_examples_and_broken_numbers_are_in_order() -> None:
    examples = [Example(str(number), f"text {number}", "A") for number in range(3)]
    same = Neighbours(examples, np.ones((3, 2)), ["here"], np.ones((1, 2)), 2)
    assert [one.id for one in same("here")] == ["1", "0"]
    wide = np.random.default_rng(3).normal(size=384)
    for copies in (3, 14):
        alike = [Example(str(number), f"text {number}", "A") for number in range(copies)]
        for seed in range(40):
            near = Neighbours(
                alike,
                np.tile(wide, (copies, 1)),
                ["here"],
                np.random.default_rng(seed).normal(size=(1, 384)),
                2,
            )
            assert [one.id for one in near("here")] == ["1", "0"]
    broken = Neighbours(
        examples,
        np.array([[np.nan, 1.0], [0.0, 0.0], [1.0, 0.2]]),
        ["here"],
        np.array([[0.0, 1.0]]),
        1,
    )
    assert [one.id for one in broken("here")] == ["2"]
    assert [one.id for one in broken("a text that was not seen")] == ["0"]
    assert len(Neighbours(examples, np.ones((3, 2)), ["here"], np.ones((1, 2)), 9)("here")) == 3
    assert Neighbours([], np.ones((0, 2)), ["here"], np.ones((1, 2)), 9)("here") == ()


def test_dev_is_seen_where_the_calibrator_is_fitted_on_it(tmp_path: Path) -> None:
    student = Student()
    method, method_context = set_up(tmp_path, student=student, calibrator=TemperatureCalibration)
    method.first_rows()
    assert student.views[0] == (
        [one.text for one in method_context.dev],
        [shot.text for shot in method._shots],
    )
    assert method.calibration_labels == len(method_context.dev)


def test_a_resumed_method_goes_on_alike(tmp_path: Path) -> None:
    method, method_context = set_up(tmp_path)
    method_context.pool.append(method.first_rows().rows)
    state = json.loads(json.dumps(method.state_dict()))
    resumed = WordTeacher(obliging)
    undisturbed = method.next_rows(NOTHING, 1)
    again, _ = set_up(tmp_path, resumed)
    again.load_state_dict(state)
    assert again.next_rows(NOTHING, 1).rows == undisturbed.rows
    assert {
        class_of(shown(request.prompt)[0]) == class_of(scored_text(request.prompt))
        for request in resumed.asked
    } == {True}


def test_a_plan_looks_at_no_student(tmp_path: Path) -> None:
    method = llmaaa(
        **method_arguments(name="llmaaa", first=4, rounds=2, n_texts=3, demonstrations=2)
    )
    method.setup(context(tmp_path, WordTeacher(obliging), unlabelled=POOL))
    sample = method.sample_requests(3)["labelling"]
    assert [len(shown(request.prompt)) for request in sample] == [3, 3, 3]
    assert method.requests_a_round() == {"labelling": 4}


@pytest.mark.parametrize(
    ("changes", "context_changes", "message"),
    [
        ({"demonstrations": 0}, {}, "method.demonstrations=0 must be 1 or more"),
        (
            {},
            {"shots": ()},
            "method=llmaaa picks its demonstrations from the shots, and there are none "
            "\\(shots=0, or training.gold=none",
        ),
    ],
)
def test_what_cannot_be(
    tmp_path: Path, changes: dict[str, Any], context_changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        llmaaa(**method_arguments(**{"name": "llmaaa", "demonstrations": 2, **changes})).setup(
            pool_context(tmp_path, **context_changes)
        )


GOLD = (
    marked("Bern is far from Rome", {"Bern": "LOC", "Rome": "LOC"}),
    marked("then Grace Hopper left", {"Grace Hopper": "PER"}),
    marked("the Navy paid", {"Navy": "ORG"}),
)
SENTENCES = (Example("s1", "Ada was in Paris"), Example("s2", "Acme paid Ada"))
NEAR = {
    "Ada was in Paris": 0,
    "Acme paid Ada": 2,
    **{one.text: index for index, one in enumerate(GOLD)},
}


def sentences_seen(texts: Any, learnt: Any) -> ArrayView:
    """Each sentence is at the place of one of the gold ones."""
    rows, beside = (np.eye(3)[[NEAR[text] for text in some]] for some in (texts, learnt))
    return ArrayView(np.full((len(texts), 2), 0.5), rows, beside)


@pytest.mark.parametrize("way", ["verify", "extract"])
def test_ner_takes_its_demonstrations_from_the_nearest_sentences(tmp_path: Path, way: str) -> None:
    prompts = prompt_set("completion_ner")

    def labeller(task: Any, teacher: Any, demonstrations: Any, nearest: Any = None) -> Any:
        verifier = SpanVerifier(
            teacher,
            TYPES,
            prompts,
            demonstrations,
            NoCalibration(),
            SpanCandidates(0),
            nearest=nearest,
        )
        return (
            verifier
            if way == "verify"
            else SpanExtractor(teacher, TYPES, prompts, demonstrations, verifier, nearest=nearest)
        )

    said = {"Ada was in Paris": [{"quote": "Paris", "type": "place", "occurrence": 1}]}
    teacher = WordTeacher(knowing(replies=said))
    method = llmaaa(
        **{**method_arguments(name="llmaaa", demonstrations=1), "new_labeller": labeller}
    )
    method.setup(
        pool_context(
            tmp_path,
            teacher,
            student=sentences_seen,
            task=NerTask(TYPES),
            shots=GOLD,
            dev=(),
            held_out=(),
            unlabelled=SENTENCES,
        )
    )
    growth = method.first_rows()
    assert all(row.accepted for row in growth.rows)
    scored = {scored_mention(request.prompt)[0]: request.prompt for request in teacher.scorings()}
    assert {text for text, prompt in scored.items() if f"Text: {GOLD[0].text}\n" in prompt} == {
        "Ada was in Paris"
    }
    if way == "verify":
        assert {text for text, prompt in scored.items() if f"Text: {GOLD[2].text}\n" in prompt} == {
            "Acme paid Ada"
        }
        assert not any(GOLD[1].text in prompt for prompt in scored.values())
    else:
        extractions = [request.prompt for request in teacher.generations()]
        assert [GOLD[0].text in prompt for prompt in extractions] == [True, False]
        assert [GOLD[2].text in prompt for prompt in extractions] == [False, True]


def test_a_verifier_shows_the_most_similar_sentence_last(tmp_path: Path) -> None:
    verifier = SpanVerifier(
        WordTeacher(obliging),
        TYPES,
        prompt_set("completion_ner"),
        (),
        NoCalibration(),
        SpanCandidates(0),
        nearest=lambda _: GOLD,
    )
    prompt = verifier.requests([Draft("Ada left")])[0].prompt
    indices = [prompt.index(f'"{name}" is a name of') for name in ("Bern", "Grace Hopper", "Navy")]
    assert indices == sorted(indices)
    assert set(NAMES).isdisjoint(prompt.split())
