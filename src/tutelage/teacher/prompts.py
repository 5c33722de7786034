"""Prompts: jinja2 templates of conf/prompt, rendered in a sandbox and versioned by hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from traceback import walk_tb
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tutelage.errors import ConfigError, did_you_mean
from tutelage.records import record_id

KINDS = ("score", "easy", "hard", "analysis", "paraphrase")
"""Templates required in every prompt set."""

MORE_KINDS = ("names", "extract", "rewrite")
"""Templates required by some tasks only.

For NER: "names" invents names to write sentences around, "extract" lists the entities of a
sentence, and "rewrite" rewrites a sentence around its entities.
"""

_LONGEST = 10_000_000
"""A rendered prompt has at most so many characters; a template without an end has more."""
_HIGHEST_POWER = 1000


def one_line(text: str, limit: int = 600) -> str:
    """Puts an untrusted text on one line, so that it cannot pose as another part of the prompt.

    Args:
        text: The text; every run of white space becomes one space.
        limit: Longest result, in characters. A longer text is cut between words and marked with
            " …", which comes on top of the limit.
    """
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[:limit].rsplit(" ", 1)[0] + " …"


class _Sandbox(ImmutableSandboxedEnvironment):
    """A sandbox that also refuses a product or a power that would fill the memory."""

    intercepted_binops = frozenset(("*", "**"))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute ``left operator right``."""
        longest = max((len(one) for one in (left, right) if hasattr(one, "__len__")), default=0)
        times = max((abs(one) for one in (left, right) if isinstance(one, int | float)), default=1)
        if longest * times > _LONGEST or (operator == "**" and times > _HIGHEST_POWER):
            raise SecurityError(f"the result of {operator} would be too large")
        return super().call_binop(context, operator, left, right)


@dataclass(frozen=True, slots=True)
class _Compiled:
    source: str
    template: Any


class PromptSet:
    """A named set of jinja2 templates with one rendering function.

    Templates run in a sandbox, and undefined names are errors. The filter ``line`` puts a text on
    one line (see :func:`one_line`); ``{{ genre }}`` and ``{{ cue }}`` are available everywhere.

    Args:
        name: Name of the option in the group ``prompt``, for messages.
        templates: Template sources by kind. All of :data:`KINDS` are required, those of
            :data:`MORE_KINDS` only by some tasks.
        text_limit: Longest text that the filter ``line`` passes on, in characters. Longer texts are
            cut, and counted in ``cut``.
        genre: Description of the texts ("messages of a social network"), for templates that use
            ``{{ genre }}``.
        leads: For NER: openings of generated sentences. One of them is drawn and placed before the
            name that a text begins with; "" begins with the name itself.
        links: For NER: words to place between the names that a text begins with. One of them is
            drawn before each further name.
        cue: Word right before a label ("Answer"), for templates that use ``{{ cue }}``. Small
            teachers are very sensitive to it.
        strategies: For NER: instructions for rewriting a sentence (LLM-DA), by name.

    Attributes:
        cut: Ids of the distinct texts that the filter ``line`` has cut.

    Raises:
        ConfigError: A kind is missing or unknown, or a template has a syntax error.
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
        # Templates come from users, and their variables from data: neither may run code.
        environment = _Sandbox(
            undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
        )
        environment.globals |= {"genre": genre, "cue": one_line(cue)}
        environment.filters["line"] = lambda text: self._line(str(text), text_limit)
        self.cut: set[str] = set()
        # Check the kinds before anything is compiled, so that a misspelt one is named first.
        for kind in templates:
            if kind not in (*KINDS, *MORE_KINDS):
                raise ConfigError(
                    f"prompt '{name}': {did_you_mean('template', kind, (*KINDS, *MORE_KINDS))}"
                )
        if missing := [kind for kind in KINDS if kind not in templates]:
            raise ConfigError(
                f"prompt '{name}' has no template '{missing[0]}'. Required: {', '.join(KINDS)}."
            )
        # Syntax errors surface here instead of at the first rendering.
        self._compiled: dict[str, _Compiled] = {}
        for kind, source in templates.items():
            try:
                self._compiled[kind] = _Compiled(source, environment.from_string(source))
            except TemplateSyntaxError as error:
                raise ConfigError(
                    f"prompt '{name}', template '{kind}', line {error.lineno}: {error.message}"
                ) from None
            except (RecursionError, TypeError) as error:
                raise ConfigError(
                    f"prompt '{name}', template '{kind}' cannot be compiled "
                    f"({type(error).__name__}: {error}). Write it as plain jinja2 text."
                ) from None

    def require(self, kind: str) -> None:
        """Checks that a template exists, before the run starts rather than at the first rendering.

        Args:
            kind: One of :data:`MORE_KINDS`.

        Raises:
            ConfigError: The set has no such template.
        """
        if kind not in self._compiled:
            raise ConfigError(
                f"prompt '{self.name}' has no template '{kind}', which this task needs. Add it, or "
                "use prompt=completion_ner."
            )

    def version(self, kind: str) -> str:
        """Returns a hash (8 hex digits) of a template's source.

        Every row written from the template keeps it.
        """
        return record_id(self._compiled[kind].source)[:8]

    def render(self, kind: str, /, **variables: object) -> str:
        """Renders a template.

        Args:
            kind: The template.
            **variables: Its variables.

        Returns:
            The prompt without trailing white space, so that completions begin with a space.

        Raises:
            ConfigError: The template uses an undefined variable or something that the sandbox
                forbids, or it fails.
        """
        try:
            return self._rendered(kind, variables).rstrip()
        except UndefinedError as error:
            known = ", ".join(sorted(variables))
            raise ConfigError(
                f"prompt '{self.name}', template '{kind}': {error.message}. It may use: {known}."
            ) from None
        except SecurityError as error:
            raise ConfigError(
                f"prompt '{self.name}', template '{kind}' does something the sandbox forbids: "
                f"{error}. Remove it from the template."
            ) from None
        except Exception as error:
            # A template can divide by zero, add a number to a text, call itself without end, …
            place = f"prompt '{self.name}', template '{kind}'{_line_of(error)}"
            reason = (
                "it includes or imports another template, and a prompt is one text"
                if "no loader" in str(error)
                else f"{type(error).__name__}: {error}"
            )
            raise ConfigError(f"{place} fails: {reason}. Correct the template.") from error

    def _rendered(self, kind: str, variables: Mapping[str, object]) -> str:
        pieces, length = [], 0
        for piece in self._compiled[kind].template.generate(**variables):
            pieces.append(piece)
            length += len(piece)
            if length > _LONGEST:
                raise ValueError(f"the text is longer than {_LONGEST:,} characters")
        return "".join(pieces)

    def _line(self, text: str, limit: int) -> str:
        line = one_line(text, limit)
        if len(line) < len(" ".join(text.split())):
            self.cut.add(record_id(text))
        return line


def _line_of(error: Exception) -> str:
    """Returns ", line N" of the template in which an error was raised."""
    lines = [
        line
        for frame, line in walk_tb(error.__traceback__)
        if frame.f_code.co_filename == "<template>"
    ]
    return f", line {lines[-1]}" if lines else ""
