"""What a text is asked for with, and the text before acceptance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tutelage.labelling.base import Draft
from tutelage.records import Label, Source
from tutelage.tasks.ner import OUTSIDE
from tutelage.tasks.spans import Span


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
            continues from there. None in a chat, where the teacher writes the whole text.
        links: For NER, the words before each further name at the start of the text; empty words in
            a chat. Labelling then decides the types of the further names, as of any other name in
            the text; without labelling they keep their ``types``.
        confused_with: The label predicted by the student for such texts, for hard examples.
        mistakes: Mistakes of the student to show in a chat, as template variables
            (:meth:`tutelage.tasks.protocol.Task.shown`).
        analysis: The teacher's analysis of the student's mistakes; "" for none.
        style: One cell of the attribute grid; "" for none.
        template: Name of the prompt if it does not follow from ``kind``.
        instruction: The instruction for ``template``.
        source: A text to take the content from, in a chat; "" for none.
        detail: Further background for the row, as (name, value).
        study: What to show of the student first: variables of the template "report"; empty for
            nothing.
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
    mistakes: tuple[Mapping[str, Any], ...] = ()
    analysis: str = ""
    style: str = ""
    template: str = ""
    instruction: str = ""
    source: str = ""
    detail: tuple[tuple[str, str], ...] = ()
    study: Mapping[str, Any] = field(default_factory=dict, hash=False)

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
        shared: True if the request was made for an earlier text of the round, too.
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
    shared: bool = False
    artefacts: tuple[str, ...] = ()

    @property
    def draft(self) -> Draft:
        """The candidate as input of a labeller."""
        # Further names behind links are scored like any candidate; other required names stay.
        if self.spec.links:
            return Draft(
                self.text, self.spans, named=tuple((span.start, span.end) for span in self.kept)
            )
        return Draft(self.text, self.spans, self.kept, asked=self.spec.asked)

    @property
    def entities(self) -> tuple[Span, ...]:
        """The entities of the text according to its specification."""
        return tuple(span for span in (*self.spans, *self.kept) if span.type != OUTSIDE)
