"""Writing texts with the teacher: one small completion prompt a text, cleaned and checked before anything is made of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.errors import ConfigError
from tutelage.records import Label, Source, record_id
from tutelage.tasks.spans import Span, joined, split_words
from tutelage.teacher.labelling import Draft
from tutelage.teacher.prompts import PromptSet
from tutelage.teacher.protocol import GenerateRequest, Sampling, Teacher


@dataclass(frozen=True, slots=True)
class Shown:
    """A demonstration: a text and, for NER, its mentions."""

    text: str
    mentions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Brief:
    """What one text is asked for.

    Attributes:
        kind: the row's source, and with "init" → "paraphrase" the prompt's name.
        demonstrations: texts shown before it, of the same label; ``parents`` are their ids.
        mentions: for NER the names that the text must hold; the first one is of the type ``label``.
        lead: for NER the words that stand before the first name, where the text begins with both; the teacher goes on from there.
        confused_with: the label that the student takes such texts for, for hard examples.
        style: one cell of the attribute grid, "" for none.
    """

    label: Label
    kind: Source
    demonstrations: tuple[Shown, ...]
    parents: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    lead: str | None = None
    confused_with: Label | None = None
    analysis: str = ""
    style: str = ""

    @property
    def opening(self) -> str:
        """The words that the text begins with."""
        return "" if self.lead is None else f"{self.lead} {self.mentions[0]}".strip()


@dataclass(frozen=True, slots=True)
class Written:
    """A brief with what came of it: a text, or why there is none."""

    brief: Brief
    text: str
    reason: str
    failed: bool
    draw: int
    spans: tuple[Span, ...] = ()

    @property
    def draft(self) -> Draft:
        """The text as a labeller takes it."""
        return Draft(self.text, self.spans)


_NUMBERING = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.):])\s+")
_QUOTES = "\"'“”‘’«»`"


def clean(text: str) -> str:
    """Take list marks and wrapping quotes off a completion's first line."""
    line, before = " ".join(next((line for line in text.splitlines() if line.strip()), "").split()), ""
    while line != before:  # marks inside quotes, quotes after marks, marks twice
        before, line = line, _NUMBERING.sub("", line)
        if len(line) > 1 and line[0] in _QUOTES and line[-1] in _QUOTES:
            line = line[1:-1].strip()
    return line


def find_mention(text: str, mention: str, type: str) -> tuple[Span, ...]:
    """Every place of ``mention`` in ``text``, both as words joined by spaces; empty where it does not stand there."""
    words, name = text.split(" "), joined(mention, split_words(mention)).split(" ")
    found: list[Span] = []
    for start in range(len(words) - len(name) + 1):
        if words[start : start + len(name)] == name and (not found or start >= found[-1].end):
            found.append(Span(start, start + len(name), type))
    return tuple(found)


class Writer:
    """Asks for texts and says why one is not usable.

    Args:
        sampling: how texts are drawn; the stop strings should hold the line's end.
        min_words, max_words: shorter and longer texts are rejected.

    Raises:
        ConfigError: the limits exclude everything.
    """

    def __init__(self, prompts: PromptSet, sampling: Sampling, min_words: int = 3, max_words: int = 60) -> None:
        if not 0 < min_words <= max_words:
            raise ConfigError(f"method.min_words={min_words} and method.max_words={max_words} leave no text possible.")
        self._prompts = prompts
        self._sampling = sampling
        self._limits = (min_words, max_words)

    def template(self, brief: Brief) -> str:
        """The prompt's name."""
        return "paraphrase" if brief.kind == "init" else str(brief.kind)

    def prompt(self, brief: Brief) -> str:
        """The rendered prompt of a brief."""
        return self._prompts.render(
            self.template(brief),
            label=brief.label,
            demonstrations=brief.demonstrations,
            mentions=brief.mentions,
            opening=brief.opening,
            confused_with=brief.confused_with,
            analysis=brief.analysis,
            style=brief.style,
        )

    def version(self, brief: Brief) -> str:
        """The hash of the brief's template."""
        return self._prompts.version(self.template(brief))

    def requests(self, briefs: Sequence[Brief], seed: int, round: int) -> list[GenerateRequest]:
        """One request a brief; the sampling seed of each follows from (``seed``, ``round``, draw)."""
        return [
            GenerateRequest(
                id=str(draw), prompt=self.prompt(brief), sampling=self._sampling, seed=int(record_id("draw", seed, round, draw), 16) % 2**31
            )
            for draw, brief in enumerate(briefs)
        ]

    def write(
        self, teacher: Teacher, briefs: Sequence[Brief], seed: int, round: int, on_reply: Callable[[Any], None] | None = None
    ) -> list[Written]:
        """One text a brief, in order."""
        requests = self.requests(briefs, seed, round)
        replies = teacher.ask(requests, on_reply)
        written = []
        for draw, (brief, reply) in enumerate(zip(briefs, replies, strict=True)):
            if reply.error:
                written.append(Written(brief, "", f"request failed: {reply.error}", failed=True, draw=draw))
                continue
            # Not by words: a completion that goes on with the name's last word must be seen as another name.
            text, spans = clean(brief.opening + reply.text), tuple[Span, ...]()
            fault = self._fault(text, reply.finish_reason)
            if brief.mentions:
                text, fault = joined(text, split_words(text)), fault
                spans = find_mention(text, brief.mentions[0], brief.label.name)
                fault = fault or ("" if spans else f"does not hold {brief.mentions[0]!r}")
            written.append(Written(brief, text, fault, failed=False, draw=draw, spans=spans))
        return written

    def _fault(self, text: str, finish_reason: str) -> str:
        words = len(text.split())
        if not text:
            return "empty"
        if finish_reason == "length":
            return "cut off at max_tokens"
        if words < self._limits[0]:
            return f"under {self._limits[0]} words"
        if words > self._limits[1]:
            return f"over {self._limits[1]} words"
        return ""
