"""Overrides as people type them, in the form that Hydra's grammar reads.

The grammar gives ``= ( ) [ ] { } , : ' " $ ~`` and blanks meanings of their own, and has no letters
beyond a-z. Where a setting is a path or a name, the value is put in quotes here, so that any path
can be typed as it is. For every other setting the error shows the form with quotes.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from typing import Any

from tutelage.errors import ConfigError

_PATHS = frozenset(
    {"path", "dir", "save_dir", "default_root_dir", "model", "tokenizer", "lora"}
    | {"cache", "record", "recording"}
)
"""Settings whose value is a path (or a model's name), by the last part of their key."""

_TEXT = frozenset({"name"})
"""Settings whose value is text whatever it looks like, by the last part of their key."""

_LISTS = frozenset({"callbacks", "logger"})
"""Groups of which several options may be chosen."""

_KEY = re.compile(r"(?:~|\+{0,2})(?:[A-Za-z_$][\w$./@-]*)", re.ASCII)
_PLAIN = re.compile(r"[\w/\\+.$%*@?|: -]", re.ASCII)
"""Signs that Hydra reads as themselves outside quotes."""

_OPEN = ("teacher.engine.", "labelling.teachers.")
"""Groups that take keys which no file of conf lists."""

_REFUSED = object()


def readable(overrides: Sequence[str], *, many: bool = False) -> list[str]:
    """Puts paths and names in quotes where Hydra would not read them as they are typed.

    A leading ``~`` in a path is the home folder. Overrides that need no change are returned as
    they are, so a second pass changes nothing.

    Args:
        overrides: "key=value" as a person types them.
        many: they are of a multirun, where a comma separates values.

    Raises:
        ConfigError: Hydra cannot read an override; the message shows it in a form that works.
    """
    return [_readable(one, many) for one in overrides]


def quoted(text: str, mark: str = '"') -> str:
    """Returns a value that Hydra reads as exactly this text.

    Args:
        text: Any text.
        mark: The quotation mark, unless the text holds it and not the other one.
    """
    # OmegaConf takes ${…} for a reference, unless an odd number of backslashes stands before it.
    literal = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + r"\${", text)
    return _in_quotes(literal, mark)


def _in_quotes(text: str, mark: str = '"') -> str:
    """The same with references left as references."""
    other = "'" if mark == '"' else '"'
    if mark in text and other not in text:
        mark = other
    # A backslash is special only before a quotation mark, the closing one included.
    text = re.sub(rf"\\+(?={mark}|$)", lambda found: found[0] * 2, text)
    return mark + text.replace(mark, f"\\{mark}") + mark


def as_text(value: str) -> str:
    """Returns a value as it is where Hydra can read it, and in quotes where it cannot."""
    return _put_in_quotes(value) if _read(value) is _REFUSED else value


def _put_in_quotes(value: str) -> str:
    """The value in quotes; ``${…}`` stays a reference where it can be one."""
    referring = _in_quotes(value)
    return quoted(value) if _read(referring) is _REFUSED else referring


def _typed(key: str, value: str) -> str:
    """An override as a person types it in a shell."""
    return shlex.quote(f"{key}={value}")


def _readable(override: str, many: bool) -> str:
    if override.startswith(_OPEN):
        # Hydra refuses a new key without a plus, and an old one with a single plus.
        override = f"++{override}"
    key, equals, value = override.partition("=")
    deletes = key.startswith("~") and not equals
    if not _KEY.fullmatch(key) or not (equals or deletes) or not _parses(f"{key}=x"):
        raise ConfigError(_no_override(override))
    last = key.lstrip("+").rpartition(".")[2]
    is_text = key == "resume" or last in _PATHS | _TEXT
    if value and is_text:
        value = _text(key, value, many=many, path=last not in _TEXT)
        override = f"{key}={value}"
    if not equals or not value:
        return override
    reading = _read(value)
    if reading is _REFUSED:
        raise ConfigError(_refusal(key, value, many))
    if not many and _is_list_of_values(reading):
        listed = f"; for a list, {_typed(key, f'[{value}]')}" if key in _LISTS else ""
        one = _typed(key, _put_in_quotes(value))
        raise ConfigError(
            f"{override}: a comma separates the values of several runs, which need "
            f"`tutelage train -m`. If it is part of one text, write {one}{listed}."
        )
    return override


