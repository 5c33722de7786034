"""Prompts: jinja2 templates from conf/prompt, rendered in a sandbox and versioned by hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tutelage.errors import ConfigError, did_you_mean
from tutelage.records import record_id

KINDS = ("score", "easy", "hard", "analysis", "paraphrase")
"""The templates that a prompt set must hold."""

MORE_KINDS = ("names", "extract", "rewrite")
"""Templates that only some tasks need: for NER the names that sentences are written around, entities read out of a sentence, and a
sentence rewritten around its entities."""


def one_line(text: str, limit: int = 600) -> str:
    """Put untrusted text on one line and cut it to ``limit`` characters, so that it cannot pose as another part of the prompt."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[:limit].rsplit(" ", 1)[0] + " …"


@dataclass(frozen=True, slots=True)
class _Compiled:
    source: str
    template: Any


class PromptSet:
    """Named templates with one rendering function.

    In a template the filter ``line`` puts a text on one line; undefined names are errors.

    Args:
        name: the group option's name.
        templates: source by kind (see :data:`KINDS`).
        text_limit: characters that ``line`` lets through.
        genre: what the texts are from, for the templates that name it.
        cue: what stands before a label, for the templates that name it.
        leads: for NER, words of which some are drawn to stand before the name at a text's beginning.
        links: for NER, words of which some are drawn to stand between names at a text's beginning.
        strategies: for NER, what a rewrite is asked for, name → instruction.

    Attributes:
        text_limit: as given.
        cut: ids of the different texts that ``line`` cut.

    Raises:
        ConfigError: a kind is missing or unknown, or a template does not parse.
    """

    def __init__(
        self,
        name: str,
        templates: Mapping[str, str],
        text_limit: int = 600,
        genre: str = "",
        leads: Sequence[str] = ("",),
        links: Sequence[str] = ("and",),
        cue: str = "",
        strategies: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.text_limit = text_limit
        self.leads = tuple(leads)
        self.links = tuple(links)
        self.strategies = dict(strategies or {})
        environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
        )
        environment.globals |= {"genre": genre, "cue": one_line(cue)}
        environment.filters["line"] = lambda text: self._line(str(text), text_limit)
        self.cut: set[str] = set()
        for kind in templates:
            if kind not in (*KINDS, *MORE_KINDS):
                raise ConfigError(
                    f"prompt '{name}': {did_you_mean('template', kind, (*KINDS, *MORE_KINDS))}"
                )
        if missing := [kind for kind in KINDS if kind not in templates]:
            raise ConfigError(
                f"prompt '{name}' has no template '{missing[0]}'. It must hold: {', '.join(KINDS)}."
            )
        self._compiled: dict[str, _Compiled] = {}
        for kind, source in templates.items():
            try:
                self._compiled[kind] = _Compiled(source, environment.from_string(source))
            except TemplateSyntaxError as error:
                raise ConfigError(
                    f"prompt '{name}', template '{kind}', line {error.lineno}: {error.message}"
                ) from None

    def require(self, kind: str) -> None:
        """Refuse early what would fail at the first rendering.

        Raises:
            ConfigError: there is no template ``kind``, one of :data:`MORE_KINDS`.
        """
        if kind not in self._compiled:
            raise ConfigError(
                f"prompt '{self.name}' has no template '{kind}', which this task needs. Add it, or take prompt=completion_ner."
            )

    def version(self, kind: str) -> str:
        """A short hash of the template's source, kept with every row that was written from it."""
        return record_id(self._compiled[kind].source)[:8]

    def render(self, kind: str, /, **variables: object) -> str:
        """Render a template; the result has no white space at its end, so that a completion starts with a space.

        Raises:
            ConfigError: the template names a variable that is not given, or does something that the sandbox forbids.
        """
        try:
            return str(self._compiled[kind].template.render(**variables)).rstrip()
        except UndefinedError as error:
            known = ", ".join(sorted(variables))
            raise ConfigError(
                f"prompt '{self.name}', template '{kind}': {error.message}. It may use: {known}."
            ) from None
        except SecurityError as error:
            raise ConfigError(
                f"prompt '{self.name}', template '{kind}' is not allowed to do that: {error}"
            ) from None

    def _line(self, text: str, limit: int) -> str:
        line = one_line(text, limit)
        if len(line) < len(" ".join(text.split())):
            self.cut.add(record_id(text))
        return line
