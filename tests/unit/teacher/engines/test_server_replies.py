"""Replies and errors in the dialects of several servers."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.teacher.engines.server_replies import (
    LEAST,
    message_of,
    read_completion,
    read_json,
    read_token_ids,
    top_tokens,
)

TOP = {" the": -1.0, " a": -2.0}
LISTED = [{"token": " the", "logprob": -1.0}, {"token": " a", "logprob": -2.0}]
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@pytest.mark.parametrize(
    "logprobs",
    [
        {"tokens": [" the"], "token_logprobs": [-1.0], "top_logprobs": [TOP]},
        {"top_logprobs": [None, TOP]},
        {"top_logprobs": TOP},
        {"top_logprobs": [LISTED]},
        {"content": [{"token": " the", "logprob": -1.0, "top_logprobs": LISTED}]},
        [{"token": " the", "logprob": -1.0, "top_logprobs": LISTED}],
        [{"content": " the", "top_probs": [{"token": " the", "prob": math.exp(-1)},
                                           {"token": " a", "prob": math.exp(-2)}]}],
        [{"content": " the", "probs": [{"tok_str": " the", "prob": math.exp(-1)},
                                       {"tok_str": " a", "prob": math.exp(-2)}]}],
    ],
)  # fmt: skip
def test_log_probabilities_have_many_shapes(logprobs: Any):
    found = {token.name: token.logprob for token in top_tokens(logprobs)}
    assert found == pytest.approx(TOP)


@pytest.mark.parametrize(
    "logprobs", [None, {}, [], {"top_logprobs": None}, {"top_logprobs": [{}]}, {"content": []}, 3]
)
def test_no_log_probabilities_are_said_to_be_none(logprobs: Any):
    with pytest.raises(ValueError, match="holds no log-probabilities"):
        top_tokens(logprobs)


@pytest.mark.parametrize("value", [float("-inf"), -9999.0, -1e30, -(10**400), None])
def test_an_impossible_token_has_a_very_small_probability(value: Any):
    first, second = top_tokens({"top_logprobs": [{" the": -1.0, " zzz": value}]})
    assert (first.logprob, second.logprob) == (-1.0, LEAST)


@pytest.mark.parametrize("value", [0.5, float("nan"), float("inf"), "low", True, 10**400, [1]])
def test_what_is_no_log_probability_is_refused_with_the_token(value: Any):
    with pytest.raises(ValueError, match="log-probability of ' zzz' is"):
        top_tokens({"top_logprobs": [{" the": -1.0, " zzz": value}]})


def test_ids_and_bytes_of_tokens():
    entry = {"id": 7, "token": "\ufffd", "bytes": [0xC3], "logprob": -1.0}
    (token,) = top_tokens({"content": [{"top_logprobs": [entry]}]})
    assert (token.id, token.stated_id, token.raw) == (None, 7, b"\xc3")
    assert [token.id for token in top_tokens({"top_logprobs": [{"token_id:9": -1.0}]})] == [9]


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 3}, (7, 3)),
        ({"prompt_tokens": 7.0, "completion_tokens": 0}, (7, 0)),
        ({"prompt_tokens": -1, "completion_tokens": 10**400}, (None, None)),
        ({"prompt_tokens": True, "completion_tokens": "3"}, (None, None)),
        ({"prompt_tokens": float("nan")}, (None, None)),
        (None, (None, None)),
    ],
)
def test_token_counts_are_sane_or_unknown(usage: Any, counts: tuple[int | None, int | None]):
    found = read_completion({"choices": [{"text": "a"}], "usage": usage})
    assert (found.prompt_tokens, found.completion_tokens) == counts


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "the body is list, not an object"),
        ({"choices": []}, "exactly one choice"),
        ({"choices": [{"text": None}]}, "text is missing"),
        ({"error": {"message": "model is loading"}}, "it says: model is loading"),
    ],
)
def test_what_is_no_completion(body: Any, message: str):
    with pytest.raises(ValueError, match=message):
        read_completion(body)


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"text": "a"}]},
        {"choices": [{"message": {"role": "assistant", "content": "a"}}]},
        {"content": "a", "stop": True},
    ],
)
def test_a_text_has_several_places(body: Any):
    assert read_completion(body).text == "a"


def test_a_stream_that_nobody_asked_for_is_read():
    parts = [
        {"model": "m", "choices": [{"text": "two ", "logprobs": {"top_logprobs": [TOP]}}]},
        {"model": "m", "choices": [{"text": "words", "finish_reason": None}]},
        {"choices": [{"text": "", "finish_reason": "stop"}], "usage": None},
        {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}},
    ]
    body = "".join(f"data: {json.dumps(part)}\n\n" for part in parts) + "data: [DONE]\n\n"
    found = read_completion(read_json(body.encode()))
    assert (found.text, found.finish_reason, found.model) == ("two words", "stop", "m")
    assert (found.prompt_tokens, found.completion_tokens) == (4, 2)
    assert len(top_tokens(found.logprobs)) == 2


@pytest.mark.parametrize("body", [b"", b"[" * 100_000, b"<html>", b"data: [DONE]\n", b"data: {"])
def test_what_is_no_json_is_a_value_error(body: bytes):
    with pytest.raises(ValueError, match=r".+"):
        read_json(body)


@given(JSON_VALUES)
def test_any_json_is_a_reply_or_a_value_error(body: Any):
    for read in (
        lambda: read_completion(body),
        lambda: read_completion({"choices": [body]}),
        lambda: top_tokens(body),
        lambda: top_tokens({"top_logprobs": body}),
        lambda: read_token_ids(body),
    ):
        with contextlib.suppress(ValueError):
            read()
    assert message_of(json.dumps(body).encode())


@pytest.mark.parametrize(
    ("answer", "ids", "pieces"),
    [
        ({"tokens": [5, 6], "count": 2}, [5, 6], None),
        ([5, 6], [5, 6], None),
        ({"tokens": [{"id": 5, "piece": " caf"}, {"id": 6, "piece": [0xC3]}]}, [5, 6],
         [" caf", "<0xC3>"]),
        ({"tokens": []}, [], None),
    ],
)  # fmt: skip
def test_token_ids(answer: Any, ids: list[int], pieces: list[str] | None):
    assert read_token_ids(answer) == (ids, pieces)


@pytest.mark.parametrize("answer", [{}, {"tokens": "no"}, {"tokens": [True]}, {"tokens": [-1]}, 3])
def test_what_is_no_token_ids(answer: Any):
    with pytest.raises(ValueError, match="no token ids"):
        read_token_ids(answer)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "too long", "code": 400}}, "too long"),
        ({"error": "too long"}, "too long"),
        ({"object": "error", "message": "too long"}, "too long"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": [{"loc": ["body", "logprobs"], "msg": "Extra inputs", "type": "extra"}]},
         "body.logprobs: Extra inputs"),
        ({"errors": [{"message": "one"}, {"message": "two"}]}, "one; two"),
        ({"odd": 1}, '{"odd": 1}'),
    ],
)  # fmt: skip
def test_the_words_of_an_error_are_found(body: Any, message: str):
    assert message_of(json.dumps(body).encode()) == message


def test_an_error_page_is_one_short_line():
    page = (
        "<!DOCTYPE html><html><head><title>404\n Not Found</title></head><body>nginx</body></html>"
    )
    assert message_of(page.encode()) == "an HTML page, '404 Not Found'"
    assert message_of(b"<html><script>x()</script><p>Sign in</p>") == "an HTML page, 'Sign in'"
    assert message_of(b"") == "an empty body"
    assert message_of(b"\xff broken") == "\ufffd broken"


@pytest.mark.parametrize(
    ("message", "whole"),
    [
        ({"content": "yes", "reasoning": "Is it?"}, "<think>\nIs it?\n</think>\nyes"),
        ({"content": None, "reasoning_content": "Is it"}, "<think>\nIs it"),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "Is it?"}]},
                    {"type": "text", "text": "yes"},
                ]
            },
            "<think>\nIs it?\n</think>\nyes",
        ),
        ({"content": None, "refusal": "I cannot."}, "I cannot."),
        ({"content": "", "role": "assistant"}, ""),
    ],
)
def test_thoughts_stand_in_front_of_the_answer_of_a_chat(message, whole):
    answer = {"choices": [{"message": message, "finish_reason": "stop"}]}
    assert read_completion(answer).whole == whole
