"""Artefacts come off where the rest is surely the text; sound texts stay as they are."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tutelage
from tutelage.methods.generation.artefacts import (
    Surroundings,
    clean,
    frame_of,
    label_keys,
    strip_artefacts,
    strip_continuation,
    usual_in,
)
from tutelage.records import Label

SAMPLES = Path(tutelage.__file__).parent / "data" / "samples"
LABELS = label_keys(
    [
        Label("GetWeather", "weather", "requests for the weather"),
        Label("music", "music", "requests to play music"),
    ]
)
PROMPT = "Examples of requests to play music, each one different:\n1. play the blues\n2."
AROUND = Surroundings(LABELS, PROMPT, frame_of(PROMPT, ["play the blues"]))

ORDINARY = (
    "5 star hotel near me",
    "2001: A Space Odyssey",
    "3.5 metres of rope",
    "24: the best series ever made",
    "Star Wars: The Empire Strikes Back",
    "music by Ada: play it",
    '"Yesterday" by the Beatles, please',
    "play 'Yesterday' and then \"Help!\"",
    "(500) Days of Summer is on",
    "[laughs] no, not that one",
    "#music is what I want to hear",
    "who sings *that* song?",
    "what is 2 ** 3 and 3 * 4",
    "f**k this s**t",
    "note the date: the shop closes at 5",
    "here is the deal: you pay, I drive",
    "Here's the thing: I like it",
    "sure, the film has flaws: it is long",
    "I'm sorry, but I can't find my card",
    "I can't help laughing at it",
    "I cannot provide my passport yet",
    "As an AI researcher I read a lot",
    "the sentence was five years in prison",
    "This is a classic example of bad acting",
    "another example of Hollywood at its worst",
    "I need to write a letter to my bank",
    "text: call my mother at noon",
    "Dear user, I need to reset the router",
    "Q: who wrote Hamlet",
    "https://example.org/a?b=c:d",
    "is it <3 or </3",
    "{curly} braces and a | pipe",
    "rain | forecast for Bath",
    "will it rain (in Bath)",
    "add it to my playlist -> the old one",
    "10:30 to 11:45 in room 7: free",
    "e.g. this one",
    "Think about it",
    "the assistant: a short film",
    "Natürlich! Das Lied gefällt mir",
    "当然，请播放这首歌",
)

# Each holds a text at {}.
WRAPPED = (
    "Sure! Here is another example of music: {}",
    "Sure! Here is another example of music:\n\n{}",
    "Certainly! Here's one:\n{}",
    "Here are 5 examples:\n1. {}\n2. something else",
    "Here's a sentence in the weather category: {}",
    "Of course!\n\n{}",
    "Example 3: {}",
    "Text: {}",
    "Sentence: {}\nLabel: music",
    "Natürlich! Hier ist ein weiteres Beispiel: {}",
    "Bien sûr ! Voici un autre exemple : {}",
    "¡Claro! Aquí tienes otro ejemplo: {}",
    "Вот пример: {}",
    "当然！以下是一个例子：{}",
    "weather: {}",
    "Get weather: {}",
    "**Music:** {}",
    "(music) {}",
    "[Music] {}",
    "requests to play music: {}",
    "{} (music)",
    "{} [GetWeather]",
    "{} -> music",
    "{}\nLabel: music",
    "{} Category: music",
    "**{}**",
    "- **{}**",
    "## {}",
    "> {}",
    "---\n{}\n---",
    "```\n{}\n```",
    "<text>{}</text>",
    "<example>\n{}\n</example>",
    "{}</s>",
    "[INST] {} [/INST]",
    "hm</think> {}",
    "<|im_start|>assistant\n{}<|im_end|>",
    "Assistant: {}",
    "{}<|eot_id|>",
    "{}\n\n(Note: this text is about music.)",
    "{}\nExplanation: I chose music.",
    PROMPT + " {}",
    "Examples of requests to play music, each one different:\n1. {}",
)
JSON = (
    ("{}", lambda text: text),
    ('{{"text": {}}}', json.dumps),
    ('{{"text": {}, "label": "music"}}', json.dumps),
    ('{{"label": "music", "Sentence": {}}}', json.dumps),
    ("[{}, {}]", json.dumps),
    ('[{{"text": {}}}]', json.dumps),
    ('{{"texts": [{}]}}', json.dumps),
    ('"text": {}', json.dumps),
    ('{{"text": {},', json.dumps),
    ('```json\n{{"text": {}}}\n```', json.dumps),
)
NO_TEXT = (
    "Sure! Here is another example of music:",
    "Here is another example of music.",
    "Sure! Here you go",
    "I'm sorry, but I cannot create that kind of content.",
    "I’m sorry, but I can’t assist with that.",
    "As an AI language model I do not have a favourite song",
    "As an AI, I cannot listen to music.",
    "I am an AI assistant and have no taste.",
    "Unfortunately, I am not able to provide that.",
    "I cannot fulfill this request.",
    "Es tut mir leid, aber ich kann keinen Text dazu schreiben",
    "Als KI habe ich keine Lieblingslieder",
    "Lo siento, pero no puedo ayudar con eso",
    "作为一个人工智能，我没有喜欢的歌",
    "Note: this text is about weather and nothing else",
    "This text is about the weather.",
    "This text about rain is an example of the class weather",
    "The sentence above belongs to the category music.",
    "This is an example of the class music",
    "Explanation: the sentence asks for a song",
    "The user wants one more example about food so I should write it",
    "Okay, so the user is asking for a song",
    "I need to write another example sentence about music",
    "Let me know if you need more examples!",
    "<think> The user wants one more",
    "```json",
    "{",
    '{"text": "play the bl',
    '{"text": 5}',
    "{'text': 'play the blues'}",
    '{"text": null, "label": "music"}',
    "[]",
    "Label: music",
    "requests to play music",
    "what is the forecast for:",
    "播放：",
    "| text | label |",
    "<|im_end|>",
    "<text></text>",
    "Text:",
)


@cache
def sound() -> tuple[str, ...]:
    def texts() -> Iterator[str]:
        for path in sorted(SAMPLES.glob("*/*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                yield record["text"] if "text" in record else " ".join(record["tokens"])

    kept = dict.fromkeys([*ORDINARY, *texts()])
    return tuple(text for text in kept if clean(text) == text)


def test_sound_texts_are_only_cleaned() -> None:
    assert len(sound()) > 1000
    for text in sound():
        found = strip_artefacts(f" {text}\n", AROUND)
        assert (found.text, found.removed, found.fault) == (text, (), ""), text
        assert strip_continuation(text).text == text


@given(st.sampled_from(WRAPPED), st.sampled_from(sound()))
def test_what_stands_around_a_text_comes_off(wrapper: str, text: str) -> None:
    found = strip_artefacts(wrapper.format(text), AROUND)
    # A line below the text was never part of it.
    assert found.removed or wrapper.startswith("{}\n")
    if not found.fault:
        assert found.text == text
        assert strip_artefacts(found.text, AROUND).removed == ()


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_no_wrapper_costs_a_plain_text(wrapper: str) -> None:
    found = strip_artefacts(wrapper.format("play some quiet piano"), AROUND)
    assert (found.text, found.fault) == ("play some quiet piano", "")


@given(st.sampled_from(JSON[1:]), st.sampled_from(sound()))
def test_json_is_read(shape: tuple[str, object], text: str) -> None:
    form, quote = shape
    found = strip_artefacts(form.format(*[quote(text)] * form.count("{}")), AROUND)  # type: ignore[operator]
    assert (found.text, found.fault) == (text, "")
    assert "JSON" in found.removed


@pytest.mark.parametrize("reply", NO_TEXT)
def test_what_is_no_text_has_a_fault(reply: str) -> None:
    for given_reply in (reply, f" {reply}\n", f'"{reply}"', f"1. {reply}"):
        found = strip_artefacts(given_reply, AROUND)
        assert found.fault, found
        assert found.removed


@given(st.lists(st.sampled_from(WRAPPED), min_size=2, max_size=3), st.sampled_from(ORDINARY))
def test_artefacts_within_artefacts_leave_the_text_or_nothing(
    wrappers: list[str], text: str
) -> None:
    reply = text
    for wrapper in wrappers:
        reply = wrapper.format(reply)
    found = strip_artefacts(reply, AROUND)
    assert found.fault or strip_artefacts(found.text, AROUND) == type(found)(found.text)


@given(st.one_of(st.text(max_size=60), st.lists(
    st.sampled_from(["Sure! ", "Here is ", "music", ": ", "\n", "{", "}", '"text"', '"', "**", "<",
                     "</text>", "(", ")", "[", "]", "weather", "|", "play", "Note: ", "# ", "- "]),
    max_size=14).map("".join)))  # fmt: skip
def test_any_reply_gives_one_line_or_a_fault(reply: str) -> None:
    found = strip_artefacts(reply, AROUND)
    assert len(found.text.splitlines()) <= 1
    if not found.fault:
        again = strip_artefacts(found.text, AROUND)
        assert (again.text, again.removed, again.fault) == (found.text, (), "")
    strip_continuation(reply)


def test_what_the_data_hold_is_no_artefact() -> None:
    texts = ["Weather: rain in Bath (weather)", "**bold** words"]
    usual = usual_in(texts, LABELS)
    assert usual == {"label", "Markdown"}
    around = Surroundings(LABELS, usual=usual)
    for text in (*texts, "music: **loud**"):
        assert strip_artefacts(text, around).text == text
    assert strip_artefacts("<s> music: loud", around).text == "music: loud"


def test_the_prompt_is_no_text() -> None:
    prompt = "Note: it mixes up songs and books.\n\nExamples of songs:\n1. one\n2."
    around = Surroundings(prompt=prompt, frame=frame_of(prompt, ["one"]))
    assert around.frame == ("Note: it mixes up songs and books.", "Examples of songs:")
    assert strip_artefacts("Examples of songs:\n1. play it now", around).text == "play it now"
    assert strip_artefacts(around.frame[0], around).fault == "repeats the prompt"


def test_a_continuation_loses_only_what_follows_it() -> None:
    assert strip_continuation(" met Ada</s> and more").text == " met Ada"
    assert strip_continuation("</think> met Ada").fault == "thinking before the text"
    assert strip_continuation(" I'm sorry, but I cannot create that.").fault == "a refusal"
    assert strip_continuation(": a town **of** Ohio (music)").removed == ()


def test_escapes_in_json_stand_for_usable_characters() -> None:
    assert strip_artefacts('{"text": "play \\ud83d now"}').text == "play \ufffd now"


@pytest.mark.parametrize(
    "part",
    ["a", '"', "1. ", "weather: ", "(weather) ", "[", '{"a":', "**a** ", "# ", "<text>", "a\n",
     "a:\n", "ok, ", "a. ", "Note: ", "the sentence is. ", "a -> ", " ", "```", "User:", "\\", "a.",
     "'s ", "here is "],
)  # fmt: skip
def test_long_replies_take_no_long_time(part: str) -> None:
    began = time.perf_counter()
    strip_artefacts(part * (200_000 // len(part)) + " x", AROUND)
    assert time.perf_counter() - began < 5
