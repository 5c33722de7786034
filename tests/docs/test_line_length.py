"""Tests that the prose of our documents keeps to 100 columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COLUMNS = 100
GENERATED = {ROOT / "docs/reference/configuration.md", ROOT / "docs/how-to/which-method.md"}
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *(page for page in sorted((ROOT / "docs").glob("**/*.md")) if page not in GENERATED),
]


def _too_long(text: str) -> Iterator[str]:
    """Yields lines of prose beyond the columns that could have been broken."""
    in_code = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            in_code = not in_code
        free = in_code or line.lstrip().startswith(("|", "!["))
        words = re.sub(r"^\s*(?:[-*+]|\d+\.|#+|\[\^?\w+\]:)?\s*", "", line)
        if len(line) > COLUMNS and not free and " " in words:
            yield line


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_keeps_to_the_columns(page: Path):
    assert list(_too_long(page.read_text(encoding="utf-8"))) == []


def test_a_long_line_of_prose_is_found_and_a_table_is_not():
    words = "word " * 25
    assert list(_too_long(f"{words}\n| {words} |\n```\n{words}\n```\n- {'x' * 120}")) == [words]
