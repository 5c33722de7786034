"""Markdown and YAML of cards, safe for values that nobody has checked.

Names of labels, descriptions and texts come from data, from a model, or from a run's folder that
somebody else sent. A template's every value is escaped, as in the pages of the report, unless it
is :class:`Markdown` already.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.runs.sensitive import has_secret_form

if TYPE_CHECKING:
    from jinja2 import Environment

_LONGEST = 400
"""Characters of a value that a card shows."""
_MARKS = re.compile(r"([\\`*_\[\]{}#|~$])")
_AT_START = re.compile(r"\A(?:([-+=:])|(\d{1,9})([.)]))")
_SCHEME = re.compile(r":(?=//)")
_PATH = re.compile(
    r"""(?:file://|(?<![\w./\\<]))(?:~|\.\.?)?/(?:[^\s/'",;:|<>]+/)*([^\s/'",;:|<>]+)/?"""
)
"""A path of this machine, its last part apart; "and/or" and addresses of the web are none."""


class Markdown(str):
    """A text that is Markdown already, and is not escaped again."""

    __slots__ = ()


def one_line(value: object, longest: int = _LONGEST) -> str:
    """Return a value in one line, without invisible characters.

    Args:
        value: The value.
        longest: Characters to keep.
    """
    kept = (
        # Controls, marks of direction, and halves of characters have no place in a card.
        " " if unicodedata.category(one)[0] in "CZ" else one
        for one in str(value)[: 4 * longest]
    )
    text = " ".join("".join(kept).split())
    return text if len(text) <= longest else f"{text[:longest]}…"


def public(value: object) -> str:
    """Return a value in one line without what must not leave this machine.

    Of a path only its last part stays, and a text with a secret becomes "***".
    """
    if has_secret_form(str(value)):
        return "***"
    return one_line(_PATH.sub(r"\1", str(value)))


def escaped(value: object) -> Markdown:
    """Return a value as Markdown that shows it and nothing else."""
    text = _MARKS.sub(r"\\\1", public(value))
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _SCHEME.sub(r"\\:", text)
    return Markdown(_AT_START.sub(lambda found: _at_start(*found.groups()), text))


def _at_start(mark: str | None, number: str | None, point: str | None) -> str:
    return f"\\{mark}" if mark else f"{number}\\{point}"


def code(value: object) -> Markdown:
    """Return a value as a span of code for a cell of a table."""
    text = public(value)
    if not text:
        return Markdown("–")
    # A fence is longer than every run of backticks inside.
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if text[0] == "`" or text[-1] == "`" else ""
    # A table is cut at its bars before code is found.
    return Markdown(f"{fence}{space}{text}{space}{fence}".replace("|", "\\|"))


def front_matter(record: Mapping[str, Any]) -> Markdown:
    """Return the YAML at the head of a card, for the Hugging Face hub.

    Args:
        record: Plain values; every text in it is made public first.
    """
    import yaml

    text = yaml.safe_dump(_cleaned(record), sort_keys=False, allow_unicode=True, width=10**6)
    return Markdown(f"---\n{text}---\n")


def _cleaned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {public(key): _cleaned(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(inner) for inner in value]
    return public(value) if isinstance(value, str) else value


def card_environment() -> Environment:
    """Return the Jinja environment of the cards: it escapes every value as Markdown."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    made.filters |= {
        "code": code,
        "count": lambda value: Markdown(f"{value:,}"),
        "percent": lambda value: Markdown(f"{100 * value:.1f} %"),
        "decimal": lambda value: Markdown(f"{value:,.1f}"),
        "literal": lambda value: Markdown(one_line(value, 10 * _LONGEST)),
    }
    return made


def _shown(value: object) -> object:
    return value if isinstance(value, Markdown | int) else escaped(value)
