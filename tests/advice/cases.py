"""A message with the advice that it gives, and what carries the advice out.

The advice comes from the message itself: every setting, command, option and variable that it
names must be used by one of the remedies, with the value that the message gives it, or stand in
``about``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

from tests.advice.sites import NAMED, Site, literals, named_in

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What an attempt said, message by message, and whether it failed."""

    said: tuple[str, ...]
    failed: bool


Attempt = Callable[[Sequence[str]], Outcome]


@dataclass(frozen=True)
class Case:
    """A message and its remedies.

    Attributes:
        site: A distinctive part of the message as the source has it, with {} for a value that is
            put in; several for a message that is put together, the advice last.
        given: The overrides, or words of a command, that provoke it.
        fixes: Remedies, each enough on its own: words that replace the given ones with the same
            key. "key=" takes the value from the message, and "-key" leaves the given word out.
        by: The attempt that is made: "begin", "train", "load" and so on (conftest.py).
        about: What the message names without advising it.
        files: What lies in the folder mine, by name; a run reads its data from there.
    """

    site: str | tuple[str, ...]
    given: tuple[str, ...]
    fixes: tuple[str | tuple[str, ...], ...]
    by: str = "begin"
    about: tuple[str, ...] = ()
    task: str = "classification"
    files: Mapping[str, str | bytes] = field(default_factory=dict)

    @property
    def fragments(self) -> tuple[str, ...]:
        return (self.site,) if isinstance(self.site, str) else self.site

    def __str__(self) -> str:
        return " ".join((self.fragments[0][:40], *self.given))


def check(case: Case, attempt: Attempt) -> None:
    """Provokes the message, follows its advice, and asserts that it is gone."""
    before = attempt(case.given)
    found = [site_of(fragment) for fragment in case.fragments]
    message = provoked(found, before)
    known = [*case.given, *case.about]
    fixes = [_filled(fix, message, known) for fix in case.fixes]
    assert_used(message, known, [word for fix in fixes for word in fix])
    for fix in fixes:
        after = attempt(applied(case.given, fix))
        assert not after.failed, f"{fix} does not help: {after.said}"
        for said in after.said:
            assert not found[-1].pattern.search(said), f"{fix}: {said}"


def provoked(found: Iterable[Site], outcome: Outcome) -> str:
    """The message of an outcome that comes from these sites."""
    for said in outcome.said:
        if all(site.pattern.search(said) for site in found):
            return said
    raise AssertionError(f"{[*map(str, found)]} is not in {outcome.said}")


@cache
def _literals() -> tuple[Site, ...]:
    return tuple(literals())


@cache
def site_of(fragment: str) -> Site:
    """The one message of the source with this part."""
    found = {site.text: site for site in _literals() if fragment in site.text}
    assert len(found) == 1, f"{fragment!r} is a part of {[*map(str, found.values())]}"
    return next(iter(found.values()))


def assert_used(message: str, known: Sequence[str], words: Sequence[str]) -> None:
    """Asserts that all a message names is carried out, or known not to be advice."""
    keys = {_key(word) for word in words} | {word for word in known if "=" not in word}
    exact = {_bare(word) for word in (*words, *known)}
    for name, value in named_in(message):
        if value and "<" not in value and "{" not in value:
            assert _bare(f"{name}={value}") in exact or f"{name}={value}" in exact, (
                f"nothing tries {name}={value} of: {message}"
            )
        else:
            assert name in keys, f"nothing tries {name} of: {message}"


def _bare(word: str) -> str:
    """A word without quotes and blanks, which a message may write in Python's way."""
    plain = re.sub(r"['\"\s]|(?<=\d),(?=\d{3}\b)", "", word)
    return plain.replace("None", "null")


def applied(given: Sequence[str], fix: Sequence[str]) -> list[str]:
    """The words with those of a remedy in place of others with the same key."""
    keys = {_key(word) for word in fix}
    left = [word for word in given if _key(word) not in keys or "=" not in word]
    left = [word for word in left if f"-{_key(word)}" not in fix]
    return [*left, *(word for word in fix if not word.startswith("-") or word.startswith("--"))]


def _filled(fix: str | tuple[str, ...], message: str, known: Sequence[str]) -> tuple[str, ...]:
    words = (fix,) if isinstance(fix, str) else fix
    return tuple(
        from_message(message, word[:-1], known) if word.endswith("=") else word for word in words
    )


def from_message(message: str, key: str, known: Sequence[str] = ()) -> str:
    """The override of ``key`` that a message advises, as the shell would read it."""
    inner = r"(?:[^']|'\"'\"')*"
    form = rf"'{re.escape(key)}={inner}'|\b{re.escape(key)}=\"'.*?'\""
    if quoted := re.search(form, message):
        return shlex.split(quoted[0])[0]
    for found in NAMED.finditer(message):
        word = f"{key}{(found['value'] or '').rstrip('.…')}"
        if found["setting"] == key and not word.endswith(("=", key)) and word not in known:
            return word
    raise AssertionError(f"no value of {key} in: {message}")


def _key(word: str) -> str:
    return (
        word.lstrip("+~").removeprefix("-" if not word.startswith("--") else "").partition("=")[0]
    )


def advises(*fragments: str) -> Callable[[T], T]:
    """Marks a test that follows the advice of these messages; ``heard`` asserts that they come."""

    def marked(test: T) -> T:
        test.fragments = fragments  # type: ignore[attr-defined]
        return test

    return marked
