"""Labellers with a real engine."""

from __future__ import annotations

import pytest
from tests.helpers.classification import prompt_set
from tests.helpers.ner import SHOTS, TYPES

from tutelage.labelling.base import Draft
from tutelage.labelling.calibration import NoCalibration
from tutelage.labelling.ensemble import EnsembleLabeller, MemberTeacher
from tutelage.labelling.ner_candidates import SpanCandidates
from tutelage.labelling.ner_extract import SpanExtractor
from tutelage.labelling.ner_verify import SpanVerifier
from tutelage.labelling.scoring import LabelScorer, Query
from tutelage.labelling.text_labeller import TextLabeller
from tutelage.records import Example, Label
from tutelage.teacher.engines.local import LocalTeacher
from tutelage.teacher.engines.vllm import VllmTeacher
from tutelage.teacher.stack import build_teacher
from tutelage.teacher.wrappers.budget import BudgetedTeacher
from tutelage.teacher.wrappers.routing import NamedTeacher

pytestmark = pytest.mark.vllm


def test_a_small_model_s_markings_are_valid_or_refused_with_the_reason(engine: VllmTeacher):
    prompts = prompt_set("completion_ner")
    verifier = SpanVerifier(engine, TYPES, prompts, SHOTS, NoCalibration(), SpanCandidates())
    extractor = SpanExtractor(engine, TYPES, prompts, SHOTS, verifier, max_tokens=128)
    drafts = [
        Draft("Marie Curie was born in Warsaw and worked in Paris ."),
        Draft("The engine was built by Rolls Royce near Derby ."),
        Draft("it rained for three days and nobody went out"),
    ]
    labelled = extractor.label(drafts)
    assert labelled.asked >= 3
    for index, (draft, opinion) in enumerate(zip(drafts, labelled.opinions, strict=True)):
        assert (opinion is None) is (index in labelled.errors)
        if opinion is None:
            assert labelled.errors[index]
            continue
        assert sum(opinion.distribution.probabilities) == pytest.approx(1, abs=1e-4)
        assert all(0.0 <= probability <= 1.0 for _, probability in opinion.entities)
        ends = [
            0,
            *(end for span, _ in opinion.entities for end in span[:2]),
            len(draft.text.split(" ")),
        ]
        assert ends == sorted(ends), "spans are words of the sentence and share none"


def test_an_ensemble_s_mean_is_that_of_its_members_own_labels(engine: VllmTeacher):
    space = [Label(word, word, f"a text about {word}") for word in ("music", "weather", "food")]
    shots = [
        Example("1", "play the new album", "music"),
        Example("2", "will it rain today", "weather"),
        Example("3", "book a table for two", "food"),
    ]
    drafts = [Draft("turn the volume up"), Draft("is it cold outside"), Draft("a slice of cake")]
    prompts = prompt_set()
    labelled = EnsembleLabeller(engine, space, prompts, shots, NoCalibration()).label(drafts)
    single = TextLabeller(engine, space, prompts, shots, NoCalibration()).label(drafts)
    assert labelled.asked == 3 * single.asked
    for mean, first in zip(labelled.opinions, single.opinions, strict=True):
        assert mean is not None
        assert first is not None
        found = mean.distribution
        assert sum(found.probabilities) == pytest.approx(1, abs=1e-4)
        assert found.disagreement is not None
        assert 0 < found.disagreement < 1
        # The first member is a third of the mean.
        for own, together in zip(
            first.distribution.probabilities, found.probabilities, strict=True
        ):
            assert own / 3 - 1e-2 <= together <= (own + 2) / 3 + 1e-2


def test_two_engines_with_one_model_agree_and_are_billed_alike(
    engine: VllmTeacher, embedded_teacher: str
):
    space = [Label(word, word, f"a text about {word}") for word in ("music", "weather", "food")]
    shots = [Example("1", "play the new album", "music"), Example("2", "is it cold", "weather")]
    drafts = [Draft("turn the volume up"), Draft("will it rain"), Draft("a slice of cake")]
    # Behind another layer the shared engine is not asked to rest.
    alone = BudgetedTeacher(engine)
    stack = build_teacher(alone, others={"local": LocalTeacher(embedded_teacher)})
    prompts = prompt_set()

    def opened(name: str) -> MemberTeacher:
        named = NamedTeacher(name, stack.teacher, stack.others[name].teacher)
        return MemberTeacher(name, named, prompts, NoCalibration())

    labelled = EnsembleLabeller(
        *(stack.teacher, space, prompts, shots, NoCalibration()),
        orders=1,
        teachers={"local": {}},
        open_teacher=opened,
    ).label(drafts)
    for opinion in labelled.opinions:
        assert opinion is not None
        assert opinion.distribution.disagreement == pytest.approx(0, abs=1e-3)
    assert stack.budget.usage.billed == 2 * alone.usage.billed > 0


COLLIDING = ("card payment", "card payment fee", "card arrival", "cash withdrawal", "top up")


def test_labels_that_begin_alike_have_the_local_model_s_probabilities(
    engine: VllmTeacher, embedded_teacher: str
):
    space = [Label(word, word, word) for word in COLLIDING]
    queries = [Query("my new card is still not here"), Query("why did paying cost me a pound")]
    found = []
    for teacher in (engine, LocalTeacher(embedded_teacher)):
        prompts = prompt_set("chat_classification")
        scorer = LabelScorer(teacher, space, prompts, (), NoCalibration())
        assert scorer.verbalizer.words == COLLIDING
        assert len(set(scorer.verbalizer.tokens)) < len(COLLIDING)
        found.append(scorer.score(queries).distributions)
    for one, other in zip(*found, strict=True):
        assert one is not None
        assert other is not None
        assert one.raw == pytest.approx(other.raw, abs=0.03)
        assert one.off_label_mass == pytest.approx(other.off_label_mass, abs=0.03)
