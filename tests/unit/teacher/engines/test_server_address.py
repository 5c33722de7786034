from __future__ import annotations

import pytest

from tutelage.errors import ConfigError
from tutelage.teacher.engines.server_address import server_root


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://host", "http://host"),
        ("http://host:8000/v1/", "http://host:8000"),
        ("https://host/api/v1", "https://host/api"),
        ("https://host/v1/completions", "https://host"),
        ("https://host/v1/chat/completions/", "https://host"),
        (" http://[::1]:8000/v1\n", "http://[::1]:8000"),
    ],
)
def test_an_address_as_people_write_it(url: str, root: str):
    assert server_root(url, "K") == root


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("localhost:8000", "is not an address"),
        ("ftp://host", "is not an address"),
        ("http://", "is not an address"),
        ("http://127.0.0.1:99999/v1", "Port out of range"),
        ("http://127.0.0.1:abc/v1", "abc"),
        ("http://127.0.0.1:0/v1", "is not an address"),
        ("http://☃.example/v1", "Invalid IDNA hostname"),
        ("http://ho st/v1", "is not an address"),
        ("http://host/v1?api-version=2", "query or a fragment"),
        ("http://host/#v1", "query or a fragment"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(url: str, reason: str):
    with pytest.raises(ConfigError, match=reason):
        server_root(url, "K")


@pytest.mark.parametrize(
    "url",
    [
        "http://me:sesame@host/v1",
        "http://sesame@host",
        "http://me:sesame@host:99999",
        "me:sesame@host",
        "http://me:sesame@☃",
    ],
)
def test_a_password_is_not_repeated(url: str):
    with pytest.raises(ConfigError) as caught:
        server_root(url, "MY_KEY")
    assert "sesame" not in str(caught.value)
