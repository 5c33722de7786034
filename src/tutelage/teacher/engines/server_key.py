"""The API key of a server: read once, and masked wherever it might be shown."""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Sequence
from urllib.parse import quote, quote_plus

from tutelage.errors import ConfigError

_MASK = "***"
_SHORTEST = 4
"""Shorter values ("x", "-") are placeholders of servers without keys, and parts of every text."""
_PIECE = 8
"""A server may cut an echoed key anywhere, so pieces of this length are masked, too."""
_LONG = 16
"""Pieces of shorter keys ("not-needed") are ordinary words."""


class ApiKey:
    """An API key from the environment.

    Args:
        variable: Environment variable with the key; "" for no key. It may be unset.

    Raises:
        ConfigError: ``variable`` cannot be the name of a variable, or its value cannot be a key.
            The message contains neither.
    """

    def __init__(self, variable: str) -> None:
        if variable and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
            raise ConfigError(
                "teacher.api_key_env is not the name of an environment variable. Put the API key "
                "into a variable, and set teacher.api_key_env to its name, such as OPENAI_API_KEY."
            )
        self.variable = variable
        # Files of secrets and `$(cat key)` in some shells leave a line's end.
        self._key = os.environ.get(variable, "").strip() if variable else ""
        for position, character in enumerate(self._key, start=1):
            if not " " <= character <= "~":
                raise ConfigError(
                    f"the environment variable {variable} holds no API key: its character "
                    f"{position} is a control or non-ASCII character, which no HTTP header can "
                    f"carry. Set {variable} to the key alone."
                )
        self._forms = _forms(self._key) if len(self._key) >= _SHORTEST else []

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers that carry the key; none without a key."""
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def __repr__(self) -> str:
        """Names the variable only."""
        return f"ApiKey({self.variable!r})"

    def mask(self, text: str, *, cut: bool = True) -> str:
        """Replaces the key in a text by "***", also where it is encoded or escaped.

        Args:
            text: A message, or a model's own text.
            cut: Whether to mask pieces of the key, too; a model's text may have them by chance.
        """
        if len(self._key) < _LONG and not cut:
            return text
        for form in self._forms:
            text = form.sub(_MASK, text)
        if len(self._key) < _LONG or not cut:
            return text
        pieces = {self._key[at : at + _PIECE] for at in range(len(self._key) - _PIECE + 1)}
        hidden = bytearray(len(text))
        for at in range(len(text) - _PIECE + 1):
            if text[at : at + _PIECE] in pieces:
                hidden[at : at + _PIECE] = b"\1" * _PIECE
        shown = "".join("\0" if hide else char for hide, char in zip(hidden, text, strict=True))
        return re.sub("\0+", _MASK, shown) if any(hidden) else text


def server_keys(variables: str | Sequence[str], servers: int) -> list[ApiKey]:
    """Returns the key of each server.

    Args:
        variables: The setting ``teacher.api_key_env``: one variable for all servers, or a list with
            one for each.
        servers: Number of servers.

    Raises:
        ConfigError: A variable is none (see :class:`ApiKey`), or the list has another length.
    """
    if isinstance(variables, str):
        return [ApiKey(variables)] * servers
    if len(variables) != servers:
        raise ConfigError(
            f"teacher.api_key_env has {len(variables)} entries and teacher.url names {servers} "
            "servers. Give teacher.api_key_env one variable for all servers, or a list with one "
            "for each, in the order of teacher.url."
        )
    return [ApiKey(variable or "") for variable in variables]


def _forms(key: str) -> list[re.Pattern[str]]:
    """The forms of a key in messages: as it is, escaped, percent-encoded or in base64."""
    plain = [key, repr(key)[1:-1], json.dumps(key)[1:-1], html.escape(key)]
    encoded = [quote(key), quote(key, safe=""), quote_plus(key)]
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode) if len(key) >= _PIECE else ():
        for before in range(3):
            # The characters at both ends depend on what precedes and follows the key.
            text = alphabet(b"\0" * before + key.encode()).decode().rstrip("=")
            whole = len(text) - (1 if (before + len(key)) % 3 else 0)
            plain.append(text[(0, 2, 3)[before] : whole])
    # Hex digits may be small or capital letters.
    return [re.compile(re.escape(form)) for form in sorted({*plain}, key=len, reverse=True)] + [
        re.compile(re.escape(form), re.IGNORECASE) for form in sorted({*encoded})
    ]
