from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import ConfigError
from tutelage.teacher import structured

SCHEMA = (
    '{"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"], '
    '"additionalProperties": false}'
)


def test_what_fits_comes_back_parsed():
    assert structured.validate(' {"text": "a"} ', SCHEMA) == {"text": "a"}


@pytest.mark.parametrize(
    "text",
    ['```json\n{"text": "a"}\n```', 'hm</think>{"text": "a"}', 'Here it is: {"text": "a"} [1]'],
)
def test_marks_and_a_preamble_are_ignored(text):
    assert structured.validate(text, SCHEMA) == {"text": "a"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ('{"text": "a"', "not JSON"),
        ('{"text": 3}', r"at \$\.text"),
        ("{}", "'text' is a required"),
        ('the reply {"text": "a"} is it', "not JSON"),
        ('<think>{"text": "a"}', "not JSON"),
        ('[{"text":' * 3000, "nested too deeply|not JSON"),
        ("[" * 100_000, "nested too deeply|not JSON"),
    ],
)
def test_what_does_not_fit_is_told_of(text, message):
    with pytest.raises(ValueError, match=message):
        structured.validate(text, SCHEMA)


@given(st.text())
def test_any_text_is_either_valid_or_a_value_error(text):
    # Any other exception fails the test.
    with contextlib.suppress(ValueError):
        assert set(structured.validate(text, SCHEMA)) == {"text"}


@pytest.mark.parametrize("schema", ["{", "[]", '{"type": "nonsense"}', '{"$ref": "#/nowhere"}'])
def test_a_wrong_schema_is_a_matter_of_the_config(schema):
    with pytest.raises(ConfigError, match="schema"):
        structured.validate("{}", schema)


def test_the_fields_of_each_engine():
    assert structured.vllm_fields(SCHEMA) == {"json": SCHEMA}
    assert structured.server_fields(SCHEMA)["response_format"]["json_schema"][
        "schema"
    ] == json.loads(SCHEMA)


LIST = (
    '{"type": "object", "properties": {"texts": {"type": "array", "items": {"type": "string"}}}, '
    '"required": ["texts"], "additionalProperties": false}'
)


@given(st.lists(st.text(max_size=8), max_size=4), st.integers(0, 80), st.sampled_from([None, 1]))
def test_a_list_cut_short_keeps_its_whole_items(texts, end, indent):
    whole = json.dumps({"texts": texts}, ensure_ascii=False, indent=indent)
    text, mismatch = structured.completed(whole[:end], "length", LIST)
    if end >= len(whole):
        assert (text, mismatch) == (whole, "")
        return
    kept = [place for place in range(1, len(texts) + 1) if _items_until(whole, place) <= end]
    if not kept:
        assert mismatch
        assert text == whole[:end]
    else:
        assert structured.validate(text, LIST) == {"texts": texts[: kept[-1]]}
        assert not mismatch


def _items_until(whole, count):
    """The length of the JSON up to the end of an item."""
    decoder, end = json.JSONDecoder(), whole.index("[") + 1
    for _ in range(count):
        while whole[end] in ", \n":
            end += 1
        end = decoder.raw_decode(whole, end)[1]
    return end


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ('[{"a": [1, 2]}, {"a": [3', '[{"a": [1, 2]}]'),
        ("[1, 23, 45", "[1, 23]"),
        ("[1, 23, 45,", "[1, 23, 45]"),
        ("[true, fal", "[true]"),
        ('```json\n["a", "b', '["a"]'),
        ('Here it is: ["a", "b', '["a"]'),
        ("[[1], [2", "[[1]]"),
        ("[", ""),
        ("<think>[1, 2", ""),
        ('["a]', ""),
        ("[" * 5000, ""),
    ],
)
def test_lists_of_all_kinds_are_closed(text, whole):
    items = (
        '{"type": "array", "items": {"type": ["object", "array", "string", "number", "boolean"]}}'
    )
    assert structured.salvaged(text, items) == whole


@pytest.mark.parametrize(
    ("text", "empty"),
    [
        ('{\n "texts": [\n  "a', '{\n "texts": []}'),
        ('{"texts": [', '{"texts": []}'),
        ('Here: {"texts": ["{[', '{"texts": []}'),
        ('{"texts": ["a", "b', '{"texts": ["a"]}'),
        ('{"texts', ""),
        ('{"other": ["a', ""),
    ],
)
def test_a_list_that_may_be_empty_has_no_unfinished_item(text, empty):
    may_be = LIST.replace('"type": "array"', '"type": "array", "minItems": 0')
    assert structured.salvaged(text, may_be) == empty
    # Nothing found is an answer in its own right, which an unfinished list is not.
    assert structured.salvaged(text, LIST) == (empty if '"a"' in empty else "")


@pytest.mark.parametrize("finish_reason", ["stop", "", "length"])
def test_only_a_reply_cut_by_its_length_is_closed(finish_reason):
    text, mismatch = structured.completed('{"texts": ["a", "b', finish_reason, LIST)
    assert (text == '{"texts": ["a"]}') is (finish_reason == "length")
    assert bool(mismatch) is (finish_reason != "length")


@given(st.text(alphabet='[]{}",:\\ab1 ', max_size=40))
def test_whatever_is_closed_fits_the_schema(text):
    if whole := structured.salvaged(text, '{"type": "array"}'):
        assert isinstance(json.loads(whole), list)


def test_items_beyond_the_most_are_left_out_and_no_other_fault_is_mended():
    most = LIST.replace('"type": "array"', '"type": "array", "maxItems": 2')
    assert structured.completed('{"texts": ["a", "b", "c"]}', "stop", most) == (
        '{"texts": ["a", "b"]}',
        "",
    )
    assert structured.completed('{"texts": ["a", "b", 3', "stop", most)[1]
