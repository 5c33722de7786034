"""The messages of the source that advise something: settings, options, commands, variables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.helpers.options import GROUPS

import tutelage

SOURCE = Path(tutelage.__file__).parent
_GROUP = "|".join([*GROUPS, "hydra"])
_TOP = "shots|seed|threads|resume|keep_checkpoint|name"
_VERBS = (
    "train|advise|plan|label|predict|export|push|serve-student|guarantee|audit|review|report"
    "|reproduce|wandb-dashboard|assets"
    "|serve|doctor"
)
_VALUE = r"(?:\d+(?:,\d{3})+|\[[^\]]*\]|\"[^\"]*\"|'[^']*'|[^\s,;:()'\"`\[\]]*)"
NAMED = re.compile(
    rf"(?<![\w./@$-])\+?(?:"
    rf"(?P<setting>(?:{_GROUP})\.[a-z_]\w*(?:\.[a-z_]\w*)*|(?:{_GROUP})(?==)|(?:{_TOP})(?==))"
    rf"(?P<value>={_VALUE})?"
    rf"|(?P<verb>tutelage (?:{_VERBS}))\b"
    rf"|(?P<option>--[a-z][a-z-]+)"
    rf"|(?P<variable>(?:TUTELAGE|HF|CUDA|OPENAI)_[A-Z_]+)\b)"
)
"""A setting with its value, a command, an option of one, or an environment variable."""
_FILES = ("py", "json", "jsonl", "html", "yaml", "md", "j2")
"""What stands behind a group's name and a dot in the name of a file or of an attribute."""


def named_in(text: str) -> Iterator[tuple[str, str]]:
    """What a message names, each with the value that the message gives it, or ""."""
    for found in NAMED.finditer(text):
        name = found["setting"] or found["verb"] or found["option"] or found["variable"]
        if name.rpartition(".")[2] not in _FILES:
            yield name, (found["value"] or "").rstrip(".…<").removeprefix("=")


@dataclass(frozen=True)
class Site:
    """A literal of the source that names something to set or to do."""

    module: str
    line: int
    parts: tuple[str | None, ...]
    """The literal's fixed texts; None where a value is put in."""

    @property
    def text(self) -> str:
        return "".join("{}" if part is None else part for part in self.parts)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        fixed = [r"[\s\S]*?" if part is None else re.escape(part.strip(" ")) for part in self.parts]
        fixed = [re.sub(r"%d|%s", r"[\\s\\S]*?", one) for one in fixed]
        # A message breaks lines and doubles blanks where the literals of a sentence meet.
        return re.compile(r"\s*".join(fixed))

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.text!r}"


_NO_MESSAGES = {
    # The help of the command line, which tests/unit/test_cli.py reads.
    "arguments.py": ("add_argument", "add_parser", "ArgumentParser"),
}


def literals() -> list[Site]:
    """Every literal of the source with a blank in it, docstrings left out."""
    return [site for path in sorted(SOURCE.rglob("*.py")) for site in _literals_of(path)]


def sites() -> list[Site]:
    """Every message of the source that names a setting, a command, an option or a variable."""
    return [site for site in literals() if any(named_in(site.text))]


def _literals_of(path: Path) -> Iterator[Site]:
    module = path.relative_to(SOURCE).as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    passed_over = {id(node) for node in _no_messages(tree, _NO_MESSAGES.get(module, ()))}
    for node in ast.walk(tree):
        if id(node) in passed_over:
            continue
        if isinstance(node, ast.JoinedStr):
            passed_over |= {id(inner) for inner in ast.walk(node)}
            parts = tuple(
                str(one.value) if isinstance(one, ast.Constant) else None for one in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            parts = (node.value,)
        else:
            continue
        site = Site(module, node.lineno, parts)
        # A message is a sentence or a part of one; keys and flags have no blank in them.
        if " " in site.text.strip():
            yield site


def _no_messages(tree: ast.Module, calls: tuple[str, ...]) -> Iterator[ast.AST]:
    """Docstrings and what stands in calls of these names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if name in calls:
                yield from ast.walk(node)
