"""One completion a text: what is cleaned off it, and why one is not usable."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.classification import LABELS, WordTeacher, prompt_set

from tutelage.errors import ConfigError
from tutelage.methods.generation.artefacts import clean
from tutelage.methods.generation.mentions import whole_names
from tutelage.methods.generation.specs import GenerationSpec, Shown
from tutelage.methods.generation.writer import Writer, first_sentence
from tutelage.records import Source
from tutelage.tasks.spans import Span
from tutelage.teacher.base import Reply, Sampling

ANIMAL, TOOL, _ = LABELS
BRIEF = GenerationSpec(
    TOOL,
    "hard",
    (Shown("lend me a saw"), Shown("a drill, please")),
    ("p1", "p2"),
    confused_with=ANIMAL,
    analysis="hamsters",
    style="polite",
)


def writer(**limits: int) -> Writer:
    return Writer(prompt_set(), Sampling(temperature=0.8, stop=("\n",)), **limits)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (" lend me a saw", "lend me a saw"),
        ("4. lend me a saw", "lend me a saw"),
        ("(4) lend me a saw", "lend me a saw"),
        ("12: lend me a saw", "lend me a saw"),
        ("- lend me a saw", "lend me a saw"),
        ("• lend  me\ta saw ", "lend me a saw"),
        ('"lend me a saw"', "lend me a saw"),
        ("“lend me ‘a’ saw”", "lend me ‘a’ saw"),
        ("'\"lend me a saw\"'", "lend me a saw"),
        ('"lend" me a saw', '"lend" me a saw'),
        ('3. "- lend me a saw"', "lend me a saw"),
        ("1. 2. lend me a saw", "lend me a saw"),
        ("\n\n  lend me a saw\n5. another", "lend me a saw"),
        ("2 saws and 3 hammers", "2 saws and 3 hammers"),
        ("3.5 metres of rope", "3.5 metres of rope"),
        ("", ""),
        (" \n ", ""),
        ('"', '"'),
    ],
)
def test_clean(raw: str, expected: str) -> None:
    assert clean(raw) == expected


@given(
    st.lists(
        st.sampled_from(["Rome", "US", "4X", "9", "met", ",", "é", "Élan"]), min_size=1, max_size=8
    ),
    st.lists(
        st.tuples(st.integers(0, 7), st.integers(1, 2), st.sampled_from(["PER", "LOC", "O"])),
        max_size=4,
    ),
)
def test_a_name_has_the_capitalised_words_that_follow_it(
    words: list[str], drawn: list[tuple[int, int, str]]
) -> None:
    spans: list[Span] = []
    for start, length, type in sorted(drawn):
        if start + length <= len(words) and (not spans or spans[-1].end <= start):
            spans.append(Span(start, start + length, type))
    whole = whole_names(words, spans)
    for number, (before, after) in enumerate(zip(spans, whole, strict=True)):
        assert (after.start, after.type) == (before.start, before.type)
        limit = spans[number + 1].start if number + 1 < len(spans) else len(words)
        if before.type == "O":
            assert after == before
            continue
        added = words[before.end : after.end]
        assert all(word in ("Rome", "US", "4X", "Élan") for word in added)
        assert after.end == limit or words[after.end] in ("9", "met", ",", "é")


_MARKS = st.sampled_from(
    ["1. ", "2) ", "- ", "* ", '"', "'", "“", "”", "\n", " ", "a", "saw", "`", "(3) "]
)


@given(st.one_of(st.text(max_size=40), st.lists(_MARKS, max_size=12).map("".join)))
def test_clean_is_one_line_and_done_once(raw: str) -> None:
    once = clean(raw)
    assert len(once.splitlines()) <= 1
    assert once == once.strip()
    assert clean(once) == once


@pytest.mark.parametrize(
    ("kind", "template"), [("hard", "hard"), ("easy", "easy"), ("init", "paraphrase")]
)
def test_each_kind_has_its_prompt(kind: Source, template: str) -> None:
    spec = replace(BRIEF, kind=kind)
    assert writer().template(spec) == template
    assert writer().version(spec) == prompt_set().version(template)
    assert "lend me a saw" in writer().prompt(spec)


def test_a_hard_prompt_holds_what_it_is_aimed_by() -> None:
    prompt = writer().prompt(BRIEF)
    for part in (
        "hamsters",
        "requests to borrow a tool",
        "not questions about an animal",
        "polite",
        "lend me a saw",
        "a drill, please",
    ):
        assert part in prompt


def test_requests_differ_by_seed_round_and_draw_alone() -> None:
    first = writer().requests([BRIEF, BRIEF], seed=1, round=2)
    assert first == writer().requests([BRIEF, BRIEF], seed=1, round=2)
    assert [request.id for request in first] == ["0", "1"]
    others = [
        writer().requests([BRIEF], seed, round)[0].seed for seed, round in ((0, 2), (1, 3), (2, 2))
    ]
    assert len({first[0].seed, first[1].seed, *others}) == 5
    assert all(0 <= seed < 2**31 for seed in others)
    assert first[0].sampling == Sampling(temperature=0.8, stop=("\n",))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply("0", text=" a good text"), ""),
        (Reply("0", text="  \n"), "empty"),
        (Reply("0", text="two words"), "under 3 words"),
        (Reply("0", text="one two three four five six"), "over 5 words"),
        (Reply("0", text="cut off before", finish_reason="length"), "cut off at max_tokens"),
        (Reply("0", error="lost"), "request failed: lost"),
        (Reply("0", text="As an AI, I cannot do that"), "no text: a refusal"),
        (Reply("0", text="<think> they want a tool"), "no text: thinking without an answer"),
        (Reply("0", text="lend me this:"), "no text: ends with a colon"),
        (
            Reply("0", text=writer().prompt(BRIEF).splitlines()[2]),
            "no text: prompt without a text",
        ),
    ],
)
def test_every_unusable_text_has_its_reason(reply: Reply, reason: str) -> None:
    (written,) = writer(min_words=3, max_words=5).write(
        WordTeacher(lambda request: reply), [BRIEF], 1, 1
    )
    assert written.reason == reason
    assert written.failed == bool(reply.error)
    assert written.spec is BRIEF


def test_texts_come_in_the_order_of_the_briefs() -> None:
    heard: list[Reply] = []
    specs = [replace(BRIEF, style=str(n)) for n in range(4)]
    written = writer().write(
        WordTeacher(lambda request: f"text number {request.id} here"), specs, 1, 1, heard.append
    )
    assert [one.text for one in written] == [f"text number {n} here" for n in range(4)]
    assert [one.draw for one in written] == [0, 1, 2, 3]
    assert [one.spec for one in written] == specs
    assert len(heard) == 4


@pytest.mark.parametrize(("low", "high"), [(0, 5), (6, 5), (-1, -1)])
def test_limits_that_leave_nothing(low: int, high: int) -> None:
    with pytest.raises(
        ConfigError, match=f"min_words={low} and method.max_words={high} allow no text"
    ):
        writer(min_words=low, max_words=high)


def test_a_name_that_ends_in_a_stop_ends_no_sentence_at_the_beginning() -> None:
    opening = "He met Warner Bros. of Berlin"
    text = f"{opening} in May. She left."
    assert first_sentence(text) == "He met Warner Bros."
    assert first_sentence(text, len(opening)) == f"{opening} in May."


_PIECES = st.sampled_from(
    [
        "St",
        "Rome",
        "ab",
        "abc",
        "é",
        "_",
        "1",
        ".",
        "!",
        "?",
        '"',
        "'",
        ")",
        "]",
        " ",
        "\n",
        "\u2028",
    ]
)


@given(st.lists(_PIECES, max_size=14).map("".join), st.integers(0, 6))
def test_the_first_sentence_ends_where_one_pattern_says(text: str, start: int) -> None:
    found = re.compile(r"\w{3,}[\"')\]]*[.!?][\"')\]]*(?=\s|$)").search(text, start)
    assert first_sentence(text, start) == (text[: found.end()] if found else "")


@pytest.mark.parametrize("part", ["a", "a.", '"', 'a"', ".'", "abc. "])
def test_a_long_word_takes_no_long_time(part: str) -> None:
    began = time.perf_counter()
    first_sentence(part * (200_000 // len(part)) + "x")
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    ("said", "text", "artefacts"),
    [
        (" Food: lend me a saw", "lend me a saw", ("label",)),
        (" lend me a saw (animal)", "lend me a saw", ("label",)),
        ("[INST] lend me a saw [/INST]", "lend me a saw", ("chat template",)),
        (" lend me a saw", "lend me a saw", ()),
    ],
)
def test_artefacts_come_off_a_text(said: str, text: str, artefacts: tuple[str, ...]) -> None:
    (written,) = writer().write(WordTeacher(lambda request: said), [BRIEF], 1, 1, labels=LABELS)
    assert (written.text, written.reason, written.artefacts) == (text, "", artefacts)


def test_what_the_demonstrations_show_is_no_artefact() -> None:
    brief = replace(BRIEF, demonstrations=(Shown("Tool: a drill, please"),))
    (written,) = writer().write(WordTeacher(lambda request: "Tool: lend me a saw"), [brief], 1, 1)
    assert (written.text, written.artefacts) == ("Tool: lend me a saw", ())


@pytest.mark.parametrize(
    ("said", "text", "reason"),
    [
        (" met Bo in Rome.</s> More.", "There Ada met Bo in Rome .", ""),
        (" met Bo in Rome :", "There Ada met Bo in Rome :", "no text: ends with a colon"),
        ("</think> met Bo", "There Ada < / think > met Bo", "no text: thinking before the text"),
    ],
)
def test_artefacts_of_a_continuation(said: str, text: str, reason: str) -> None:
    brief = GenerationSpec(TOOL, "easy", (Shown("one"),), mentions=("Ada",), lead="There")
    prompts = prompt_set("completion_ner")
    subject = Writer(prompts, Sampling(stop=("\n",)))
    (written,) = subject.write(WordTeacher(lambda request: said), [brief], 1, 1)
    assert (written.text, written.reason) == (text, reason)


HOSTILE = st.one_of(
    st.text(max_size=80),
    st.lists(
        st.sampled_from(
            ["<think>", "</think>", '{"text": ', '"a b c"', "[" * 3000, "}", "\\ud83d", "\ud83d",
             "\x00", "\n", "```", "Ada", "Sure! ", ":", "9" * 5000, "NaN", "null", "<|im_end|>"]
        ),
        max_size=6,
    ).map("".join),
)  # fmt: skip
"""Replies that nobody asked for."""


@given(HOSTILE, st.booleans())
def test_any_reply_is_a_text_or_has_a_reason(said: str, continues: bool) -> None:
    names = GenerationSpec(TOOL, "easy", (Shown("one"),), mentions=("Ada",), lead="There")
    brief = names if continues else BRIEF
    subject = Writer(prompt_set("completion_ner" if continues else "completion_classification"),
                     Sampling())  # fmt: skip
    (written,) = subject.write(WordTeacher(lambda request: said), [brief], 1, 1)
    assert written.reason or len(written.text.split()) >= 3
    assert len(written.text.splitlines()) <= 1
