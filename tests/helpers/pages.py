"""Parses a report's page, and lists texts that would be markup if unescaped."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "{{7*7}}",
    "javascript:alert(1)",
    "W" * 3000,
    "\u202e\u05e9\u05dc\u05d5\u05dd",
    "a\u2028b\u2029c & <b>d</b>",
    "' onmouseover=alert(1) x=\"",
    "<!--<script>",
    "\x00\x1b[31m",
)


class Page(HTMLParser):
    """Collects tags, attributes and text; scripts separately, styles not at all."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else self._inside

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif not self._inside:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())
