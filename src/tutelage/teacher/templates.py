"""Single jinja2 templates: compiled and rendered in a sandbox, with errors that name the place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from traceback import walk_tb
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tutelage.errors import ConfigError

_LONGEST = 10_000_000
"""A rendered prompt has at most so many characters; a template without an end has more."""
_HIGHEST_POWER = 1000


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


def sandbox(filters: Mapping[str, Callable[..., Any]], **constants: object) -> Any:
    """Returns an environment for templates of users over texts of the data.

    Neither can run code, and undefined names are errors.

    Args:
        filters: Filters by name.
        **constants: Variables of every template.
    """
    environment = _Sandbox(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= constants
    environment.filters |= filters
    return environment


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template.

    Attributes:
        place: Its setting, for messages ("prompt.chat.score.system").
        source: Its text.
        compiled: The template of jinja2.
    """

    place: str
    source: str
    compiled: Any

    @classmethod
    def of(cls, environment: Any, place: str, source: str) -> Template:
        """Compiles a template.

        Raises:
            ConfigError: It has a syntax error.
        """
        try:
            return cls(place, source, environment.from_string(source))
        except TemplateSyntaxError as error:
            raise ConfigError(f"{place}, line {error.lineno}: {error.message}") from None
        except (RecursionError, TypeError) as error:
            raise ConfigError(
                f"{place} cannot be compiled ({type(error).__name__}: {error}). Write it as plain "
                "jinja2 text."
            ) from None

    def render(self, variables: Mapping[str, object]) -> str:
        """Renders the template.

        Returns:
            The text without trailing white space, so that completions begin with a space.

        Raises:
            ConfigError: The template uses an undefined variable or something that the sandbox
                forbids, or it fails.
        """
        try:
            return self._rendered(variables).rstrip()
        except UndefinedError as error:
            known = ", ".join(sorted(variables))
            raise ConfigError(f"{self.place}: {error.message}. It may use: {known}.") from None
        except SecurityError as error:
            raise ConfigError(
                f"{self.place} does something the sandbox forbids: {error}. Remove it from the "
                "template."
            ) from None
        except Exception as error:
            # A template can divide by zero, add a number to a text, call itself without end, …
            reason = (
                "it includes or imports another template, and a prompt is one text"
                if "no loader" in str(error)
                else f"{type(error).__name__}: {error}"
            )
            raise ConfigError(
                f"{self.place}{_line_of(error)} fails: {reason}. Correct the template."
            ) from error

    def _rendered(self, variables: Mapping[str, object]) -> str:
        pieces, length = [], 0
        for piece in self.compiled.generate(**variables):
            pieces.append(piece)
            length += len(piece)
            if length > _LONGEST:
                raise ValueError(f"the text is longer than {_LONGEST:,} characters")
        return "".join(pieces)


def _line_of(error: Exception) -> str:
    """Returns ", line N" of the template in which an error was raised."""
    lines = [
        line
        for frame, line in walk_tb(error.__traceback__)
        if frame.f_code.co_filename == "<template>"
    ]
    return f", line {lines[-1]}" if lines else ""
