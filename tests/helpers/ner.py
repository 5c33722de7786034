"""A small NER task: entity types, annotated sentences, and a teacher that knows some names."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tests.helpers.classification import WordTeacher, prompt_set
from tests.helpers.doubles import Script

from tutelage.labelling.base import Draft, Opinion
from tutelage.labelling.calibration import NoCalibration
from tutelage.labelling.ner_candidates import SpanCandidates
from tutelage.labelling.ner_extract import SpanExtractor
from tutelage.labelling.ner_verify import SpanVerifier
from tutelage.methods.generation.mentions import find_mention
from tutelage.records import Example, Label
from tutelage.tasks.spans import Span, write_spans
from tutelage.teacher.base import Request, ScoreRequest

TYPES = (
    Label("PER", "person", "people"),
    Label("LOC", "place", "places"),
    Label("ORG", "organization", "organizations"),
)
SPACE = ("PER", "LOC", "ORG", "O")
KNOWN = {"Ada Lovelace": "PER", "Ada": "PER", "Paris": "LOC", "Acme": "ORG"}
KNOWN_CONFIDENCE = round(1 / (1 + 3 * math.exp(-3.9)), 6)
"""Confidence of every score of :func:`knowing`: softmax of one -0.1 and three -4.0."""


def marked(text: str, names: Mapping[str, str] | None = None) -> Example:
    """A sentence annotated with its names."""
    spans = [
        span for name, type in (names or {}).items() for span in find_mention(text, name, type)
    ]
    return Example(f"id of {text}", text, write_spans(spans))


SHOTS = (
    marked("Yesterday Grace Hopper left the Navy", {"Grace Hopper": "PER", "Navy": "ORG"}),
    marked("Bern is far from Rome", {"Bern": "LOC", "Rome": "LOC"}),
)


def scored_mention(prompt: str) -> tuple[str, str]:
    """The sentence and the mention of a scoring prompt."""
    text, question = prompt.splitlines()[-2:]
    return text.removeprefix("Text: "), question.removeprefix('"').removesuffix('" is a name of:')


def knowing(
    known: Mapping[str, str] | None = None, replies: Mapping[str, Any] | None = None
) -> Script:
    """A script with known names.

    Args:
        known: Type per mention; every other mention is scored as none.
        replies: Reply per sentence to extract from, a text or a list of entities; every other
            sentence gets an empty list.
    """

    def script(request: Request) -> Any:
        if isinstance(request, ScoreRequest):
            type = (KNOWN if known is None else known).get(scored_mention(request.prompt)[1], "O")
            return [-0.1 if name == type else -4.0 for name in SPACE]
        reply = (replies or {}).get(request.prompt.splitlines()[-2].removeprefix("Text: "), [])
        return json.dumps(reply) if isinstance(reply, list) else reply

    return script


def verifier(
    script: Script,
    shots: Sequence[Example] = SHOTS,
    calibrator: Any = None,
    parts: int = 0,
    sources: Sequence[str] = ("capitals",),
    **settings: Any,
) -> tuple[SpanVerifier, WordTeacher]:
    """A verifier and its teacher."""
    teacher = WordTeacher(script)
    made = SpanVerifier(
        teacher,
        TYPES,
        prompt_set("completion_ner"),
        shots,
        calibrator or NoCalibration(),
        SpanCandidates(parts, sources),
        **settings,
    )
    return made, teacher


def spans(*given: tuple[int, int, str]) -> tuple[Span, ...]:
    return tuple(Span(*one) for one in given)


def entity(quote: str, type: str, occurrence: int = 1) -> dict[str, Any]:
    """An entity of an extraction reply."""
    return {"quote": quote, "type": type, "occurrence": occurrence}


ADA = "Ada Lovelace went to Paris"
ADA_REPLY = [entity("Ada Lovelace", "person"), entity("Paris", "place")]


def extractor(
    script: Any, calibrator: Any = None, shots: Any = SHOTS, max_tokens: int = 512
) -> tuple[SpanExtractor, WordTeacher]:
    """An extractor with its verifier, and the teacher of both."""
    second, teacher = verifier(script, calibrator=calibrator)
    return SpanExtractor(
        teacher, TYPES, prompt_set("completion_ner"), shots, second, max_tokens
    ), teacher


def opinion_of(draft: Draft, reply: list[Any], known: dict[str, str] | None = None) -> Opinion:
    """The opinion on a draft, given the extraction reply to its text."""
    (opinion,) = extractor(knowing(known, {draft.text: reply}))[0].label([draft]).opinions
    assert opinion is not None
    return opinion
