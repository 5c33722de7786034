"""Marks of chat templates, thinking and code fences around an answer."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.teacher.marks import stopped, unmarked

ANSWER = "order a pizza with mushrooms"


@pytest.mark.parametrize(
    "reply",
    [
        "<|im_start|>assistant\n{}<|im_end|>",
        "{}<|im_end|>\n<|im_start|>user\nanother one",
        "<|im_start|>user\nwrite one<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>",
        "<s>[INST] write one [/INST] {}</s>",
        "[INST] {} [/INST]",
        "<s>[INST] <<SYS>> be short <</SYS>> write one [/INST] {}",
        "<|start_header_id|>assistant<|end_header_id|>\n\n{}<|eot_id|>",
        "<|start_header_id|>user<|end_header_id|>\n\nwrite<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n{}",
        "assistant\n\n{}",
        "<start_of_turn>model\n{}<end_of_turn>",
        "<|assistant|>\n{}",
        "[|assistant|] {} [|endofturn|]",
        "<｜Assistant｜>{}<｜end▁of▁sentence｜>",
        "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{}<|END_OF_TURN_TOKEN|>",
        "### Response:\n{}",
        "### Instruction:\nwrite one\n\n### Response:\n{}",
        "Assistant: {}",
        "USER: write one\nASSISTANT: {}",
        "{}<|endoftext|>",
        "{} <|im_",
        "<think>hm\nhm</think>\n\n{}",
        "the user wants food</think> {}",
        "<thinking>hm</thinking>{}",
        "[THINK]hm[/THINK]{}",
        "◁think▷hm◁/think▷{}",
        "<think>a</think> no <think>b</think> {}",
        "{}\n<think>that was it",
        "<|channel|>analysis<|message|>hm<|end|>"
        "<|start|>assistant<|channel|>final<|message|>{}<|return|>",
        "analysisThe user wants foodassistantfinal{}",
        "```\n{}\n```",
        "```text\n{}\n```\nThat is it.",
        "Here it is:\n~~~\n{}\n~~~",
        "{}\n```",
        "```{}```",
    ],
)
def test_marks_come_off(reply: str) -> None:
    found = unmarked(reply.format(ANSWER))
    assert (found.text.strip(), found.fault) == (ANSWER, "")
    assert found.removed
    again = unmarked(found.text)
    assert (again.text, again.removed) == (found.text, ())


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        (f"<think>{ANSWER}", "thinking"),
        ("hm</think>", "thinking"),
        ("<think>hm</think>\n", "thinking"),
        (f"<|channel|>analysis<|message|>{ANSWER}", "thinking"),
        ("<|im_end|>", "chat template"),
        ("<|im_end|>\n<|im_start|>user\nGive me another example<|im_end|>", "chat template"),
        ("[INST] one [/INST] [INST] two", "chat template"),
        ("```json", "code fence"),
    ],
)
def test_without_a_sure_answer_there_is_a_fault(reply: str, fault: str) -> None:
    found = unmarked(reply)
    assert (found.text, found.fault) == (reply, f"{fault} without an answer")


def test_marks_that_are_usual_stay() -> None:
    reply = f"<think>hm</think> User: {ANSWER}"
    assert unmarked(reply, {"thinking", "chat template"}).text == reply
    assert unmarked(f"User: {ANSWER}", {"thinking"}).text.strip() == ANSWER


@pytest.mark.parametrize(
    "text",
    [
        "a < b | c > d",
        "I <3 this [movie] | really",
        "the user: a portrait",
        "2 << 3",
        "<s",
        "model trains for sale",
        "use `code` here",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert unmarked(text).text == text


@given(st.lists(st.sampled_from(
    ["<think>", "</think>", "<|im_start|>", "user", "<|im_end|>", "[INST]", "[/INST]", "```", "\n",
     " ", "Assistant:", "<|", "word", "<|channel|>final<|message|>", "analysisX"]), max_size=12
))  # fmt: skip
def test_an_answer_is_a_part_of_the_reply(parts: list[str]) -> None:
    reply = "".join(parts)
    found = unmarked(reply)
    assert found.text in reply
    if found.fault:
        assert (found.text, bool(found.removed)) == (reply, True)
    elif found.removed:
        assert found.text.strip()


@pytest.mark.parametrize(
    "part", ["<|", "<think>", "</think>", "```\n", "User:\n", " ", "<|channel|>a", "[INST]", "a"]
)
def test_long_replies_take_no_long_time(part: str) -> None:
    began = time.perf_counter()
    unmarked(part * (200_000 // len(part)) + "x")
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("one\ntwo", "one"),
        ("<think>a\nb</think>\n\none\ntwo", "<think>a\nb</think>\n\none"),
        ("a\nb</think> one\ntwo", "a\nb</think> one"),
        ("<think>a\nb", "<think>a\nb"),
        ("one", "one"),
    ],
)
def test_a_stop_string_ends_the_answer_and_no_thought(reply: str, answer: str) -> None:
    assert stopped(reply, ("\n", "END")) == answer
