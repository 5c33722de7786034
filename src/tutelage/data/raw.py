"""Rows in the form of their source, and the columns with the text and its label or entities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tutelage.data.dataset import Kind
from tutelage.data.feature_names import named
from tutelage.data.markings import from_spans, from_words, kind_of
from tutelage.errors import DataError, did_you_mean


@dataclass(frozen=True, slots=True)
class RawExample:
    """A text and its label in the form of the source.

    Attributes:
        text: The text.
        label: Its label; None if it is unlabelled.
        location: File and line, or split and row, for messages ("train.csv:12").
    """

    text: str
    label: str | None
    location: str


@dataclass(frozen=True, slots=True)
class RawSplit:
    """The rows of one split, before any cleaning.

    Attributes:
        where: The file, or the name of the split on the hub.
        columns: Names of the columns in it, for messages.
        rows: Its rows.
    """

    where: str
    columns: tuple[str, ...]
    rows: tuple[RawExample, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns (or keys) to read.

    Attributes:
        kind: Form of the labels, which decides the columns to use.
        text: Texts; for NER with ``spans``, which count its characters.
        label: Labels of a classification.
        words: For NER, lists of words.
        tags: For NER, lists of tags, one per word.
        spans: For NER, lists of character spans in ``text``.
        word_number: Index of the word column in a CoNLL file, whose columns have no names.
        tag_number: Index of its tag column; -1 is the last one.
        classes: Names of numbered classes by column, if the source has them.
    """

    kind: Kind = "classification"
    text: str = "text"
    label: str = "label"
    words: str = "tokens"
    tags: str = "tags"
    spans: str = "spans"
    word_number: int = 0
    tag_number: int = -1
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)


def raw_examples(
    columns: Sequence[str],
    records: Iterator[tuple[str, dict[str, Any]]],
    read: Columns,
    *,
    where: str,
    need_label: bool,
) -> tuple[RawExample, ...]:
    """Extract text and label from every record.

    For NER, each row is read according to its content: words with tags, else a text with spans,
    else words or a text alone, which stay unlabelled.

    Args:
        columns: Names of the columns in the source.
        records: Pairs of location ("train.csv:12") and values by column.
        read: The columns to read.
        where: Name of the source, for messages.
        need_label: Whether an absent label column is an error.

    Raises:
        DataError: If a column is absent, a value has the wrong type, tags or spans come without
            their words or text, or there are no rows.
    """
    pick = _labelled_text if read.kind == "classification" else _marked_text
    # Check the columns first: a missing one is an error of the file, not of its first row.
    pick(where, dict.fromkeys(columns), read, need_label, check_only=True)
    # Lines of JSON may differ in their keys, so each record is checked again.
    rows = [
        RawExample(*pick(location, record, read, need_label), location)
        for location, record in records
    ]
    if not rows:
        raise DataError(f"{where} has no rows. Add rows to it, or remove it from the folder.")
    return tuple(rows)


def _labelled_text(
    location: str, record: dict[str, Any], read: Columns, need: bool, check_only: bool = False
) -> tuple[str, str | None]:
    lacks = read.text not in record or (need and read.label not in record)
    if lacks and (
        marks := [column for column in (read.words, read.tags, read.spans) if column in record]
    ):
        raise DataError(
            f"{location} marks entities ({', '.join(marks)}), but the task is classification. "
            "Set task=ner, or set data.text_column= and data.label_column=."
        )
    _need_column(location, record, "text_column", read.text)
    if need:
        _need_column(location, record, "label_column", read.label)
    if check_only:
        return "", None
    return _text(location, record[read.text]), _label(
        location, named(location, record.get(read.label), read.classes.get(read.label, ()))
    )


