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
