"""Extract: a structured reply becomes spans, or rejects its text."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.helpers.classification import prompt_set
from tests.helpers.ner import (
    ADA,
    ADA_REPLY,
    TYPES,
    entity,
    extractor,
    knowing,
    marked,
    opinion_of,
    spans,
    verifier,
)

from tutelage.errors import ConfigError, TeacherError
from tutelage.labelling.base import Draft, Labelled
from tutelage.labelling.ner_extract import SpanExtractor
from tutelage.records import Example, Label
from tutelage.tasks.spans import Span, read_spans, write_spans
from tutelage.teacher.base import GenerateRequest, Reply
from tutelage.teacher.structured import validate

PROMPTS = prompt_set("completion_ner")


def label(replies: dict[str, Any], *drafts: Draft) -> Labelled:
    return extractor(knowing(None, replies))[0].label(drafts)


def read(text: str, *entities: dict[str, Any]) -> tuple[Any, ...]:
    """Returns the spans of a reply."""
    return read_spans(opinion_of(Draft(text), list(entities)).target(""))


def refused(text: str, reply: Any) -> str:
    """Returns the reason for a rejected text."""
    labelled = label({text: reply}, Draft(text))
    assert labelled.opinions == (None,)
    assert (labelled.asked, labelled.failed) == (1, 1)
    return labelled.errors[0]


def test_the_request_is_greedy_structured_and_shows_the_shots_as_replies() -> None:
    subject, teacher = extractor(knowing(replies={ADA: ADA_REPLY}))
    subject.label([Draft(ADA)])
    request = teacher.asked[0]
    assert isinstance(request, GenerateRequest)
    assert (request.sampling.temperature, request.sampling.max_tokens, request.sampling.stop) == (
        0.0,
        512,
        (),
    )
    shown = [
        json.loads(line.removeprefix("Names: "))
        for line in request.prompt.splitlines()
        if line.startswith("Names: ")
    ]
    assert shown == [
        [entity("Grace Hopper", "person"), entity("Navy", "organization")],
        [entity("Bern", "place"), entity("Rome", "place")],
    ]
    assert request.prompt.endswith(f"Text: {ADA}\nNames:")
    assert "person (people); place (places); organization (organizations)\n" in request.prompt
    for reply in (*shown, ADA_REPLY, []):
        assert validate(json.dumps(reply), request.json_schema) == reply
    items = json.loads(request.json_schema)["items"]
    assert items["properties"]["type"] == {"enum": ["person", "place", "organization"]}
    assert (items["required"], items["additionalProperties"]) == (
        ["quote", "type", "occurrence"],
        False,
    )


def test_a_demonstration_names_the_occurrence_that_was_marked() -> None:
    shot = marked("Rome saw Rome", {"Rome": "LOC"})
    later = type(shot)(shot.id, shot.text, '[[2, 3, "LOC"]]')
    _, teacher = (subject := extractor(knowing(), shots=(later,)))
    subject[0].label([Draft("nothing")])
    assert f"Names: {json.dumps([entity('Rome', 'place', 2)])}\n" in teacher.asked[0].prompt


def test_of_many_shots_the_first_of_each_type_are_shown_and_others_up_to_the_number() -> None:
    shots = [
        marked("Ada rose", {"Ada": "PER"}),
        marked("Ada fell", {"Ada": "PER"}),
        marked("nothing at all"),
        marked("Paris rose", {"Paris": "LOC"}),
        marked("Ada saw Paris", {"Ada": "PER", "Paris": "LOC"}),
        marked("Acme rose", {"Acme": "ORG"}),
    ]

    def shown(count: int) -> list[str]:
        second, teacher = verifier(knowing())
        SpanExtractor(teacher, TYPES, PROMPTS, shots, second, shown_sentences=count).label(
            [Draft("a draft")]
        )
        return [
            line.removeprefix("Text: ")
            for line in teacher.asked[0].prompt.splitlines()
            if line.startswith("Text: ")
        ][:-1]

    assert shown(1) == ["Ada rose", "Paris rose", "Acme rose"]
    assert shown(4) == ["Ada rose", "Ada fell", "Paris rose", "Acme rose"]
    assert shown(6) == shown(60) == [shot.text for shot in shots]
    with pytest.raises(ConfigError, match=r"labelling\.shown_sentences=0 must be 1 or more"):
        shown(0)


def test_an_empty_list_is_no_entity() -> None:
    opinion = opinion_of(Draft("nothing to see"), [])
    assert (opinion.target("O"), opinion.entities) == ("[]", ())
    assert (opinion.distribution.top, opinion.distribution.confidence) == ("O", 1.0)


@pytest.mark.parametrize(
    ("text", "quote", "occurrence", "expected"),
    [
        ("Paris and Paris", "Paris", 2, (2, 3)),
        ("the U.S. army", "U.S.", 1, (1, 2)),
        ("the U.S . army", "U.S.", 1, (1, 3)),
        ("Smith 's house", "Smith's", 1, (0, 2)),
        ("O'Neil spoke", "O 'Neil", 1, (0, 1)),
        ("New York rose", " New  York\n", 1, (0, 2)),
        ("Yahoo ! rose", "Yahoo!", 1, (0, 2)),
        ("Yorkshire and York", "York", 1, (2, 3)),
        ("Zürich rose", "Zürich", 1, (0, 1)),
    ],
)
def test_a_quote_is_found_as_whole_words(
    text: str, quote: str, occurrence: int, expected: tuple[int, int]
) -> None:
    assert read(text, entity(quote, "place", occurrence)) == spans((*expected, "LOC"))


def test_entities_come_in_the_order_of_the_text() -> None:
    assert read(ADA, *ADA_REPLY[::-1]) == spans((0, 2, "PER"), (4, 5, "LOC"))


def test_an_occurrence_may_be_a_whole_float() -> None:
    assert read(ADA, {**entity("Paris", "place"), "occurrence": 1.0}) == spans((4, 5, "LOC"))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ([entity("Rome", "place")], "the quote 'Rome' is not in the sentence"),
        ([entity("Pari", "place")], "the quote 'Pari' is not in the sentence"),
        ([entity("paris", "place")], "the quote 'paris' is not in the sentence"),
        ([entity(" ", "place")], "the quote '' is not in the sentence"),
        (
            [entity("Paris", "place", 2)],
            "the quote 'Paris' is 1 times in the sentence, there is no occurrence 2",
        ),
        ([entity("Paris", "place", 0)], "there is no occurrence 0"),
        ([entity("Paris", "place", -1)], "there is no occurrence -1"),
        ([entity("Paris", "planet")], "does not fit the schema at $[0].type: 'planet'"),
        ([entity("Paris", "LOC")], "does not fit the schema at $[0].type: 'LOC'"),
        ([{"quote": "Paris", "type": "place"}], "'occurrence' is a required property"),
        ([{**entity("Paris", "place"), "note": "x"}], "does not fit the schema"),
        ([entity("Paris", "place", True)], "does not fit the schema"),
        ('{"quote": "Paris"}', "does not fit the schema at $"),
        ("Paris is a place", "not JSON"),
        ('[{"quote": "Par', "not JSON"),
        ("", "not JSON"),
        (
            Reply(
                "extract.0", finish_reason="length", completion_tokens=512, error="raise max_tokens"
            ),
            "the reply was cut off at 512 tokens (labelling.reply_tokens)",
        ),
        (
            Reply("extract.0", finish_reason="length", completion_tokens=90),
            "cut off at 90 tokens "
            "(the engine's context ends there: fewer labelling.shown_sentences)",
        ),
        (Reply("extract.0", error="too long"), "too long"),
    ],
)
def test_a_reply_that_does_not_fit_rejects_its_text(reply: Any, reason: str) -> None:
    assert reason in refused(ADA, reply)


def test_an_entity_said_twice_counts_once_where_it_stands_once() -> None:
    paris = entity("Paris", "place")
    assert read(ADA, *ADA_REPLY, paris, paris) == spans((0, 2, "PER"), (4, 5, "LOC"))
    for again in (paris, entity("Paris", "person")):
        reason = refused("Paris is Paris", [paris, again])
        assert reason == "the quote 'Paris' is 2 times in the sentence, and occurrence 1 came again"


def test_a_long_quote_is_cut_in_the_reason() -> None:
    assert len(refused(ADA, [entity("long " * 500, "place")])) < 150


answers: dict[str, Any] = {ADA: ""}


@cache
def one_extractor() -> SpanExtractor:
    """Returns a shared extractor that looks its replies up in ``answers``.

    Building one takes longer than reading a small reply.
    """
    return extractor(knowing(None, answers))[0]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=6,
    )
)
def test_no_json_breaks_it(value: Any) -> None:
    answers[ADA] = json.dumps(value)
    labelled = one_extractor().label([Draft(ADA)])
    assert (labelled.opinions[0] is None) == bool(labelled.errors) == (value != [])


@given(
    st.sampled_from(["Ada", "Ada Ada", "Ada 's", "New York", "U.S .", "1\u00a0000"]),
    st.lists(
        st.sampled_from(["", "in", "Ada", "York", "Adams", "'s", ", and"]), min_size=3, max_size=4
    ),
    st.data(),
)
def test_a_repeated_mention_is_quoted_with_its_occurrence_and_found_again(
    mention: str, between: list[str], data: st.DataObject
) -> None:
    text = f" {mention} ".join(between).strip().replace("  ", " ")
    words, length = text.split(" "), len(mention.split(" "))
    indices = [
        (start, start + length)
        for start in range(len(words))
        if words[start : start + length] == mention.split(" ")
    ]
    assert len(indices) >= 2
    start, end = data.draw(st.sampled_from(indices))
    # Add another name, which may share words with the mention, or repeat it.
    others = [(one, one + 1) for one in range(len(words)) if not start <= one < end]
    spans = [
        (start, end, "PER"),
        *((*index, "LOC") for index in (data.draw(st.sampled_from(others)),) if others),
    ]
    target = write_spans(Span(*span) for span in spans)
    subject = one_extractor()
    shown = " ".join(text.split())  # Prompts have no other white space.
    answers[shown] = subject._reply(Example("shot", text, target))
    for said in json.loads(answers[shown]):
        assert said["occurrence"] >= 1
        assert "".join(said["quote"].split()) in "".join(text.split())
    (opinion,) = subject.label([Draft(text)]).opinions
    assert opinion is not None
    assert opinion.target("") == target


def test_a_sentence_that_the_prompt_cut_is_rejected() -> None:
    text = "Paris " + "word " * 2000 + "Rome"
    assert "longer than prompt.text_tokens or the teacher's context" in refused(text, [])


def test_a_rejected_text_leaves_the_others_alone() -> None:
    drafts = [Draft(ADA), Draft("Rome fell"), Draft("nothing"), Draft("Acme rose")]
    replies = {
        ADA: ADA_REPLY,
        "Rome fell": [entity("Roma", "place")],
        "Acme rose": [entity("Acme", "organization")],
    }
    labelled = label(replies, *drafts)
    assert [opinion.target("") if opinion else None for opinion in labelled.opinions] == [
        '[[0, 2, "PER"], [4, 5, "LOC"]]', None, "[]", '[[0, 1, "ORG"]]',
    ]  # fmt: skip
    assert labelled.errors == {1: "the quote 'Roma' is not in the sentence"}
    assert (labelled.asked, labelled.failed) == (4 + 3, 1)


def test_where_no_reply_can_be_used_the_teacher_is_not_asked_on() -> None:
    subject, teacher = extractor(lambda request: "a place")
    with pytest.raises(
        TeacherError,
        match=r"None of 8 replies was usable as a marking; the first: .*not JSON.*"
        r"labelling.shown_sentences.* use labelling=verify",
    ):
        subject.label([Draft(f"Paris {number}") for number in range(8)])
    assert len(teacher.asked) == 8
    assert subject.label([Draft("Paris")] * 7).opinions == (None,) * 7


def test_the_requests_that_can_be_foreseen() -> None:
    subject, teacher = extractor(knowing(replies={ADA: ADA_REPLY}))
    drafts = [Draft(ADA), Draft("nothing")]
    requests = subject.requests(drafts)
    assert len({request.id for request in requests}) == len(requests)
    subject.label(drafts)
    assert teacher.asked == requests


def test_every_reply_is_heard() -> None:
    heard: list[Reply] = []
    extractor(knowing(replies={ADA: ADA_REPLY}))[0].label([Draft(ADA)], heard.append)
    assert len(heard) == 3


def test_types_with_one_word_are_refused() -> None:
    second, teacher = verifier(knowing())
    twins = (Label("GPE", "place", "states"), Label("LOC", "place", "rivers"))
    with pytest.raises(
        ConfigError, match=r"'GPE' and 'LOC' have the same word 'place'.* data\.labels"
    ):
        SpanExtractor(teacher, twins, PROMPTS, (), second)


def test_a_prompt_set_without_the_template_is_refused_at_once() -> None:
    second, teacher = verifier(knowing())
    with pytest.raises(
        ConfigError,
        match=r"there is no prompt.completion.extract.*prompt/templates@prompt=ner",
    ):
        SpanExtractor(teacher, TYPES, prompt_set(), (), second)


@pytest.mark.parametrize(
    "around",
    [
        "```json\n{}\n```",
        "<think>who is it?</think>\n{}",
        "Sure! Here are the names:\n{}",
        "{}<|im_end|>",
        "{}\n\nText: another one\nNames: []",
    ],
)
def test_marks_around_the_json_are_ignored(around: str) -> None:
    reply = around.format(json.dumps(ADA_REPLY))
    (found,) = label({ADA: reply}, Draft(ADA)).opinions
    (plain,) = label({ADA: ADA_REPLY}, Draft(ADA)).opinions
    assert found == plain


_QUOTES = st.one_of(
    st.sampled_from(["Ada", "Ada Lovelace", "", " ", "\ud83d", "Ada" * 999]), st.text()
)
_WILD: st.SearchStrategy[Any] = st.one_of(
    st.text(),
    st.lists(
        st.fixed_dictionaries({
            "quote": _QUOTES,
            "type": st.sampled_from(["person", "place", "nothing", "", 5]),
            "occurrence": st.one_of(st.integers(), st.floats(), st.sampled_from([10**4000, True])),
        })
    ).map(json.dumps),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    ).map(json.dumps),
    st.sampled_from(
        ["[" * 100_000, '{"a":' * 100_000, f"[{'9' * 5000}]", "[1e999]", "[NaN]", "[{}]",
         '[{"quote": "Ada", "quote": "Bo", "type": "person", "occurrence": 1}]',
         '[{"quote": ' + "[" * 3000]
    ),
)  # fmt: skip


@settings(max_examples=50)
@given(_WILD)
def test_any_reply_is_a_marking_or_rejects_its_text(reply: str) -> None:
    labelled = label({ADA: reply}, Draft(ADA))
    assert (labelled.opinions == (None,)) == bool(labelled.errors)
    assert all(reason and len(reason) < 1000 for reason in labelled.errors.values())


def test_extractions_that_were_foreseen_are_not_rendered_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject, teacher = extractor(knowing(replies={ADA: ADA_REPLY}))
    rendered: list[object] = []
    render = type(PROMPTS).render

    def counted(self: Any, kind: str, /, **variables: Any) -> Any:
        rendered.append(kind)
        return render(self, kind, **variables)

    monkeypatch.setattr(type(PROMPTS), "render", counted)
    foreseen = subject.requests([Draft(ADA)])
    once = list(rendered)
    subject.label([Draft(ADA)])
    assert rendered.count("extract") == once.count("extract") == 1
    assert teacher.asked == foreseen
    subject.label([Draft(ADA)])
    assert rendered.count("extract") == 2
