"""MkDocs hook: pages with wide tables give them the place of a side bar."""

from __future__ import annotations

from typing import Any

HIDDEN = {
    "index.md": ["navigation", "toc"],
    "choices.md": ["navigation"],
    "changelog.md": ["navigation"],
    "results/options.md": ["toc"],
}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Hides the side bars of some pages, which a front matter would show on GitHub."""
    page.meta.setdefault("hide", HIDDEN.get(page.file.src_uri, []))
    return markdown
