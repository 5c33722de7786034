"""Batches: texts that one chat request asks for together, as a list in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tutelage.methods.generation.mentions import find_mentions
from tutelage.methods.generation.specs import GenerationSpec, Shown
from tutelage.records import Label
from tutelage.tasks.spans import joined, split_words
from tutelage.teacher.base import Sampling
from tutelage.teacher.structured import completed, validate

_LONGEST = 1024
"""Longest reply to ask for, in tokens: a longer one mostly wanders off."""
_REPLY_TOKENS, _ITEM_TOKENS = 16, 4
"""Tokens of JSON around a list and around an item; room for both is added to that of the texts."""
_SHOWN = 8
"""Most demonstrations, and most mistakes, of a batch."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The texts of one request.

    Attributes:
        draws: Numbers of the texts within the round.
        specs: Their specifications, of one kind and label.
    """

    draws: tuple[int, ...]
    specs: tuple[GenerationSpec, ...]

    @property
    def demonstrations(self) -> tuple[Shown, ...]:
        """The demonstrations of all texts, without repeats."""
        shown = {one.text: one for spec in self.specs for one in spec.demonstrations}
        return tuple(shown.values())[:_SHOWN]

    @property
    def mistakes(self) -> tuple[Mapping[str, object], ...]:
        """The mistakes of all texts, without repeats."""
        shown = {str(one["text"]): one for spec in self.specs for one in spec.mistakes}
        return tuple(shown.values())[:_SHOWN]

    def turns(self, most: int) -> list[dict[str, object]]:
        """Returns what is shown as earlier requests and replies, as template variables.

        The demonstrations come first, then the mistakes by the label predicted for them.

        Args:
            most: Most texts of a reply.
        """
        groups: dict[object, list[str]] = {None: [shown.text for shown in self.demonstrations]}
        for one in self.mistakes:
            groups.setdefault(one.get("predicted"), []).append(str(one["text"]))
        return [
            {"texts": texts[start : start + most], "predicted": predicted}
            for predicted, texts in groups.items()
            for start in range(0, len(texts), most)
        ]

    def items(self, labels: Mapping[str, Label]) -> list[dict[str, object]]:
        """Returns what is required of each text, as template variables.

        Args:
            labels: The labels of the task, by name.
        """
        return [
            {
                "names": [
                    # A single name is of the requested type; words that are no name have no type.
                    {"mention": mention, "label": labels.get(type)}
                    for mention, type in zip(
                        spec.mentions, spec.types or (spec.label.name,), strict=False
                    )
                ],
                "instruction": spec.instruction,
                "source": spec.source,
            }
            for spec in self.specs
        ]


def batches_of(
    specs: Sequence[GenerationSpec], texts_a_request: int, tokens_a_text: int
) -> list[Batch]:
    """Groups specifications that one request can ask for.

    They share the label, the kind, the label it is confused with, the analysis and the style, and
    for variants of a text also that text.

    Args:
        specs: The specifications of a round.
        texts_a_request: Most texts of a request.
        tokens_a_text: Longest text, in tokens.

    Returns:
        The batches, in the order of their first texts.
    """
    most = max(1, min(texts_a_request, _LONGEST // (tokens_a_text + _ITEM_TOKENS)))
    batches: list[list[int]] = []
    unfilled: dict[object, list[int]] = {}
    for draw, spec in enumerate(specs):
        key = _key(spec)
        if (batch := unfilled.get(key)) is None or len(batch) == most:
            unfilled[key] = batch = []
            batches.append(batch)
        batch.append(draw)
    return [Batch(tuple(batch), tuple(specs[draw] for draw in batch)) for batch in batches]


def _key(spec: GenerationSpec) -> object:
    shared: tuple[object, ...] = (
        spec.label,
        spec.kind,
        spec.template,
        spec.style,
        spec.confused_with,
        spec.analysis,
        bool(spec.source),
    )
    # Variants are asked for with the text itself; a rewriting follows an instruction of its own.
    is_variant = spec.kind == "init" or spec.template in ("paraphrase", "rewrite")
    return (*shared, spec.demonstrations, spec.mentions) if is_variant else shared


def batch_sampling(sampling: Sampling, count: int) -> Sampling:
    """Returns the sampling of a list of texts.

    Args:
        sampling: The sampling of one text.
        count: Number of texts.
    """
    room = count * (sampling.max_tokens + _ITEM_TOKENS) + _REPLY_TOKENS
    return replace(sampling, max_tokens=room, stop=())


def list_schema(field: str, count: int) -> str:
    """Returns the JSON schema of a list of texts.

    An object around the list suits servers that accept no other schema. A list may be shorter, and
    even empty, so that the start of one that was cut short fits.

    Args:
        field: The object's only field.
        count: Most items.
    """
    items = {"type": "array", "items": {"type": "string"}, "minItems": 0, "maxItems": count}
    return json.dumps(
        {
            "type": "object",
            "properties": {field: items},
            "required": [field],
            "additionalProperties": False,
        }
    )


def list_of(reply: str, field: str, schema: str) -> list[str]:
    """Returns the texts of a reply.

    Args:
        reply: The reply.
        field: The field of its list.
        schema: The schema of :func:`list_schema`.

    Raises:
        ValueError: The reply does not fit the schema.
    """
    text, mismatch = completed(reply, "", schema)
    if mismatch:
        raise ValueError(mismatch)
    items: list[str] = validate(text, schema)[field]
    return items


def matched(texts: Sequence[str], specs: Sequence[GenerationSpec]) -> list[str | None]:
    """Finds the text written for each specification.

    Texts around names are recognised by their names, since a teacher may leave one out or change
    the order. All others are taken in order.

    Args:
        texts: The texts of a reply; those beyond the number of specifications are ignored.
        specs: The specifications.

    Returns:
        One text per specification; None where the reply has too few.
    """
    left = dict(enumerate(texts[: len(specs)]))
    found: list[str | None] = [None] * len(specs)
    # The text in its own place comes first, then any text with the names.
    for number, spec in enumerate(specs):
        if number in left and (not spec.mentions or _holds(left[number], spec)):
            found[number] = left.pop(number)
    for number, spec in enumerate(specs):
        if found[number] is None and spec.mentions:
            place = next((place for place, text in left.items() if _holds(text, spec)), None)
            found[number] = left.pop(place) if place is not None else None
    # Texts without their names fill the gaps in order, so that each is kept with its reason.
    others = iter(left.values())
    return [next(others, None) if text is None else text for text in found]


def _holds(text: str, spec: GenerationSpec) -> bool:
    words = joined(text, split_words(text))
    return not find_mentions(words, [(mention, "") for mention in spec.mentions])[1]
