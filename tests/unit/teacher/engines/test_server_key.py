"""The API key is read once, and never shown."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import ConfigError
from tutelage.teacher.engines.server_key import ApiKey

PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=20, max_size=60)


def key(value: str) -> ApiKey:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MY_KEY", value)
        return ApiKey("MY_KEY")


@pytest.mark.parametrize("around", ["{}\n", " {} ", "\r\n{}\r\n", "\t{}\u00a0"])
def test_what_files_of_secrets_leave_around_a_key_comes_off(around: str):
    assert key(around.format("sesame-123")).headers == {"Authorization": "Bearer sesame-123"}


@pytest.mark.parametrize("value", ["sesame-\u00fc1", "sesame\n123", "sesame\x7f1", "\ufeffsesame"])
def test_a_key_that_no_header_carries_is_refused_by_its_variable(value: str):
    with pytest.raises(ConfigError, match="environment variable MY_KEY holds no API key") as caught:
        key(value)
    assert "sesame" not in str(caught.value)


def test_a_key_in_place_of_its_variable_is_not_shown():
    with pytest.raises(ConfigError, match=r"set teacher\.api_key_env to its name") as caught:
        ApiKey("sk-sesame-123")
    assert "sesame" not in str(caught.value)


def test_without_a_variable_or_a_value_there_is_no_header(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    assert ApiKey("").headers == ApiKey("MY_KEY").headers == key(" \n").headers == {}
    assert ApiKey("MY_KEY").mask("as it is") == "as it is"


@given(PRINTABLE, st.integers(0, 2))
def test_every_form_of_a_key_is_masked(value: str, shift: int):
    made = key(value)
    value = value.strip()
    with_prefix = base64.b64encode(b"x" * shift + value.encode() + b"tail").decode()
    for form in (
        value,
        repr(value),
        repr(f"Bearer {value}\n"),
        json.dumps(value),
        html.escape(value),
        quote(value, safe=""),
        quote(value, safe="").lower(),
        quote_plus(value),
    ):
        told = made.mask(f"Illegal header value {form}!")
        assert "***" in told
        assert all(value[at : at + 8] not in told for at in range(len(value) - 7))
    assert len(made.mask(with_prefix)) < len(with_prefix) - len(value)
    assert value not in repr(made)


@given(PRINTABLE, st.data())
def test_a_piece_of_a_key_is_masked_too(value: str, data: st.DataObject):
    made = key(value)
    value = value.strip()
    begin = data.draw(st.integers(0, len(value) - 8))
    piece = value[begin : data.draw(st.integers(begin + 8, len(value)))]
    assert piece not in made.mask(f"invalid key: {piece}… (cut)")


def test_a_model_s_own_text_loses_whole_keys_only():
    made = key("sk-no-key-required-77")
    assert made.mask("a key is required", cut=False) == "a key is required"
    assert made.mask("it is sk-no-key-required-77!", cut=False) == "it is ***!"
    assert key("required").mask("a key is required", cut=False) == "a key is required"


@pytest.mark.parametrize("value", ["EMPTY", "not-needed", "x", "token"])
def test_a_placeholder_does_not_mask_other_words(value: str):
    assert key(value).mask("a word, a notion and a need") == "a word, a notion and a need"
