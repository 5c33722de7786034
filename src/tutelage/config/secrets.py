"""Refuses secrets on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tutelage.errors import ConfigError

_IN_A_DICTIONARY = re.compile(r"[{,]\s*(\w+)\s*:\s*([^,{}]+)")


_LIMITS = ("tokens", "max_tokens", "reply_tokens", "analysis_tokens")
"""Settings that count tokens, so that a wrong value is refused for its type."""


_A_REFERENCE = re.compile(r"['\"]?\$\{[\w.:]+(,\s*null)?\}['\"]?")
"""To a variable of the environment, or to another setting; a default in it would be a secret
again."""


def refuse_secrets(overrides: Sequence[str]) -> None:
    """Refuses a secret on the command line: status.json and a sweep's files hold the command.

    Raises:
        ConfigError: an override looks like a secret.
    """
    from tutelage.runs.manifest import CLASSES, looks_secret

    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if CLASSES in key.split("."):
            continue
        # A dictionary may hold one under a name of its own: student.hub={token: …}.
        pairs = [(key.rpartition(".")[2], value), *_IN_A_DICTIONARY.findall(value)]
        for name, given in pairs:
            harmless = given.strip() in ("", "null") or _A_REFERENCE.fullmatch(
                given.replace("\\", "").strip()
            )
            if looks_secret(name, given) and name not in _LIMITS and not harmless:
                raise ConfigError(
                    f"{key}=… looks like a secret, and the command is written down with the run. "
                    "Put the value into an environment variable and name that one: "
                    f"'{key}=${{oc.env:NAME}}'."
                )
