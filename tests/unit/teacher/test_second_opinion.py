"""The verifier's second opinion of extracted entities.

It gives their confidence, and disagreement between the two opinions is visible to the selector.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.helpers.ner import (
    ADA,
    ADA_REPLY,
    KNOWN_CONFIDENCE,
    SPACE,
    entity,
    extractor,
    knowing,
    marked,
    opinion_of,
    scored_mention,
    spans,
)

from tutelage.errors import TeacherError
from tutelage.labelling.base import Draft, Opinion
from tutelage.labelling.calibration import NoCalibration, TemperatureCalibration
from tutelage.selectors.acceptance import LabelAgreement
from tutelage.tasks.spans import read_spans
from tutelage.teacher.base import Reply, Request, ScoreRequest


def test_a_kept_entity_stays_as_it_is_with_the_verifiers_confidence() -> None:
    draft = Draft(ADA, spans((0, 2, "PER")), kept=spans((4, 5, "ORG")))
    opinion = opinion_of(draft, ADA_REPLY)
    assert read_spans(opinion.target("PER")) == spans((0, 2, "PER"), (4, 5, "ORG"))
    assert opinion.entity_confidence("PER") == pytest.approx(
        [KNOWN_CONFIDENCE, (1 - KNOWN_CONFIDENCE) / 3], abs=1e-5
    )


def test_extracted_entities_have_the_verifiers_confidence_in_their_type() -> None:
    opinion = opinion_of(Draft(ADA), ADA_REPLY, known={"Ada Lovelace": "PER", "Paris": "ORG"})
    assert [span for span, _ in opinion.entities] == list(spans((0, 2, "PER"), (4, 5, "LOC")))
    assert [sure for _, sure in opinion.entities] == pytest.approx(
        [KNOWN_CONFIDENCE, (1 - KNOWN_CONFIDENCE) / 3], abs=1e-5
    )
    assert opinion.marked
    assert opinion.distribution.labels == SPACE
    assert opinion.distribution.top == "ORG"  # The least certain entity decides.


def test_a_name_that_was_passed_over_makes_its_text_less_certain() -> None:
    opinion = opinion_of(Draft(ADA), [])
    assert (opinion.target("O"), opinion.distribution.top) == ("[]", "O")
    assert opinion.distribution.confidence == pytest.approx(
        0.51 + 0.49 * (1 - KNOWN_CONFIDENCE) / 3, abs=1e-5
    )
    agreed = opinion_of(Draft(ADA), [], known={}).distribution
    assert (agreed.top, agreed.confidence) == (
        "O",
        pytest.approx(0.51 + 0.49 * KNOWN_CONFIDENCE, abs=1e-5),
    )


def test_what_overlaps_an_extracted_entity_is_not_asked_about() -> None:
    subject, teacher = extractor(
        knowing(replies={"Bank of Paris": [entity("Bank of Paris", "organization")]})
    )
    subject.label([Draft("Bank of Paris")])
    assert [scored_mention(request.prompt)[1] for request in teacher.scorings()] == [
        "Bank of Paris"
    ]


@pytest.mark.parametrize(
    ("said", "known", "kept"),
    [
        (["Ada Lovelace", "Ada"], {"Ada Lovelace": "PER", "Ada": "LOC"}, [(0, 2)]),
        (["Ada", "Ada Lovelace"], {"Ada Lovelace": "LOC", "Ada": "PER"}, [(0, 1)]),
        # A third one stays if it overlaps only the losing entity.
        (
            ["Ada Lovelace went", "Lovelace went to", "to Paris"],
            {"Ada Lovelace went": "PER", "to Paris": "PER"},
            [(0, 3), (3, 5)],
        ),
    ],
)
def test_of_extracted_entities_that_overlap_the_most_certain_stays(
    said: list[str], known: dict[str, str], kept: list[Any]
) -> None:
    opinion = opinion_of(Draft(ADA), [entity(quote, "person") for quote in said], known)
    assert read_spans(opinion.target("O")) == spans(*((*index, "PER") for index in kept))
    assert [sure for _, sure in opinion.entities] == pytest.approx(
        [KNOWN_CONFIDENCE] * len(kept), abs=1e-5
    )


def test_a_name_under_an_entity_that_did_not_stay_makes_its_text_less_certain() -> None:
    """No remaining entity covers it, so it counts as missing from the reply."""
    reply = [entity("Ada Lovelace", "person"), entity(ADA, "person")]
    opinion = opinion_of(Draft(ADA), reply)
    assert read_spans(opinion.target("O")) == spans((0, 2, "PER"))
    assert opinion.distribution.top == "O"
    assert opinion.distribution.confidence == pytest.approx(
        0.51 + 0.49 * (1 - KNOWN_CONFIDENCE) / 3, abs=1e-5
    )
    # If the remaining entity covers the losing one, no further span is scored.
    whole = opinion_of(Draft(ADA), reply, known={ADA: "PER", "Ada Lovelace": "LOC"})
    assert (read_spans(whole.target("O")), whole.distribution.confidence) == (
        spans((0, 5, "PER")),
        pytest.approx(KNOWN_CONFIDENCE, abs=1e-5),
    )


def test_a_name_under_an_entity_that_overlaps_a_kept_one_makes_its_text_less_certain() -> None:
    draft = Draft(ADA, kept=spans((0, 2, "PER")))
    opinion = opinion_of(draft, [entity(ADA, "person")])
    assert read_spans(opinion.target("O")) == spans((0, 2, "PER"))
    assert opinion.distribution.confidence == pytest.approx(
        0.51 + 0.49 * (1 - KNOWN_CONFIDENCE) / 3, abs=1e-5
    )


def test_a_place_with_two_types_has_the_one_that_the_verifier_gives_it() -> None:
    opinion = opinion_of(Draft("Paris rose"), [entity("Paris", "person"), entity("Paris", "place")])
    assert read_spans(opinion.target("O")) == spans((0, 1, "LOC"))


def test_what_overlaps_the_mention_does_not_take_its_place() -> None:
    """Only the exact words of the mention count, whatever the reply marks around them."""
    target, accepted, opinion = judged(
        [entity("Paris", "place"), entity("saw Paris", "place"), entity("Ada Lovelace", "person")]
    )
    assert (target, accepted) == ("LOC", True)
    assert read_spans(opinion.target(target)) == spans((2, 3, "LOC"), (4, 6, "PER"))


def test_a_lost_second_opinion_rejects_its_text() -> None:
    def script(request: Request) -> Any:
        if isinstance(request, ScoreRequest) and scored_mention(request.prompt)[1] == "Acme":
            return Reply(request.id, error="lost")
        return knowing(replies={ADA: ADA_REPLY, "Acme rose": [entity("Acme", "organization")]})(
            request
        )

    labelled = extractor(script)[0].label([Draft("Rome fell"), Draft("Acme rose"), Draft(ADA)])
    assert [opinion is None for opinion in labelled.opinions] == [False, True, False]
    assert (labelled.errors, labelled.asked, labelled.failed) == ({1: "lost"}, 3 + 4, 1)


def test_no_second_opinion_at_all_is_an_error() -> None:
    def script(request: Request) -> Any:
        return (
            Reply(request.id, error="lost")
            if isinstance(request, ScoreRequest)
            else json.dumps(ADA_REPLY)
        )

    with pytest.raises(
        TeacherError, match="None of 2 scoring requests was answered; the first says: lost"
    ):
        extractor(script)[0].label([Draft(ADA)])


PARIS = Draft("she saw Paris with Ada Lovelace", spans((2, 3, "LOC")))


def judged(
    reply: list[Any], known: dict[str, str] | None = None, **settings: Any
) -> tuple[str, bool, Opinion]:
    opinion = opinion_of(PARIS, reply, known)
    verdict = LabelAgreement(**settings).judge("LOC", opinion.distribution)
    return verdict.target, verdict.accepted, opinion


def test_both_opinions_agree_on_the_mention() -> None:
    target, accepted, opinion = judged([entity("Ada Lovelace", "person"), entity("Paris", "place")])
    assert (target, accepted) == ("LOC", True)
    assert opinion.distribution.confidence == pytest.approx(KNOWN_CONFIDENCE)  # The verifier's own.
    assert [span for span, _ in opinion.entities] == list(spans((4, 6, "PER")))
    assert read_spans(opinion.target(target)) == spans((2, 3, "LOC"), (4, 6, "PER"))


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ([entity("Ada Lovelace", "person")], "O"),
        ([], "O"),
        ([entity("Paris", "organization")], "ORG"),
        ([entity("saw Paris", "place")], "O"),
        ([entity("Paris with Ada Lovelace", "organization")], "O"),
    ],
)
@pytest.mark.parametrize("known", [{"Paris": "LOC"}, {"Paris": "ORG"}, {}])
def test_a_mention_that_was_not_extracted_as_asked_is_rejected(
    reply: list[Any], said: str, known: dict[str, str]
) -> None:
    _, accepted, opinion = judged(reply, known)
    second = known.get("Paris", "O")
    assert not accepted
    assert opinion.distribution.top == said
    assert opinion.distribution.confidence == pytest.approx(
        0.51 + 0.49 * (KNOWN_CONFIDENCE if second == said else (1 - KNOWN_CONFIDENCE) / 3), abs=1e-5
    )
    assert sum(opinion.distribution.probabilities) == pytest.approx(1, abs=1e-5)
    assert opinion.distribution.raw[SPACE.index(second)] == pytest.approx(
        KNOWN_CONFIDENCE, abs=1e-5
    )
    assert all(span.end <= 2 or span.start >= 3 for span, _ in opinion.entities)


def test_not_even_a_certain_verifier_outvotes_the_extraction() -> None:
    def script(request: Request) -> Any:
        return [-999.0, 0.0, -999.0, -999.0] if isinstance(request, ScoreRequest) else "[]"

    (opinion,) = extractor(script)[0].label([PARIS]).opinions
    assert opinion is not None
    assert opinion.distribution.probabilities == (0.0, 0.49, 0.0, 0.51)


def test_a_verifier_of_another_opinion_is_seen_too() -> None:
    target, accepted, opinion = judged([entity("Paris", "place")], known={"Paris": "ORG"})
    assert (target, accepted) == ("ORG", False)
    assert opinion.distribution.confidence == pytest.approx(KNOWN_CONFIDENCE)


def test_a_rescue_from_the_extraction_needs_the_verifier_too() -> None:
    assert judged([entity("Paris", "organization")], {"Paris": "ORG"}, rescue_confidence=0.9)[
        :2
    ] == ("ORG", True)
    assert (
        judged([entity("Paris", "organization")], {"Paris": "LOC"}, rescue_confidence=0.9)[1]
        is False
    )


def test_without_agreement_an_unfound_mention_is_no_entity() -> None:
    target, accepted, opinion = judged(
        [entity("Ada Lovelace", "person")], {"Ada Lovelace": "PER"}, agreement=False
    )
    assert (target, accepted) == ("O", True)
    assert read_spans(opinion.target(target)) == spans((4, 6, "PER"))


def test_each_place_of_the_mention_is_judged_by_itself() -> None:
    draft = Draft("Paris , Paris", spans((0, 1, "LOC"), (2, 3, "LOC")))
    once = opinion_of(draft, [entity("Paris", "place")]).distribution
    assert once.probability("LOC") == pytest.approx(
        (KNOWN_CONFIDENCE + 0.49 * KNOWN_CONFIDENCE) / 2, abs=1e-5
    )
    assert opinion_of(
        draft, [entity("Paris", "place"), entity("Paris", "place", 2)]
    ).distribution.probability("LOC") == pytest.approx(KNOWN_CONFIDENCE)


def test_the_calibrator_is_the_verifiers_and_sees_one_batch() -> None:
    seen = []

    class Watching(NoCalibration):
        def transform(self, logprobs: Any, asked: Any = None) -> Any:
            seen.append(logprobs.shape)
            return super().transform(logprobs, asked)

    calibrator = Watching()
    subject, _ = extractor(knowing(replies={ADA: ADA_REPLY, "Rome": "?"}), calibrator)
    assert subject.calibrator is calibrator
    subject.label([Draft(ADA), Draft("Rome"), PARIS])
    assert seen == [(4, 4)]


def test_fitting_is_the_verifiers() -> None:
    subject, teacher = extractor(knowing(), TemperatureCalibration())
    assert subject.fit([marked(ADA, {"Paris": "LOC"}), marked("nothing")]) == 2
    assert [scored_mention(request.prompt)[1] for request in teacher.scorings()] == [
        "Ada Lovelace",
        "Paris",
    ]
