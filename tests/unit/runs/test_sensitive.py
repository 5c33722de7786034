"""Secrets are recognised under any name and in any form, and ordinary words are not."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.runs.manifest import plain_config
from tutelage.runs.sensitive import has_secret_form, looks_secret, may_be_a_variable

KEYS = (
    "sk-proj-AbCd1234EfGh5678",
    "sk-0123456789abcdef",
    "sk-canary-5f3a-secret",
    "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345",
    "ghp_0123456789abcdefABCDEF0123456789abcd",
    "github_pat_11ABCDEFG0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    "xoxb-1234567890-abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
)
FORMS = (
    *KEYS,
    "http://token@host/v1",
    "https://user:word@host",
    "http://host/v1?api_key=abc",
    "http://host/v1?version=1&sig=abc",
    "Authorization: Bearer abc",
    "X-Api-Key: abc",
    "Bearer abc123def456",
    "-----BEGIN RSA PRIVATE KEY-----",
)
ORDINARY = (
    "sk-learn",
    "sk-learn-student-2024",
    "data/sk-news/v2",
    "hf_datasets",
    "hf-internal-testing/tiny-random-bert",
    "sentence-transformers/all-MiniLM-L6-v2",
    "unsloth/DeepSeek-R1-Distill-Qwen-1.5B",
    "http://localhost:8000/v1",
    "https://host/@name?page=2",
    "git+ssh://git@github.com/a/b",
    "letters to a friend: the key, a token and my password",
    "Which token follows?",
    "token_classification",
    "0123456789abcdef0123456789abcdef01234567",
)


@pytest.mark.parametrize("name", ["name", "model", "genre", "url", "whatever"])
def test_a_secret_is_one_under_any_name(name: str) -> None:
    assert [value for value in FORMS if not looks_secret(name, value)] == []
    assert [value for value in ORDINARY if looks_secret(name, value)] == []


NAMES = """
api_key apiKey API-KEY apikey key token HF_TOKEN hub_tokens accessToken access_key secret
my_secrets password passwd pwd passphrase credentials cookie auth authorization bearer
session session_id signature jwt
"""
OTHERS = """
tokenizer tokenize tokens max_tokens reply_tokens analysis_tokens cue_tokens pad_token mask_token
special_tokens token_type keyword monkey text_key sort_key key_column author cue secretary passes
"""


@pytest.mark.parametrize("name", NAMES.split())
def test_names_of_secrets(name: str) -> None:
    assert looks_secret(name, "abc")
    assert not any(looks_secret(name, value) for value in ("", " ", None, True, "null", "auto"))
    assert not looks_secret(name, "${oc.env:NAME}")
    assert not looks_secret(name, "Bearer ${oc.env:NAME,null}")
    assert looks_secret(name, "${oc.env:NAME,abc}")


@pytest.mark.parametrize("name", OTHERS.split())
def test_names_of_other_things(name: str) -> None:
    assert not looks_secret(name, "abc")


def test_a_number_is_a_limit_but_no_password() -> None:
    assert not any(looks_secret("tokens_limit_key", value) for value in (5, "5", "1e6", "[1,2]"))
    assert all(looks_secret("password", value) for value in (123456, "123456"))


def test_the_headers_of_a_request() -> None:
    assert looks_secret("headers", "x-goog-token: abc")
    assert not looks_secret("headers", "Accept: text/plain")
    assert not looks_secret("headers", "Authorization: Bearer ${oc.env:NAME}")


def test_the_name_of_a_variable_and_what_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "OPENAI_API_KEY", "my_key", "KEY", "${oc.env:NAME_OF_IT}"):
        assert may_be_a_variable(value)
        assert not looks_secret("api_key_env", value)
    for value in (*KEYS, "deadbeef0123456789ab", "my key", "$KEY", "${KEY", "a-b"):
        assert not may_be_a_variable(value)
        assert looks_secret("api_key_env", value)
    # A variable of the environment is one, however it is called.
    monkeypatch.setenv("deadbeef0123456789ab", "x")
    assert may_be_a_variable("deadbeef0123456789ab")


@given(
    st.sampled_from(["sk-", "hf_", "ghp_", "AKIA", "xoxb-"]),
    st.text(string.ascii_uppercase + string.digits, min_size=20, max_size=40).filter(
        lambda key: any(map(str.isdigit, key)) and any(map(str.isalpha, key))
    ),
    st.sampled_from(["{}", "x {} y", "'{}'", "a={}", "https://host/{}", "key:{}", "({})"]),
)
def test_a_key_is_found_wherever_it_stands_and_is_never_written(
    prefix: str, key: str, where: str
) -> None:
    value = where.format(prefix + key)
    assert has_secret_form(value)
    config = {"name": value, "data": {"leads": ["a", value], "any": [{"deep": value}]}}
    assert key not in json.dumps(plain_config(config))


@given(
    st.lists(
        st.sampled_from(["the", "key", "token", "of", "my", "secret", "password", "is", "here"])
    )
)
def test_prose_is_no_secret(words: list[str]) -> None:
    assert not looks_secret("genre", " ".join(words))
