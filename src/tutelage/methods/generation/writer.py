"""Writing texts with the teacher: one small completion prompt a text, cleaned and checked before anything is made of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.errors import ConfigError
from tutelage.labelling.base import Draft
from tutelage.labelling.ner_candidates import capitalised
from tutelage.records import Label, Source, derive_seed
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.spans import Span, joined, split_words
from tutelage.teacher.base import GenerateRequest, Sampling, Teacher
from tutelage.teacher.prompts import PromptSet


@dataclass(frozen=True, slots=True)
class Shown:
    """A demonstration: a text and, for NER, its mentions."""

    text: str
    mentions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationSpec:
    """What one text is asked for.

    Attributes:
        kind: the row's source, and with "init" → "paraphrase" the prompt's name.
        demonstrations: texts shown before it, of the same label; ``parents`` are their ids.
        mentions: for NER the names that the text must hold; the first one is of the type ``label``.
        types: the type of each, where the text must hold all of them; without types it must hold the first. "O" stands for words that the
            student took for a name of ``label`` and that are none.
        lead: for NER the words that stand before the first name, where the text begins with both; the teacher goes on from there.
        links: for NER the words before each further name, where the text begins with them all. A labelling query says what these are, as it
            does of any other name in the text; without one they are of their ``types``.
        confused_with: the label that the student takes such texts for, for hard examples.
        style: one cell of the attribute grid, "" for none.
        template: the prompt's name where it does not follow from the kind; ``instruction`` is what it says to do.
        detail: more of why the row looks as it does, as (name, value).
    """

    label: Label
    kind: Source
    demonstrations: tuple[Shown, ...]
    parents: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    lead: str | None = None
    links: tuple[str, ...] = ()
    confused_with: Label | None = None
    analysis: str = ""
    style: str = ""
    template: str = ""
    instruction: str = ""
    detail: tuple[tuple[str, str], ...] = ()

    @property
    def asked(self) -> str:
        """What the text, or for NER its first mention, is to be labelled as."""
        return self.types[0] if self.types else self.label.name

    @property
    def no_name(self) -> str:
        """The words that the text is written around where they are no name, else ""."""
        return self.mentions[0] if OUTSIDE in self.types else ""

    @property
    def opening(self) -> str:
        """The words that the text begins with."""
        if self.lead is None:
            return ""
        further = (
            f" {link} {name}" for link, name in zip(self.links, self.mentions[1:], strict=False)
        )
        return f"{self.lead} {self.mentions[0]}{''.join(further)}".strip()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A brief with what came of it: a text, or why there is none.

    Attributes:
        spans: for NER the places of what the brief asks for; ``kept`` are the mentions of other types, and with several names all further
            ones.
        free: made without a request.
    """

    spec: GenerationSpec
    text: str
    reason: str
    failed: bool
    draw: int
    spans: tuple[Span, ...] = ()
    kept: tuple[Span, ...] = ()
    free: bool = False

    @property
    def draft(self) -> Draft:
        """The text as a labeller takes it."""
        if self.spec.links:
            return Draft(
                self.text, self.spans, named=tuple((span.start, span.end) for span in self.kept)
            )
        return Draft(self.text, self.spans, self.kept)

    @property
    def entities(self) -> tuple[Span, ...]:
        """The text's entities where the brief is believed."""
        return tuple(span for span in (*self.spans, *self.kept) if span.type != OUTSIDE)


_NUMBERING = re.compile(r"^\s*(?:[-*•]|\(?\d{1,2}[.):])\s+")
_SENTENCE_END = re.compile(r"\w{3,}[\"')\]]*[.!?][\"')\]]*(?=\s|$)")
_QUOTES = "\"'“”‘’«»`"


def clean(text: str) -> str:
    """Take list marks and wrapping quotes off a completion's first line."""
    line, before = (
        " ".join(next((line for line in text.splitlines() if line.strip()), "").split()),
        "",
    )
    while line != before:  # marks inside quotes, quotes after marks, marks twice
        before, line = line, _NUMBERING.sub("", line)
        if len(line) > 1 and line[0] in _QUOTES and line[-1] in _QUOTES:
            line = line[1:-1].strip()
    return line


def first_sentence(text: str, start: int = 0) -> str:
    """The text up to its first sentence end from ``start`` on, "" where there is none.

    An end is a stop after three letters or more ("St." and "J." end nothing).
    """
    found = _SENTENCE_END.search(text, start)
    return text[: found.end()] if found else ""


def find_mention(text: str, mention: str, type: str) -> tuple[Span, ...]:
    """Every place of ``mention`` in ``text``, both as words joined by spaces; empty where it does not stand there."""
    words, name = text.split(" "), joined(mention, split_words(mention)).split(" ")
    found: list[Span] = []
    for start in range(len(words) - len(name) + 1):
        if words[start : start + len(name)] == name and (not found or start >= found[-1].end):
            found.append(Span(start, start + len(name), type))
    return tuple(found)


