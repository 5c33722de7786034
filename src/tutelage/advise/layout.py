"""How ``tutelage advise`` lays its text out in the terminal."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.markup import escape

INDENT = 10
"""Columns left of every line, for the names of the paragraphs."""


def print_line(console: Console, name: str, text: str) -> None:
    """Prints a paragraph behind its name, with every line indented."""
    wrapped = textwrap.fill(text, console.width - INDENT, break_on_hyphens=False)
    indented = textwrap.indent(wrapped, " " * INDENT)[INDENT:]
    console.print(f"[bold]{name:<{INDENT}}[/bold]{escape(indented)}", soft_wrap=True)


def print_command(console: Console, command: str) -> None:
    """Prints a command to copy, on one line however long it is."""
    console.print(f"\n[bold]run it[/bold]\n  {escape(command)}", soft_wrap=True)


def count(number: int, noun: str) -> str:
    """Returns a number with its noun, as in "1 shot" and "1,000 shots"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def capital(text: str) -> str:
    """Returns the text with a capital first letter, and the others as they are."""
    return text[0].upper() + text[1:]
