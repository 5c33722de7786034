"""The address of a server, as people write it."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from tutelage.errors import ConfigError

_ENDS = ("/chat/completions", "/completions", "/models", "/v1")


def server_roots(url: str | Sequence[str], api_key_env: str) -> list[str]:
    """Returns the address of each server without ``/v1``.

    Args:
        url: The setting ``teacher.url``.
        api_key_env: Environment variable for the key, for messages.

    Raises:
        ConfigError: There is none, one is no address, or two are the same.
    """
    roots = [server_root(one, api_key_env) for one in ([url] if isinstance(url, str) else url)]
    if not roots:
        raise ConfigError("teacher.url is an empty list. Name at least one server in teacher.url.")
    for position, root in enumerate(roots):
        if root in roots[:position]:
            raise ConfigError(f"teacher.url names {root} twice. Name each server once.")
    return roots


def server_root(url: str, api_key_env: str) -> str:
    """Returns the address of a server without ``/v1``.

    Args:
        url: The setting ``teacher.url``.
        api_key_env: Environment variable for the key, for messages.

    Raises:
        ConfigError: It is no address, or contains a password or a query.
    """
    import httpx

    try:
        parts = urlsplit(url.strip())
        port = parts.port
        # What httpx refuses would be a traceback at the first request.
        host = httpx.URL(url.strip()).raw_host
    except (ValueError, httpx.InvalidURL) as error:
        raise ConfigError(_no_address(url, f" ({error})")) from error
    if parts.username or parts.password:
        # It would end up in the fingerprint and in messages.
        raise ConfigError(
            "teacher.url contains a password. Put the API key into the environment variable "
            f"{api_key_env or 'OPENAI_API_KEY'} instead."
        )
    if parts.scheme not in ("http", "https") or not host or b"%" in host or port == 0:
        raise ConfigError(_no_address(url))
    if parts.query or parts.fragment:
        raise ConfigError(
            "teacher.url ends with a query or a fragment (after ? or #), which would get lost. Set "
            "teacher.url to the address before it."
        )
    path = parts.path.rstrip("/")
    for end in _ENDS:
        path = path.removesuffix(end)
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def _no_address(url: str, reason: str = "") -> str:
    shown = "…" if "@" in url else repr(url)  # It may hold a password.
    return f"teacher.url={shown} is not an address{reason}. Use one like http://localhost:8000/v1."
