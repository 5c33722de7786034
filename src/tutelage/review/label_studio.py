"""The files of Label Studio: its configuration and tasks, and the annotations that it exports.

What comes back is untrusted: it passed through a server, people and perhaps an editor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from xml.sax.saxutils import quoteattr

from tutelage.errors import DataError, did_you_mean
from tutelage.records import Label
from tutelage.tasks.protocol import Task
from tutelage.tasks.spans import Span, read_spans, to_characters, write_spans

_LABEL, _TEXT = "label", "text"
"""Names of the two parts of the configuration."""
_EXPORT = "Export the project as JSON (not JSON-MIN or CSV)."


@dataclass(frozen=True, slots=True)
class Vote:
    """One annotation of a task.

    Attributes:
        annotator: Who made it; "" if the file does not say.
        target: The label, in the form of a row's target.
        decides: Whether it is marked as ground truth.
        widened: For NER, the number of marks that were widened to whole words.
    """

    annotator: str
    target: str
    decides: bool
    widened: int = 0


@dataclass(frozen=True, slots=True)
class Annotated:
    """One task of an export.

    Attributes:
        place: The task, for messages.
        row: Id of the row.
        text: Its text.
        votes: Its annotations, in their order.
        skipped: Whether it has annotations, and all were skipped.
    """

    place: str
    row: str
    text: str
    votes: tuple[Vote, ...]
    skipped: bool


def configuration(task: Task) -> str:
    """Returns the labelling configuration of a task, an XML text."""
    if task.is_token_level:
        entries = [f"    <Label {_named(label)}/>" for label in task.labels]
        parts = [
            f'  <Labels name="{_LABEL}" toName="{_TEXT}">',
            *entries,
            "  </Labels>",
            f'  <Text name="{_TEXT}" value="$text" granularity="word"/>',
        ]
    else:
        entries = [f"    <Choice {_named(label)}/>" for label in task.labels]
        parts = [
            f'  <Text name="{_TEXT}" value="$text"/>',
            f'  <Choices name="{_LABEL}" toName="{_TEXT}" choice="single" required="true">',
            *entries,
            "  </Choices>",
        ]
    return "\n".join(["<View>", *parts, "</View>", ""])


def _named(label: Label) -> str:
    hint = f" hint={quoteattr(label.description)}" if label.description else ""
    return f"value={quoteattr(label.name)}{hint}"


def new_task(task: Task, id: str, text: str, predictions: Mapping[str, tuple[str, float]]) -> Any:
    """Returns a task of Label Studio.

    Args:
        task: The run's task.
        id: Id of the row.
        text: Its text.
        predictions: Label and confidence by the name of who predicts.
    """
    return {
        "data": {"text": text, "row": id},
        "predictions": [
            {
                "model_version": who,
                "score": round(min(1.0, max(0.0, confidence)), 6),
                "result": _result(task, who, text, target),
            }
            for who, (target, confidence) in predictions.items()
        ],
    }


def _result(task: Task, who: str, text: str, target: str) -> list[dict[str, Any]]:
    names = {"from_name": _LABEL, "to_name": _TEXT}
    if not task.is_token_level:
        return [{**names, "id": who, "type": "choices", "value": {"choices": [target]}}]
    words = _words(text)
    result = []
    for number, span in enumerate(read_spans(target)):
        start, end = to_characters(words, span)
        value = {"start": start, "end": end, "text": text[start:end], "labels": [span.type]}
        result.append({**names, "id": f"{who}-{number}", "type": "labels", "value": value})
    return result


def read_export(task: Task, content: bytes) -> list[Annotated]:
    """Reads an export of Label Studio, format JSON.

    Args:
        task: The run's task.
        content: The file.

    Returns:
        Its tasks, in their order.

    Raises:
        DataError: The file has another form, or an annotation is none of the task.
    """
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise DataError(f"It is not valid JSON ({first[:120]}). {_EXPORT}") from None
    if not isinstance(found, list) or not found:
        kind = "an empty list" if found == [] else f"a {type(found).__name__}"
        raise DataError(f"It holds {kind}, not a list of tasks. {_EXPORT}")
    tasks = [_annotated(task, number, one) for number, one in enumerate(found, start=1)]
    first_of: dict[str, str] = {}
    for one in tasks:
        if (place := first_of.setdefault(one.row, one.place)) != one.place:
            raise DataError(
                f"{one.place} has the row {one.row[:60]!r} of {place}: the tasks were imported "
                "twice. Delete the copies in the project, or in the file."
            )
    return tasks


def _annotated(task: Task, number: int, given: Any) -> Annotated:
    record = _mapping(f"Entry {number}", given)
    id = record.get("id")
    place = f"Entry {number}" + (f" (task {id})" if isinstance(id, int) else "")
    if "annotations" not in record:
        raise DataError(f'{place} has no "annotations". {_EXPORT}')
    data = _mapping(f'"data" of {place}', record.get("data"))
    row, text = (_string(f'"data.{key}" of {place}', data.get(key)) for key in ("row", "text"))
    annotations = _list(f'"annotations" of {place}', record["annotations"])
    votes = []
    for index, one in enumerate(annotations, start=1):
        where = f"annotation {index} of {place}"
        annotation = _mapping(where[0].upper() + where[1:], one)
        if not _flag(where, annotation, "was_cancelled"):
            votes.append(_vote(task, where, annotation, text))
    return Annotated(place, row, text, tuple(votes), bool(annotations) and not votes)


def _vote(task: Task, where: str, annotation: Mapping[str, Any], text: str) -> Vote:
    result = _list(f'"result" of {where}', annotation.get("result"))
    marks = [_mapping(f"A mark of {where}", one) for one in result]
    if task.is_token_level:
        target, widened = _entities(task, where, marks, text)
    else:
        target, widened = _choice(task, where, marks), 0
    return Vote(
        _annotator(where, annotation.get("completed_by")),
        target,
        _flag(where, annotation, "ground_truth"),
        widened,
    )


def _annotator(where: str, given: Any) -> str:
    """The id of an annotator, whom some exports describe in an object."""
    if isinstance(given, dict):
        given = given.get("id")
    if given is None:
        return ""
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise DataError(f'"completed_by" of {where} is {_shown(given)}, not an id. {_EXPORT}')
    return str(given)


def _choice(task: Task, where: str, result: Sequence[Mapping[str, Any]]) -> str:
    choices = [name for one in result for name in _names(task, where, one, "choices")]
    if len(choices) != 1:
        raise DataError(
            f"{_capital(where)} has {len(choices)} choices, and a text has one label. Correct it, "
            "or skip the task."
        )
    return choices[0]


def _entities(
    task: Task, where: str, result: Sequence[Mapping[str, Any]], text: str
) -> tuple[str, int]:
    words = _words(text)
    spans: set[Span] = set()
    widened = 0
    for one in result:
        names = _names(task, where, one, "labels")
        if len(names) != 1:
            raise DataError(
                f"A mark of {where} has {len(names)} types, and an entity has one. Correct it."
            )
        start, end = _characters(where, one["value"], text)
        inside = [at for at, (first, last) in enumerate(words) if first < end and start < last]
        if not inside:
            raise DataError(
                f"A mark of {where} covers no word (characters {start} to {end}). Remove it."
            )
        span = Span(inside[0], inside[-1] + 1, names[0])
        first, last = to_characters(words, span)
        widened += first < start or end < last
        spans.add(span)
    try:
        return write_spans(spans), widened
    except DataError as error:
        raise DataError(f"{_capital(where)} cannot be used. {error}") from None


def _characters(where: str, value: Mapping[str, Any], text: str) -> tuple[int, int]:
    """The characters [start, end) of a mark.

    Label Studio counts code points; versions that counted UTF-16 units, as JavaScript does, are
    told by the text that a mark quotes.
    """
    start, end = (_index(where, key, value.get(key)) for key in ("start", "end"))
    if not start < end:
        raise DataError(f"A mark of {where} runs from {start} to {end}. Correct it.")
    quote = value.get("text")
    if isinstance(quote, str) and text[start:end].strip() != quote.strip():
        found = text[start:end]
        start, end = (_code_points(text, units) for units in (start, end))
        if text[start:end].strip() != quote.strip():
            raise DataError(
                f"A mark of {where} quotes {_shown(quote)}, and the row has {_shown(found)} there. "
                "Import the tasks into a new project as `tutelage review export` wrote them."
            )
    if end > len(text):
        raise DataError(
            f"A mark of {where} ends at {end}, and the text has {len(text)} characters. Correct it."
        )
    return start, end


def _index(where: str, key: str, given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise DataError(
            f'"{key}" of a mark of {where} is {_shown(given)}, not a number of characters. '
            "Correct it."
        )
    return given


def _code_points(text: str, units: int) -> int:
    """The number of characters in the first UTF-16 units of a text."""
    first = text.encode("utf-16-le", "surrogatepass")[: 2 * units]
    return len(first.decode("utf-16-le", "replace"))


def _words(text: str) -> list[tuple[int, int]]:
    """Character ranges of the words of a text, which single spaces join."""
    ends = list(accumulate(len(word) + 1 for word in text.split(" ")))
    return [(start, end - 1) for start, end in zip([0, *ends], ends, strict=False)]


def _names(task: Task, where: str, one: Mapping[str, Any], kind: str) -> list[str]:
    """The labels of one mark, each of the task.

    Raises:
        DataError: The mark is of another kind, as other configurations have it.
    """
    if one.get("type") != kind:
        raise DataError(
            f"A mark of {where} has the type {_shown(one.get('type'))} where {kind!r} is needed. "
            "Annotate with the configuration that `tutelage review export` wrote."
        )
    value = _mapping(f'"value" of a mark of {where}', one.get("value"))
    names = _list(f'"{kind}" of a mark of {where}', value.get(kind))
    known = [label.name for label in task.labels]
    for name in names:
        if name not in known:
            noun = task.wording.class_name
            raise DataError(
                f"A mark of {where}: {did_you_mean(noun, _string('A label', name)[:60], known, 8)} "
                "Annotate with the configuration that `tutelage review export` wrote."
            )
    return names


def _mapping(what: str, given: Any) -> Mapping[str, Any]:
    found: Mapping[str, Any] = _checked(what, given, dict, "an object")
    return found


def _list(what: str, given: Any) -> list[Any]:
    found: list[Any] = _checked(what, given, list, "a list")
    return found


def _string(what: str, given: Any) -> str:
    found: str = _checked(what, given, str, "a string")
    return found


def _checked(what: str, given: Any, kind: type, noun: str) -> Any:
    if not isinstance(given, kind):
        raise DataError(f"{_capital(what)} is {_shown(given)}, not {noun}. {_EXPORT}")
    return given


def _flag(where: str, annotation: Mapping[str, Any], key: str) -> bool:
    given = annotation.get(key)
    if not isinstance(given, bool | None):
        raise DataError(f'"{key}" of {where} is {_shown(given)}, not true or false. {_EXPORT}')
    return bool(given)


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _shown(given: Any) -> str:
    said = repr(given)
    return said if len(said) <= 60 else said[:60] + "…"
