"""Refuses secrets in the configuration: config.yaml, status.json and a sweep's files hold it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tutelage.errors import ConfigError
from tutelage.runs.manifest import CLASSES
from tutelage.runs.sensitive import (
    has_secret_form,
    looks_secret,
    may_be_a_variable,
    names_a_variable,
)

_PAIR = re.compile(r"""['"]?([\w.\-]+)['"]?\s*[:=]\s*['"]?([^,{}\[\]'"]+)""")
"""A name with its value, in a text that Hydra cannot read."""


def refuse_secrets(overrides: Sequence[str]) -> None:
    """Refuses a secret on the command line.

    Raises:
        ConfigError: An override looks like a secret. The message does not contain it.
    """
    for override in overrides:
        key, equals, _ = override.lstrip("+~").partition("=")
        if has_secret_form(key):
            raise ConfigError(_looks_secret("An argument", "name=${oc.env:NAME}"))
        if CLASSES in key.split("."):
            continue
        for name, given in _values(key.rpartition(".")[2], override) if equals else ():
            if names_a_variable(name) and not may_be_a_variable(str(given)):
                raise ConfigError(_no_variable(key))
            if looks_secret(name, given):
                raise ConfigError(_looks_secret(f"{key}=…", f"{key}=${{oc.env:NAME}}"))


def check_variables(values: Mapping[str, Any], path: str = "") -> None:
    """Checks that each setting such as api_key_env names a variable, wherever it was set.

    Args:
        values: Plain values of the configuration.
        path: Setting with these values; "" for the whole configuration.

    Raises:
        ConfigError: A setting holds something else, which is probably the secret itself.
    """
    for key, value in values.items():
        setting = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            check_variables(value, setting)
        elif names_a_variable(str(key)):
            # A list has one variable for each server.
            for name in value if isinstance(value, list | tuple) else [value]:
                if not may_be_a_variable(str(name or "")):
                    raise ConfigError(_no_variable(setting))


def _values(setting: str, override: str) -> Iterator[tuple[str, Any]]:
    """Yields the plain values of an override, each with its name."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(override)
        swept = parsed.is_sweep_override()
        yield from _pairs(setting, [*parsed.sweep_string_iterator()] if swept else parsed.value())
    except (HydraException, NotImplementedError):
        text = override.partition("=")[2]
        yield setting, text
        yield from _PAIR.findall(text)


def _pairs(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key != CLASSES:
                yield from _pairs(str(key), inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _pairs(name, inner)
    else:
        yield name, value


def _looks_secret(what: str, instead: str) -> str:
    message = (
        f"{what} looks like a secret, and the command is written down with the run. Put the value "
        f"into an environment variable and name that one: '{instead}'."
    )
    if what.startswith("teacher."):
        message += " teacher=server reads its key from the variable that teacher.api_key_env names."
    return message


def _no_variable(setting: str) -> str:
    return (
        f"{setting} must be the NAME of an environment variable, such as OPENAI_API_KEY, and what "
        "was given looks like the key itself, which would be written down with the run. Put the "
        "key into a variable (export OPENAI_API_KEY=…) and give its name: "
        f"{setting}=OPENAI_API_KEY."
    )