def _marked_text(
    location: str, record: dict[str, Any], read: Columns, need: bool, check_only: bool = False
) -> tuple[str, str | None]:
    words, tags, text, spans = (
        record.get(column) for column in (read.words, read.tags, read.text, read.spans)
    )
    _need_marks(location, record, read, need)
    if check_only:
        return "", None
    if text is not None and isinstance(words, list) and words and isinstance(words[0], Mapping):
        words = None  # Prodigy's tokens: objects with their offsets in the text
    # A column filled in some rows only is null or empty in the others.
    # Words with tags take precedence over a text with spans.
    complete = bool(words) and bool(tags)
    if text is not None and spans is not None and not complete:
        return from_spans(
            location,
            _text(location, text),
            _span_list(location, read.spans, spans),
            read.classes.get(read.spans, ()),
        )
    if words:
        if spans is not None and not complete:
            raise DataError(
                f"{location}: '{read.spans}' marks characters of '{read.text}', which is missing. "
                f"Add it, set data.text_column=, or give '{read.words}' with '{read.tags}'."
            )
        words, tags = _listed(location, read.words, words), _listed(location, read.tags, tags)
        return from_words(location, words, tags, read.classes.get(read.tags, ()))
    if tags:
        raise DataError(
            f"{location}: '{read.tags}' ({repr(tags)[:60]}) marks words, "
            f"but '{read.words}' has none. Add them, set data.words_column=, "
            f"or, if '{read.tags}' does not mark entities, set data.tags_column= to another name."
        )
    return from_spans(
        location,
        _text(location, text),
        _span_list(location, read.spans, spans),
        read.classes.get(read.spans, ()),
    )


def _need_marks(location: str, record: dict[str, Any], read: Columns, need: bool) -> None:
    """Check the columns that a NER row must have, whatever their values."""
    if need and read.label in record and read.tags not in record and read.spans not in record:
        raise DataError(
            f"{location} has one label per text ('{read.label}') and no entities, "
            "but the task is ner. Set task=classification, "
            "or set data.tags_column= or data.spans_column=."
        )
    if read.words not in record and read.text not in record:
        raise DataError(
            f"{location} has neither '{read.words}' (words, with '{read.tags}') nor '{read.text}' "
            f"(with '{read.spans}'), but {', '.join(record) or 'nothing'}. "
            "Set data.words_column= or data.text_column=."
        )
    if (
        not need
        or (read.words in record and read.tags in record)
        or (read.text in record and read.spans in record)
    ):
        return
    if read.words in record and read.text in record:
        raise DataError(
            f"{location} has neither '{read.tags}' (of '{read.words}') nor '{read.spans}' "
            f"(of '{read.text}'), but {', '.join(record)}. "
            "Set data.tags_column= or data.spans_column=."
        )
    _need_column(
        location,
        record,
        *(("tags_column", read.tags) if read.words in record else ("spans_column", read.spans)),
    )


def _listed(location: str, column: str, value: Any) -> Any:
    if value is not None and (not isinstance(value, Sequence) or isinstance(value, str)):
        raise DataError(
            f"{location}: '{column}' is {kind_of(value)} ({repr(value)[:60]}), not a list. "
            "Correct the row."
        )
    return value


def _span_list(location: str, column: str, value: Any) -> Any:
    """Return one object per span, even if the source has one list per field."""
    lists = {
        key: value[key]
        for key in ("start", "end", "label", "type")
        if isinstance(value, Mapping) and isinstance(value.get(key), list)
    }
    if not lists:
        return _listed(location, column, value)
    # All lists must have the same length, one value per span.
    if len(set(map(len, lists.values()))) > 1:
        counts = ", ".join(f"{len(values)} of '{key}'" for key, values in lists.items())
        raise DataError(
            f"{location}: the lists in '{column}' differ in length: {counts}. "
            "Give every span one of each."
        )
    return [dict(zip(lists, one, strict=True)) for one in zip(*lists.values(), strict=True)]


def _need_column(
    location: str, columns: Sequence[str] | dict[str, Any], setting: str, column: str
) -> None:
    if column not in columns:
        raise DataError(
            f"{location}: {did_you_mean('column', column, columns)} Set data.{setting}=."
        )


def _text(location: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{location}: the text is {kind_of(value)} ({repr(value)[:60]}), not a string. "
            "Choose another data.text_column, or correct the row."
        )
    return value


def _label(location: str, value: Any) -> str | None:
    if isinstance(value, float) and (math.isnan(value) or value.is_integer()):
        # A column of whole numbers with gaps is read as floats.
        value = None if math.isnan(value) else int(value)
    if value is None:
        return None
    if not isinstance(value, str | int):
        raise DataError(
            f"{location}: the label is {kind_of(value)} ({repr(value)[:60]}), "
            "not a string or whole number. Correct it, or choose another data.label_column."
        )
    return str(value).strip() or None
