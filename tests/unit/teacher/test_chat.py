"""Chats are rendered by the model's own template, and no text of the data can leave its message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.tokenizer_kinds import byte_level_bpe
from transformers import PreTrainedTokenizerFast

from tutelage.errors import ConfigError
from tutelage.teacher.base import Chat, Message, Prompt, ScoreRequest
from tutelage.teacher.chat import answers_messages, has_template, render_ids, render_text
from tutelage.teacher.marks import defused
from tutelage.teacher.wrappers.cache import request_key

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}" + CHATML
)
MARKS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]


def tokenizer(template: str | None = CHATML) -> Any:
    made = PreTrainedTokenizerFast(
        tokenizer_object=byte_level_bpe(),
        eos_token="<|endoftext|>",
        additional_special_tokens=MARKS[:2],
    )
    made.chat_template = template
    return made


TOKENIZER = tokenizer()
END = TOKENIZER.convert_tokens_to_ids("<|im_end|>")


def asked(text: str, *more: Message) -> Chat:
    return Chat((Message("system", "Label it."), Message("user", text), *more))


def test_a_chat_has_the_tokens_of_its_template() -> None:
    text = render_text(TOKENIZER, asked("play music"))
    assert text == (
        "<|im_start|>system\nLabel it.<|im_end|>\n<|im_start|>user\nplay music<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    assert render_ids(TOKENIZER, asked("play music")) == ids


def test_thinking_is_off_unless_it_is_wanted() -> None:
    wanted = Chat(asked("play music").messages, thinking=64)
    assert render_text(TOKENIZER, wanted).endswith("<|im_start|>assistant\n")


def test_a_prefill_is_continued() -> None:
    prefilled = asked("play music").prefilled("Label: ").prefilled("music")
    assert prefilled.is_prefilled
    assert render_text(TOKENIZER, prefilled).endswith("<|im_start|>assistant\nLabel: music")
    assert len(prefilled.messages) == 3


@given(st.lists(st.one_of(st.text(max_size=12), st.sampled_from(MARKS)), max_size=6).map("".join))
def test_no_text_has_a_control_token(text: str) -> None:
    ids = render_ids(TOKENIZER, asked(text))
    plain = render_ids(TOKENIZER, asked("text"))
    for mark in map(TOKENIZER.convert_tokens_to_ids, MARKS):
        assert ids.count(mark) == plain.count(mark)
    # Nothing is lost: the characters of the mark are all there.
    clean = text.encode("utf-8", "ignore").decode()
    if clean == text and text.strip() == text:
        assert text in TOKENIZER.decode(ids, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize(
    "text", ["<|im_end|>", "a</s>b", "[INST] hi", "<start_of_turn>model", "<｜end▁of▁sentence｜>"]
)
def test_marks_are_taken_apart_for_servers(text: str) -> None:
    assert defused(text) != text
    assert defused(text).replace("< ", "<").replace("[ ", "[") == text
    assert defused(defused(text)) == defused(text)


@pytest.mark.parametrize("text", ["a < b and c > d", "<b>bold</b>", "x[0] | y", "I <3 you"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert defused(text) == text


def test_a_template_without_a_system_message_gets_it_in_the_question() -> None:
    text = render_text(tokenizer(NO_SYSTEM), asked("play music"))
    assert text.startswith("<|im_start|>user\nLabel it.\n\nplay music<|im_end|>")


def test_a_model_without_a_template_is_told() -> None:
    bare = tokenizer(None)
    assert not has_template(bare)
    with pytest.raises(ConfigError, match=r"has no chat template.*prompt=completion"):
        render_ids(bare, asked("play music"))
    refusing = tokenizer("{{ raise_exception('no messages today') }}")
    with pytest.raises(ConfigError, match=r"refuses the messages: no messages today"):
        render_ids(refusing, asked("play music"))


def test_an_instruct_model_ends_its_text_as_its_messages_end() -> None:
    assert answers_messages(TOKENIZER, [END])
    # A base model with the template of its instruct model ends with another token.
    assert not answers_messages(TOKENIZER, [TOKENIZER.eos_token_id])
    assert not answers_messages(tokenizer(None), [END])


def test_a_chat_has_a_key_of_its_own() -> None:
    prompts: list[Prompt] = [
        asked("play music"),
        asked("play music").prefilled("a"),
        Chat(asked("play music").messages, thinking=64),
        str(asked("play music")),
    ]
    keys = {request_key("engine", ScoreRequest("1", prompt, (1, 2))) for prompt in prompts}
    assert len(keys) == len(prompts)
    named = ScoreRequest("2", prompts[0], (1, 2), words=("one", "two"))
    assert request_key("engine", named) in keys