def find_mentions(text: str, wanted: Sequence[tuple[str, str]]) -> tuple[list[Span], list[str]]:
    """Every place of every (mention, type), and the mentions that stand nowhere.

    Longer ones are found first, so that a name is not seen inside another one.
    """
    found: list[Span] = []
    missing = []
    for mention, type in sorted(dict.fromkeys(wanted), key=lambda pair: -len(pair[0])):
        indices = [
            span
            for span in find_mention(text, mention, type)
            if all(span.end <= one.start or span.start >= one.end for one in found)
        ]
        found += indices
        if not indices:
            missing.append(mention)
    return sorted(found), missing


def whole_names(words: Sequence[str], spans: Sequence[Span]) -> list[Span]:
    """``spans`` with the capitalised words that follow each of them directly, up to the next one.

    A text that goes on from "Petco" with "Park" speaks of Petco Park: one in seven of a small teacher's does so. Words that are no name
    stay as they are.
    """
    whole = []
    for number, span in enumerate(spans):
        end, limit = span.end, spans[number + 1].start if number + 1 < len(spans) else len(words)
        while span.type != OUTSIDE and end < limit and capitalised(words[end]):
            end += 1
        whole.append(span._replace(end=end))
    return whole


def by_type(spans: Sequence[Span], type: str) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """The spans of ``type``, and the others."""
    return _split(spans, [span.type == type for span in spans])


def _split(
    spans: Sequence[Span], first: Sequence[bool]
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    both = list(zip(spans, first, strict=True))
    return tuple(span for span, is_first in both if is_first), tuple(
        span for span, is_first in both if not is_first
    )


class Writer:
    """Asks for texts and says why one is not usable.

    Args:
        sampling: how texts are drawn; the stop strings should hold the line's end.
        min_words, max_words: shorter and longer texts are rejected.

    Raises:
        ConfigError: the limits exclude everything.
    """

    def __init__(
        self, prompts: PromptSet, sampling: Sampling, min_words: int = 3, max_words: int = 60
    ) -> None:
        if not 0 < min_words <= max_words:
            raise ConfigError(
                f"method.min_words={min_words} and method.max_words={max_words} leave no text possible."
            )
        self._prompts = prompts
        self._sampling = sampling
        self._limits = (min_words, max_words)

    def template(self, spec: GenerationSpec) -> str:
        """The prompt's name."""
        return spec.template or ("paraphrase" if spec.kind == "init" else str(spec.kind))

    def prompt(self, spec: GenerationSpec) -> str:
        """The rendered prompt of a brief."""
        return self._prompts.render(
            self.template(spec),
            label=spec.label,
            demonstrations=spec.demonstrations,
            mentions=spec.mentions,
            opening=spec.opening,
            no_name=spec.no_name,
            confused_with=spec.confused_with,
            analysis=spec.analysis,
            style=spec.style,
            instruction=spec.instruction,
        )

    def version(self, spec: GenerationSpec) -> str:
        """The hash of the brief's template."""
        return self._prompts.version(self.template(spec))

    def requests(
        self, specs: Sequence[GenerationSpec], seed: int, round: int
    ) -> list[GenerateRequest]:
        """One request a brief; the sampling seed of each follows from (``seed``, ``round``, draw)."""
        return [
            GenerateRequest(
                id=str(draw),
                prompt=self.prompt(spec),
                sampling=self._sampling,
                seed=derive_seed("draw", seed, round, draw, bits=31),
            )
            for draw, spec in enumerate(specs)
        ]

    def write(
        self,
        teacher: Teacher,
        specs: Sequence[GenerationSpec],
        seed: int,
        round: int,
        on_reply: Callable[[Any], None] | None = None,
    ) -> list[Candidate]:
        """One text a brief, in order."""
        requests = self.requests(specs, seed, round)
        replies = teacher.ask(requests, on_reply)
        written = []
        for draw, (spec, reply) in enumerate(zip(specs, replies, strict=True)):
            if reply.error:
                written.append(
                    Candidate(spec, "", f"request failed: {reply.error}", failed=True, draw=draw)
                )
                continue
            # Not by words: a completion that goes on with the name's last word must be seen as another name.
            text, asked, kept = (
                clean(spec.opening + reply.text),
                tuple[Span, ...](),
                tuple[Span, ...](),
            )
            # One sentence, as the data has them; what was cut off after its end is no loss.
            ended = (
                first_sentence(text, len(spec.opening) if text.startswith(spec.opening) else 0)
                if spec.opening
                else ""
            )
            text = ended or text
            fault = self._fault(text, "" if ended else reply.finish_reason)
            if spec.mentions:
                text = joined(text, split_words(text))
                words = text.split(" ")
                spans, missing = find_mentions(
                    text, list(zip(spec.mentions, spec.types or [spec.asked], strict=False))
                )
                # Of several names the first alone is what is asked for, and the labelling query says what the others are, whatever their type.
                first = joined(spec.mentions[0], split_words(spec.mentions[0]))
                own = [
                    " ".join(words[span.start : span.end]) == first
                    if spec.links
                    else span.type == spec.asked
                    for span in spans
                ]
                if spec.opening:
                    spans = whole_names(words, spans)
                if missing and not fault:
                    fault = (
                        f"{missing[0]!r} did not survive"
                        if spec.types and not spec.no_name
                        else f"does not hold {missing[0]!r}"
                    )
                asked, kept = _split(spans, own)
            written.append(
                Candidate(spec, text, fault, failed=False, draw=draw, spans=asked, kept=kept)
            )
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