def _text(key: str, value: str, *, many: bool, path: bool) -> str:
    """The value of a setting that is text, in Hydra's grammar."""
    typed = os.path.expanduser(value) if path else value
    reading = _read(typed)
    if reading is None or isinstance(reading, bool):
        return typed
    several = many and "," in typed
    if path and not (several and reading is not _REFUSED) and os.path.lexists(typed):
        # A path that exists as it is typed is the one that is meant.
        return _as_it_is(typed, reading)
    if several and (reading is _REFUSED or _is_list_of_values(reading)):
        return _each(key, typed, reading, path=path)
    if reading is _REFUSED or isinstance(reading, int | float | list | dict):
        return _put_in_quotes(typed)
    return typed


def _as_it_is(text: str, reading: Any) -> str:
    exact = type(reading) is str and reading == text and "${" not in text
    return text if exact else quoted(text)


def _each(key: str, value: str, reading: Any, *, path: bool) -> str:
    """The same for values that commas separate."""
    parts = value.split(",")
    if reading is not _REFUSED and len(parts) != len(reading.list):
        return value  # a comma in quotes, or in a list
    if not all(_is_whole(part) and part.count('"') % 2 == 0 for part in parts):
        raise ConfigError(_refusal(key, value, many=True))
    return ",".join(_text(key, part.strip(), many=False, path=path) for part in parts)


def _read(value: str) -> Any:
    """What Hydra reads in a value; ``_REFUSED`` where it reads nothing."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import QuotedString
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from omegaconf.grammar_parser import parse

    if not value:
        return value
    try:
        reading = OverridesParser.create().parse_override(f"key={value}")._value
        text = reading.text if isinstance(reading, QuotedString) else reading
        if isinstance(text, str) and "${" in text:
            parse(text)
        return reading
    except (HydraException, OmegaConfBaseException):
        return _REFUSED


def _parses(override: str) -> bool:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def _is_list_of_values(reading: Any) -> bool:
    """Whether commas alone separate several values: ``a,b``, but not ``choice(a, b)``."""
    from hydra.core.override_parser.types import ChoiceSweep

    return isinstance(reading, ChoiceSweep) and bool(reading.simple_form)


def _is_whole(part: str) -> bool:
    """Whether the brackets of a part come in pairs."""
    return all(part.count(left) == part.count(right) for left, right in ("()", "[]", "{}"))


def _no_override(override: str) -> str:
    key, equals, _ = override.partition("=")
    if not equals:
        return (
            f"{override!r} is no override: write key=value, as in seed=2. If it is the rest of a "
            "value with a blank in it, put the whole override in quotes, as in 'data.path=my data'."
        )
    return (
        f"{override!r}: {key!r} is no key of a setting. A key has letters from a to z, digits, "
        "underscores and dots, as in data.path=…; `tutelage train --cfg job` prints every setting."
    )


def _refusal(key: str, value: str, many: bool) -> str:
    """Says which signs need quotes, and how the override is written with them."""
    form, refused = _typed(key, _put_in_quotes(value)), [value]
    # A list, a mapping or several values are quoted part by part.
    if value[0] + value[-1] in ("[]", "{}"):
        pieces, meant = re.split(r"([\[\]{},:])", value), "a text"
    else:
        pieces, meant = re.split("(,)" if many else "$^", value), "one value with a comma in it"
    pieces[::2] = [as_text(piece.strip()) for piece in pieces[::2]]
    by_part = "".join(pieces)
    if len(pieces) > 1 and _is_whole(value) and _read(by_part) is not _REFUSED:
        refused = [piece.strip("\"'") for piece in pieces[::2] if piece[:1] in ("'", '"')]
        form = f"{_typed(key, by_part)} or {form} for {meant}"
    signs = dict.fromkeys(sign for sign in "".join(refused) if not _PLAIN.fullmatch(sign))
    alone = "" if _is_whole(value) else " A bracket in it has no partner."
    return (
        f"{key}={value} cannot be read: Hydra's grammar of overrides allows "
        f"{' '.join(signs) or 'it'} only inside quotes.{alone} Write {form}."
    )
