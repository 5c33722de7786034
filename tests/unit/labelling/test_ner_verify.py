"""Verify: span candidates are scored in their sentence, and the certain ones are marked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.helpers.ner import (
    KNOWN,
    KNOWN_CONFIDENCE,
    SHOTS,
    SPACE,
    TYPES,
    WordTeacher,
    knowing,
    marked,
    prompt_set,
    scored_mention,
    spans,
    verifier,
)

from tutelage.errors import ConfigError, TeacherError
from tutelage.labelling.base import Draft, Opinion
from tutelage.labelling.calibration import (
    ContextualCalibration,
    NoCalibration,
    TemperatureCalibration,
)
from tutelage.labelling.ner_verify import NONE, span_verifier
from tutelage.records import Example
from tutelage.tasks.spans import read_spans
from tutelage.teacher.base import Reply, Request, ScoreRequest

ADA = "Ada Lovelace went to Paris"


def opinion_of(draft: Draft, script: Any, **settings: Any) -> Opinion:
    (opinion,) = verifier(script, **settings)[0].label([draft]).opinions
    assert opinion is not None
    return opinion


def scores(by_mention: dict[str, list[float]]) -> Any:
    """Returns a script of log-probabilities over person, place, organization and none."""
    return lambda request: by_mention[scored_mention(request.prompt)[1]]


def failing_on(*mentions: str) -> Any:
    return lambda request: (
        Reply(request.id, error="too long")
        if scored_mention(request.prompt)[1] in mentions
        else knowing()(request)
    )


def test_candidates_that_score_as_a_type_are_entities() -> None:
    opinion = opinion_of(Draft("Ada Lovelace and Babbage went to Paris"), knowing())
    assert opinion.entities == (
        (spans((0, 2, "PER"))[0], pytest.approx(KNOWN_CONFIDENCE)),
        (spans((6, 7, "LOC"))[0], pytest.approx(KNOWN_CONFIDENCE)),
    )
    assert opinion.marked
    assert opinion.mentions == ()


def test_the_prompt_asks_about_one_mention_after_demonstrations_of_each_type_and_of_none() -> None:
    shots = (*SHOTS, marked("Boring Day in Oslo", {"Oslo": "LOC"}))
    (request,) = verifier(knowing(), shots)[0].requests([Draft("see Paris")])
    assert request.prompt.splitlines() == [
        "Text: Yesterday Grace Hopper left the Navy",
        '"Yesterday Grace Hopper" is a name of: none',
        "",
        "Text: Yesterday Grace Hopper left the Navy",
        '"Grace Hopper" is a name of: person',
        "",
        "Text: Yesterday Grace Hopper left the Navy",
        '"Navy" is a name of: organization',
        "",
        "Text: Bern is far from Rome",
        '"Bern" is a name of: place',
        "",
        "Text: see Paris",
        '"Paris" is a name of:',
    ]
    assert (NONE.name, NONE.word) == ("O", "none")


def test_demonstrations_show_a_few_words_and_the_question_its_whole_sentence() -> None:
    shown = {}
    for around in (0, 1, 9):
        (request,) = verifier(knowing(), shown_words=around)[0].requests(
            [Draft("they all see Paris today")]
        )
        shown[around] = [line for line in request.prompt.splitlines() if line.startswith("Text: ")]
    assert shown[1] == [
        "Text: Yesterday Grace Hopper left",
        "Text: Yesterday Grace Hopper left",
        "Text: the Navy",
        "Text: Bern is",
        "Text: they all see Paris today",
    ]
    assert shown[9] == shown[0]
    assert shown[0][0] == "Text: Yesterday Grace Hopper left the Navy"
    with pytest.raises(ConfigError, match=r"labelling.shown_words=-1 must be 1 or more"):
        verifier(knowing(), shown_words=-1)


def test_more_demonstrations_of_each_type_where_the_shots_have_them() -> None:
    shown = {}
    for count in (1, 2):
        (request,) = verifier(knowing(), shown_per_type=count)[0].requests(
            [Draft("they all see Paris today")]
        )
        shown[count] = [
            line.rpartition(": ")[2]
            for line in request.prompt.splitlines()
            if " is a name of: " in line
        ]
    assert sorted(shown[1]) == ["none", "organization", "person", "place"]
    assert sorted(shown[2]) == sorted([*shown[1], "place"]), "only places are there twice"
    with pytest.raises(ConfigError, match=r"labelling.shown_per_type=0 must be 1 or more"):
        verifier(knowing(), shown_per_type=0)


def test_requests_go_sentence_by_sentence_and_share_their_prompt_up_to_the_mention() -> None:
    subject, teacher = verifier(knowing())
    drafts = [Draft("Ada Lovelace met Acme in Paris"), Draft("Rome and Bern")]
    requests = subject.requests(drafts)
    asked = [scored_mention(request.prompt) for request in requests]
    assert [text for text, _ in asked] == sorted(
        (text for text, _ in asked), key=[draft.text for draft in drafts].index
    )
    assert [mention for _, mention in asked] == [
        "Ada Lovelace",
        "Acme",
        "Acme in Paris",
        "Paris",
        "Rome",
        "Rome and Bern",
        "Bern",
    ]
    heads = {request.prompt.rpartition('\n"')[0] for request in requests}
    assert len(heads) == 2
    subject.label(drafts)
    assert teacher.asked == requests


def test_overlaps_are_settled_by_score() -> None:
    whole = {
        "Bank of Paris": [-4.0, -4.0, -0.1, -4.0],
        "Bank": [-4.0, -4.0, -4.0, -0.1],
        "Paris": [-4.0, -1.0, -4.0, -4.0],
    }
    assert [span for span, _ in opinion_of(Draft("Bank of Paris"), scores(whole)).entities] == list(
        spans((0, 3, "ORG"))
    )
    part = {**whole, "Paris": [-9.0, -0.01, -9.0, -9.0]}
    assert [span for span, _ in opinion_of(Draft("Bank of Paris"), scores(part)).entities] == list(
        spans((2, 3, "LOC"))
    )
    tie = {**whole, "Bank": [-4.0, -4.0, -0.1, -4.0], "Paris": [-4.0, -0.1, -4.0, -4.0]}
    assert [span for span, _ in opinion_of(Draft("Bank of Paris"), scores(tie)).entities] == list(
        spans((0, 1, "ORG"), (2, 3, "LOC"))
    )


def test_the_mentions_stay_and_their_type_is_the_selectors_question() -> None:
    draft = Draft("a sloop named big ada left Paris", spans((3, 5, "PER")))
    opinion = opinion_of(draft, knowing())
    assert opinion.distribution.labels == SPACE
    assert opinion.distribution.top == "O"
    assert opinion.distribution.confidence == pytest.approx(KNOWN_CONFIDENCE)
    assert opinion.mentions == draft.mentions
    assert [span for span, _ in opinion.entities] == list(spans((6, 7, "LOC")))
    assert read_spans(opinion.target("PER")) == spans((3, 5, "PER"), (6, 7, "LOC"))
    assert opinion.entity_confidence("PER") == pytest.approx(
        ((1 - KNOWN_CONFIDENCE) / 3, KNOWN_CONFIDENCE), abs=1e-5
    )


def test_what_overlaps_a_mention_is_no_entity_however_certain() -> None:
    opinion = opinion_of(Draft(ADA, spans((0, 1, "PER"))), knowing())
    assert [span for span, _ in opinion.entities] == list(spans((4, 5, "LOC")))
    assert opinion.distribution.top == "PER"


def test_words_that_are_no_name_may_be_part_of_one_and_are_none_themselves() -> None:
    whole = {
        "Bank of Paris": [-4.0, -4.0, -0.1, -4.0],
        "Bank": [-0.1, -4.0, -4.0, -4.0],
        "Paris": [-4.0, -1.0, -4.0, -4.0],
    }
    opinion = opinion_of(Draft("Bank of Paris", spans((0, 1, "O"))), scores(whole))
    assert opinion.distribution.top == "PER"
    for believed in ("O", "PER"):
        assert read_spans(opinion.target(believed)) == spans((0, 3, "ORG"))


def test_several_mentions_are_judged_by_their_mean() -> None:
    script = scores({"Ada": [0.0, -9.0, -9.0, -9.0], "Bob": [-9.0, -9.0, -9.0, 0.0]})
    opinion = opinion_of(
        Draft("Ada , Bob , Ada", spans((0, 1, "PER"), (2, 3, "PER"), (4, 5, "PER"))), script
    )
    assert opinion.distribution.probabilities == pytest.approx((2 / 3, 0, 0, 1 / 3), abs=1e-3)
    assert opinion.distribution.raw == pytest.approx((2 / 3, 0, 0, 1 / 3), abs=1e-3)
    assert sum(opinion.distribution.probabilities) == pytest.approx(1, abs=1e-5)


def test_a_text_without_mentions_is_as_certain_as_its_least_certain_candidate() -> None:
    script = scores({"Ada Lovelace": [-0.1, -4.0, -4.0, -4.0], "Paris": [-4.0, -1.2, -4.0, -1.3]})
    distribution = opinion_of(Draft(ADA), script).distribution
    assert distribution.top == "LOC"
    assert distribution.confidence == pytest.approx(0.5, abs=0.05)


def test_a_text_without_candidates_is_asked_nothing_and_has_no_entities() -> None:
    subject, teacher = verifier(knowing())
    labelled = subject.label([Draft("nothing to see")])
    (opinion,) = labelled.opinions
    assert opinion is not None
    assert (opinion.distribution.top, opinion.distribution.confidence, opinion.target("O")) == (
        "O",
        1.0,
        "[]",
    )
    assert (labelled.asked, labelled.failed, teacher.asked) == (0, 0, [])


@pytest.mark.parametrize(("empty", "warned"), [(16, True), (15, False)])
def test_many_texts_without_a_candidate_are_worth_a_warning(
    empty: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    verifier(knowing())[0].label(
        [Draft(f"nothing here {number}") for number in range(empty)] + [Draft(ADA)] * (20 - empty)
    )
    assert ("16 of 20 texts have no span candidate" in caplog.text) is warned
    assert ("use labelling.candidates=[chunks]" in caplog.text) is warned


def test_a_mention_beyond_what_a_prompt_shows_is_asked_about_in_its_own_surroundings() -> None:
    words = ["Ada Lovelace", *["word"] * 200, "Paris", *["after"] * 200]
    subject, _ = verifier(knowing())
    first, second = (
        scored_mention(request.prompt) for request in subject.requests([Draft(" ".join(words))])
    )
    assert first[1] == "Ada Lovelace"
    assert first[0].startswith("Ada Lovelace word")
    assert second[1] == "Paris"
    assert " word Paris after " in second[0]
    assert len(second[0]) <= 600
    assert "…" not in second[0], "a shown window does not count as cut"
    (opinion,) = subject.label([Draft(" ".join(words))]).opinions
    assert opinion is not None
    assert [span for span, _ in opinion.entities] == list(spans((0, 2, "PER"), (202, 203, "LOC")))


def test_one_lost_candidate_loses_its_text_alone() -> None:
    subject, _ = verifier(failing_on("Paris"))
    labelled = subject.label(
        [Draft("Acme rose"), Draft(ADA), Draft("nothing"), Draft("Ada Lovelace spoke")]
    )
    assert [opinion.target("") if opinion else None for opinion in labelled.opinions] == [
        '[[0, 1, "ORG"]]',
        None,
        "[]",
        '[[0, 2, "PER"]]',
    ]
    assert (labelled.errors, labelled.asked, labelled.failed) == ({1: "too long"}, 4, 1)


def test_all_lost_is_an_error() -> None:
    with pytest.raises(
        TeacherError, match="None of 2 scoring requests was answered; the first says: too long"
    ):
        verifier(failing_on("Ada Lovelace", "Paris"))[0].label([Draft(ADA)])


def test_longer_candidates_on_request() -> None:
    subject, _ = verifier(knowing(), parts=1)
    assert [scored_mention(request.prompt)[1] for request in subject.requests([Draft(ADA)])] == [
        "Ada",
        "Ada Lovelace",
        "Lovelace",
        "Paris",
    ]


def test_what_the_student_proposes_is_asked_about_where_it_is_a_source() -> None:
    draft = Draft("met acme in Paris", proposed=((1, 2),))
    for sources, asked in (
        (["capitals"], ["Paris"]),
        (["capitals", "student"], ["met acme", "acme", "Paris"]),
    ):
        subject, teacher = verifier(knowing({"acme": "ORG"}), sources=sources)
        assert subject.asks_student == ("student" in sources)
        (opinion,) = subject.label([draft]).opinions
        assert [scored_mention(request.prompt)[1] for request in teacher.asked] == asked
        assert opinion is not None
        assert (spans((1, 2, "ORG"))[0] in dict(opinion.entities)) == subject.asks_student


def test_small_letters_in_the_names_of_the_shots_widen_the_search_and_that_is_a_note() -> None:
    names = json.dumps([[1, 2, "PER"], [3, 4, "LOC"]])
    draft = Draft("Ada told old babbage in Rome")
    for text, found in (("when Ada saw Rome", 2), ("when ada saw rome", 11)):
        shots = [Example("shot", text, names)]
        subject = span_verifier(
            WordTeacher(knowing()), TYPES, prompt_set("completion_ner"), shots, NoCalibration()
        )
        assert len(subject.requests([draft])) == found
        assert len(subject.notes) == (found > 2)
        assert all(
            "labelling.candidates=[capitals,chunks,student]" in note for note in subject.notes
        )


def test_the_calibrator_sees_the_candidates_of_all_texts_at_once() -> None:
    seen = []

    class Watching(NoCalibration):
        def transform(self, logprobs: Any, asked: Any = None) -> Any:
            seen.append(logprobs.shape)
            return super().transform(logprobs, asked)

    verifier(knowing(), calibrator=Watching())[0].label(
        [Draft(ADA), Draft("nothing"), Draft("Acme rose")]
    )
    assert seen == [(3, 4)]


def test_dev_labels_are_for_a_calibrator_that_needs_them() -> None:
    dev = [
        marked(ADA, {"Ada Lovelace": "PER", "Paris": "LOC"}),
        marked("see Rome or acme", {"acme": "ORG"}),
        marked("nothing"),
    ]
    subject, teacher = verifier(knowing(), calibrator=TemperatureCalibration())
    assert subject.fit(dev) == 3
    asked = [scored_mention(request.prompt)[1] for request in teacher.asked]
    # Entities are scored too if they are not candidates, like "acme".
    assert asked == ["Ada Lovelace", "Paris", "Rome", "acme"]
    subject, teacher = verifier(knowing())
    assert subject.fit(dev) == 0
    assert teacher.asked == []


def test_content_free_calibration_asks_about_nothing_real() -> None:
    subject, teacher = verifier(knowing(), calibrator=ContextualCalibration())
    assert subject.fit([marked(ADA)]) == 0
    assert [scored_mention(request.prompt) for request in teacher.asked] == [
        (text, text) for text in ("N/A", "[MASK]", "…")
    ]


def test_given_spans_are_scored_and_nothing_else() -> None:
    subject, teacher = verifier(failing_on("Paris"))
    heard: list[Reply] = []
    scored = subject.score(
        [Draft(ADA), Draft(ADA), Draft("nothing")], [[(0, 2), (2, 3)], [(4, 5)], []], heard.append
    )
    assert [scored_mention(request.prompt)[1] for request in teacher.asked] == [
        "Ada Lovelace",
        "went",
        "Paris",
    ]
    assert scored.found[0] is not None
    assert [one.top for one in scored.found[0]] == ["PER", "O"]
    assert scored.found[1:] == (None, ())
    assert (scored.errors, scored.asked, scored.failed, len(heard)) == ({1: "too long"}, 3, 1, 3)


def test_every_request_scores_the_types_and_none() -> None:
    subject, teacher = verifier(knowing())
    choices = teacher.tokenize([" ".join(label.word for label in (*TYPES, NONE))])[0]
    requests: list[Request] = subject.requests([Draft(ADA)])
    assert all(
        isinstance(request, ScoreRequest) and list(request.choices) == choices
        for request in requests
    )
    assert "Ada Lovelace" in KNOWN
