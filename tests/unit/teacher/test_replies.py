from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest
from hypothesis import given
from tests.helpers.replies import odd_replies

from tutelage.characters import usable
from tutelage.teacher.base import Reply
from tutelage.teacher.replies import cleaned, read_reply


@given(odd_replies)
def test_a_cleaned_reply_goes_through_every_file_and_stays_as_it_is(reply):
    clean = cleaned(reply)
    assert clean.text == usable(reply.text)
    assert len(clean.text) == len(reply.text)
    assert bool(clean.error) == (not all(map(math.isfinite, reply.logprobs)))
    line = json.dumps(asdict(clean), ensure_ascii=False, allow_nan=False)
    assert read_reply(json.loads(line.encode())) == clean
    assert cleaned(clean) is clean


def test_what_is_fine_is_not_copied():
    reply = Reply("a", "fine\tenough\n", (-1.5, 0.0), 3, 4, "stop")
    assert cleaned(reply) is reply


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"text": 5}, "its 'text' cannot be 5"),
        ({"text": None}, "its 'text' cannot be None"),
        ({"logprobs": [True]}, "'logprobs'"),
        ({"logprobs": [math.nan]}, "'logprobs'"),
        ({"logprobs": [10**400]}, "'logprobs'"),
        ({"logprobs": "-1"}, "'logprobs'"),
        ({"prompt_tokens": -1}, "'prompt_tokens' cannot be -1"),
        ({"prompt_tokens": 1.5}, "'prompt_tokens'"),
        ({"completion_tokens": True}, "'completion_tokens'"),
        ({"completion_tokens": 10**30}, "'completion_tokens'"),
        ({"finish_reason": None}, "'finish_reason'"),
        ({"cached": 1}, "'cached'"),
        ({"extra": 1}, "'extra'"),
    ],
)
def test_a_value_that_no_reply_has_is_named(change, says):
    record = {**asdict(Reply("a")), "logprobs": [], **change}
    with pytest.raises(ValueError, match=says):
        read_reply(record)


@pytest.mark.parametrize("record", [None, [], "reply", 7, {}, {"text": ""}])
def test_what_is_no_reply_is_refused(record):
    with pytest.raises(ValueError, match=r"not a JSON object|it has no"):
        read_reply(record)
