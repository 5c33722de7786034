"""The page "Which method should I use?" is that of the measurements."""

from __future__ import annotations

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_that_of_the_measurements() -> None:
    spec = importlib.util.spec_from_file_location("which_method", DOCS / "which_method.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    there = (DOCS / "how-to" / "which-method.md").read_text(encoding="utf-8")
    made = module.page()
    assert there == made, "run: python docs/which_method.py > docs/how-to/which-method.md"
    # What the issue of the page is: a small teacher, a pool, and five shots of entities.
    assert "| 1 | 1,000 texts | 0.1 billion | LLKD: `method=llkd` |" in made
    assert "| 5 | none | 0.1 billion | the shots alone: `method=shots` |" in made
