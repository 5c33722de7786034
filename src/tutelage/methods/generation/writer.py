"""Text generation with the teacher: one small completion prompt per text.

Each reply is cleaned up and checked before it becomes a candidate for the pool.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutelage.errors import ConfigError
from tutelage.labelling.base import Draft
from tutelage.methods.base import RequestFailure
from tutelage.methods.generation.artefacts import (
    COLON,
    NO_TEXT,
    Surroundings,
    clean,
    frame_of,
    label_keys,
    strip_artefacts,
    strip_continuation,
    usual_in,
)
from tutelage.methods.generation.chatter import ends_open
from tutelage.methods.generation.mentions import find_mentions, split_spans, whole_names
from tutelage.records import Label, Source, derive_seed
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.spans import Span, joined, split_words
from tutelage.teacher.base import GenerateRequest, Prompt, Reply, Sampling, Teacher
from tutelage.teacher.prompts import PromptSet


@dataclass(frozen=True, slots=True)
class Shown:
    """A demonstration in a prompt.

    Attributes:
        text: The text.
        mentions: For NER, the names of its entities.
    """

    text: str
    mentions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationSpec:
    """Specification of one text to generate.

    Attributes:
        label: The requested class; for NER the type of the first mention.
        kind: Source of the future row; also the name of the prompt, except for "init", whose prompt
            is "paraphrase".
        demonstrations: Texts shown above the new one, of the same label.
        parents: Ids of the demonstrations.
        mentions: For NER, the names required in the text; the first one is of type ``label``.
        types: Type of each mention if the text must contain all of them; empty if only the first is
            required. "O" marks words the student wrongly took for a name of type ``label``.
        lead: For NER, the words before the first name at the start of the text; the teacher
            continues from there.
        links: For NER, the words before each further name at the start of the text. Labelling then
            decides the types of the further names, as of any other name in the text; without
            labelling they keep their ``types``.
        confused_with: The label predicted by the student for such texts, for hard examples.
        analysis: The teacher's analysis of the student's mistakes; "" for none.
        style: One cell of the attribute grid; "" for none.
        template: Name of the prompt if it does not follow from ``kind``.
        instruction: The instruction for ``template``.
        detail: Further background for the row, as (name, value).
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
        """Expected label of the text; for NER, of its first mention."""
        return self.types[0] if self.types else self.label.name

    @property
    def no_name(self) -> str:
        """The words to write around if they are not a name; else ""."""
        return self.mentions[0] if OUTSIDE in self.types else ""

    @property
    def opening(self) -> str:
        """The fixed first words of the text: lead, names and links; "" without a lead."""
        if self.lead is None:
            return ""
        # Further names follow their links: "He met NAME and NAME".
        further = (
            f" {link} {name}" for link, name in zip(self.links, self.mentions[1:], strict=False)
        )
        return f"{self.lead} {self.mentions[0]}{''.join(further)}".strip()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A generated text before acceptance, or the reason for its absence.

    Attributes:
        spec: The specification of the text.
        text: The text; "" if the request failed.
        reason: Why the text is unusable; "" for a usable one.
        failed: True if the teacher request failed.
        draw: Number of the text within its round.
        spans: For NER, the positions of the requested mentions.
        kept: For NER, the positions of mentions of other types; with several names, of all further
            ones.
        free: True if no teacher request was made for the text.
        artefacts: The kinds of artefacts in the reply, removed ones included.
    """

    spec: GenerationSpec
    text: str
    reason: str
    failed: bool
    draw: int
    spans: tuple[Span, ...] = ()
    kept: tuple[Span, ...] = ()
    free: bool = False
    artefacts: tuple[str, ...] = ()

    @property
    def draft(self) -> Draft:
        """The candidate as input of a labeller."""
        # Further names behind links are scored like any candidate; other required names stay.
        if self.spec.links:
            return Draft(
                self.text, self.spans, named=tuple((span.start, span.end) for span in self.kept)
            )
        return Draft(self.text, self.spans, self.kept)

    @property
    def entities(self) -> tuple[Span, ...]:
        """The entities of the text according to its specification."""
        return tuple(span for span in (*self.spans, *self.kept) if span.type != OUTSIDE)


_STOP = re.compile(r"[.!?][\"')\]]*(?=\s|$)")
_LETTERS = re.compile(r"\w{3}")
_CLOSING = "\"')]"


def first_sentence(text: str, start: int = 0) -> str:
    """Cuts a text after its first sentence.

    A stop ends a sentence after three or more letters, so "St." and "J." end none.

    Args:
        text: The text.
        start: Position in characters from which to search for the end.

    Returns:
        The text up to the end of the sentence; "" if there is none.
    """
    # Stops are searched, not words: a pattern that begins with the word would try every letter of a
    # long word as its beginning.
    for stop in _STOP.finditer(text, start):
        end = stop.start()
        while end > start and text[end - 1] in _CLOSING:
            end -= 1
        if end - 3 >= start and _LETTERS.match(text, end - 3):
            return text[: stop.end()]
    return ""


class Writer:
    """Generates texts with the teacher and explains why one is unusable.

    Args:
        prompts: The prompt templates.
        sampling: Sampling of new texts; its stop strings should include the line break.
        min_words: Shorter texts are rejected.
        max_words: Longer texts are rejected.

    Raises:
        ConfigError: No text can meet the limits.
    """

    def __init__(
        self, prompts: PromptSet, sampling: Sampling, min_words: int = 3, max_words: int = 60
    ) -> None:
        if not 0 < min_words <= max_words:
            raise ConfigError(
                f"method.min_words={min_words} and method.max_words={max_words} allow no text. "
                "Set 1 or more, and min_words at most max_words."
            )
        self._prompts = prompts
        self._sampling = sampling
        self._limits = (min_words, max_words)

    def template(self, spec: GenerationSpec) -> str:
        """Returns the name of the prompt template of a specification."""
        return spec.template or ("paraphrase" if spec.kind == "init" else str(spec.kind))

    def prompt(self, spec: GenerationSpec) -> Prompt:
        """Renders the prompt of a specification."""
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
        """Returns the hash of the prompt template of a specification."""
        return self._prompts.version(self.template(spec))

    def requests(
        self, specs: Sequence[GenerationSpec], seed: int, round: int
    ) -> list[GenerateRequest]:
        """Builds one request per specification.

        Args:
            specs: The specifications; the id of a request is the index of its specification.
            seed: The seed of the run. With ``round`` and the index it gives the sampling seed.
            round: The round.
        """
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
        labels: Iterable[Label] = (),
    ) -> list[Candidate]:
        """Generates the texts of a round.

        Args:
            teacher: The teacher.
            specs: The specifications of the texts.
            seed: The seed of the run.
            round: The round.
            on_reply: Called with each reply as it arrives.
            labels: All labels of the task: a reply may begin with any of their names, not only with
                that of the requested one.

        Returns:
            One candidate per specification, in order.
        """
        requests = self.requests(specs, seed, round)
        replies = teacher.ask(requests, on_reply)
        names = label_keys({*labels, *(spec.label for spec in specs)})
        return [
            self._candidate(draw, spec, reply, _surroundings(spec, names, str(request.prompt)))
            for draw, (spec, request, reply) in enumerate(
                zip(specs, requests, replies, strict=True)
            )
        ]

    def _candidate(
        self, draw: int, spec: GenerationSpec, reply: Reply, around: Surroundings
    ) -> Candidate:
        # No reply: no text, and the failure as its reason.
        if reply.error:
            reason = RequestFailure.GENERATION.reason(reply.error)
            return Candidate(spec, "", reason, failed=True, draw=draw)

        # Clean the text. Opening and reply are joined as characters, not as words: a completion
        # going on with the last word of the name must count as another name.
        if spec.opening:
            stripped = strip_continuation(reply.text, around.usual)
            text = clean(spec.opening + stripped.text)
        else:
            stripped = strip_artefacts(reply.text, around)
            text = stripped.text

        # Keep one sentence, as in the data. Text cut off after its end is no loss.
        ended = ""
        if spec.opening:
            ended = first_sentence(text, len(spec.opening) if text.startswith(spec.opening) else 0)
        text = ended or text
        found, fault = stripped.removed, f"{NO_TEXT}{stripped.fault}" if stripped.fault else ""
        fault = fault or self._fault(text, "" if ended else reply.finish_reason)
        if spec.opening and not fault and ends_open(text) and COLON not in around.usual:
            found, fault = (*found, COLON), f"{NO_TEXT}ends with a colon"
        candidate = Candidate(spec, text, fault, failed=False, draw=draw, artefacts=found)
        if not spec.mentions:
            return candidate

        # Locate the required names.
        text = joined(text, split_words(text))
        words = text.split(" ")
        spans, missing = find_mentions(
            text, list(zip(spec.mentions, spec.types or [spec.asked], strict=False))
        )

        # Among several names only the first one is requested. Labelling decides about the others,
        # whatever their type.
        first = joined(spec.mentions[0], split_words(spec.mentions[0]))
        requested = [
            " ".join(words[span.start : span.end]) == first
            if spec.links
            else span.type == spec.asked
            for span in spans
        ]
        if spec.opening:
            spans = whole_names(words, spans)

        # Without a required name the text is unusable.
        if missing and not fault:
            fault = (
                f"{missing[0]!r} did not survive"
                if spec.types and not spec.no_name
                else f"does not hold {missing[0]!r}"
            )
        asked, kept = split_spans(spans, requested)
        return replace(candidate, text=text, reason=fault, spans=asked, kept=kept)

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


def _surroundings(spec: GenerationSpec, names: frozenset[str], prompt: str) -> Surroundings:
    shown = [one.text for one in spec.demonstrations]
    return Surroundings(names, prompt, frame_of(prompt, shown), usual_in(shown, names))
