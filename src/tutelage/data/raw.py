"""Rows as their source has them, and which of their columns hold the text and its label or marking."""

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
    """A text and its label (None where it has none) as the source has them, and where they stand ("train.csv:12")."""

    text: str
    label: str | None
    index: str


@dataclass(frozen=True, slots=True)
class RawSplit:
    """The rows of one split, before any cleaning.

    Attributes:
        where: the file, or the hub's name of the split.
        columns: the columns found, for messages.
    """

    where: str
    columns: tuple[str, ...]
    rows: tuple[RawExample, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of the columns, or keys, that are read.

    Attributes:
        text, label: of classification; ``text`` also of NER, where ``spans`` are characters of it.
        words, tags: of NER: lists as long as each other.
        word_number, tag_number: of a conll file, whose columns have no names: their places, the last one -1.
        classes: the names of numbered classes by column, where the source has them.
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
    """Pick text and label out of ``records``, pairs of (place, values by column).

    For NER each row is read by what is in it: words with tags, else a text with spans, else words or a text alone, without a marking.

    Raises:
        DataError: a column is absent, a value has the wrong type, marks are there without what they mark, or there is no row.
    """
    pick = _labelled_text if read.kind == "classification" else _marked_text
    pick(where, dict.fromkeys(columns), read, need_label, check_only=True)
    # Lines of JSON may differ in their keys, so each is checked again.
    rows = [RawExample(*pick(index, record, read, need_label), index) for index, record in records]
    if not rows:
        raise DataError(f"{where} has no rows. Fill it, or take it out of the folder.")
    return tuple(rows)


def _labelled_text(
    index: str, record: dict[str, Any], read: Columns, need: bool, check_only: bool = False
) -> tuple[str, str | None]:
    lacks = read.text not in record or (need and read.label not in record)
    if lacks and (
        marks := [column for column in (read.words, read.tags, read.spans) if column in record]
    ):
        raise DataError(
            f"{index} marks entities ({', '.join(marks)}), and the task is classification. Give task=ner, or set data.text_column= "
            "and data.label_column=."
        )
    _need_column(index, record, "text_column", read.text)
    if need:
        _need_column(index, record, "label_column", read.label)
    if check_only:
        return "", None
    return _text(index, record[read.text]), _label(
        index, named(index, record.get(read.label), read.classes.get(read.label, ()))
    )


def _marked_text(
    index: str, record: dict[str, Any], read: Columns, need: bool, check_only: bool = False
) -> tuple[str, str | None]:
    words, tags, text, spans = (
        record.get(column) for column in (read.words, read.tags, read.text, read.spans)
    )
    _need_marks(index, record, read, need)
    if check_only:
        return "", None
    if text is not None and isinstance(words, list) and words and isinstance(words[0], Mapping):
        words = None  # Prodigy's tokens: objects that say where they lie in the text
    # A column that only some rows have is null or empty in the others.
    complete = bool(words) and bool(tags)
    if text is not None and spans is not None and not complete:
        return from_spans(
            index,
            _text(index, text),
            _span_list(index, read.spans, spans),
            read.classes.get(read.spans, ()),
        )
    if words:
        if spans is not None and not complete:
            raise DataError(
                f"{index}: '{read.spans}' marks characters of a '{read.text}', and there is none. Add it, set data.text_column=, or give "
                f"'{read.words}' with '{read.tags}'."
            )
        words, tags = _listed(index, read.words, words), _listed(index, read.tags, tags)
        return from_words(index, words, tags, read.classes.get(read.tags, ()))
    if tags:
        raise DataError(
            f"{index}: '{read.tags}' ({repr(tags)[:60]}) marks words, and there are none in '{read.words}'. Add them, set "
            f"data.words_column=, or, where '{read.tags}' does not mark entities, set data.tags_column= to another name."
        )
    return from_spans(
        index,
        _text(index, text),
        _span_list(index, read.spans, spans),
        read.classes.get(read.spans, ()),
    )


def _need_marks(index: str, record: dict[str, Any], read: Columns, need: bool) -> None:
    """The columns that a row has to have, whatever is in them."""
    if need and read.label in record and read.tags not in record and read.spans not in record:
        raise DataError(
            f"{index} has one label a text ('{read.label}') and no entities, and the task is ner. Give task=classification, or set "
            "data.tags_column= or data.spans_column=."
        )
    if read.words not in record and read.text not in record:
        raise DataError(
            f"{index}: neither '{read.words}' (words, with '{read.tags}') nor '{read.text}' (with '{read.spans}') is there, but "
            f"{', '.join(record) or 'nothing'}. Set data.words_column= or data.text_column=."
        )
    if (
        not need
        or (read.words in record and read.tags in record)
        or (read.text in record and read.spans in record)
    ):
        return
    if read.words in record and read.text in record:
        raise DataError(
            f"{index} has neither '{read.tags}' (of '{read.words}') nor '{read.spans}' (of '{read.text}'), but {', '.join(record)}. Set "
            "data.tags_column= or data.spans_column=."
        )
    _need_column(
        index,
        record,
        *(("tags_column", read.tags) if read.words in record else ("spans_column", read.spans)),
    )


def _listed(index: str, column: str, value: Any) -> Any:
    if value is not None and (not isinstance(value, Sequence) or isinstance(value, str)):
        raise DataError(
            f"{index}: '{column}' is {kind_of(value)} ({repr(value)[:60]}), not a list. Mend the row."
        )
    return value


def _span_list(index: str, column: str, value: Any) -> Any:
    """Spans one by one, also where the source has a list of all starts, one of all ends and one of all types."""
    lists = {
        key: value[key]
        for key in ("start", "end", "label", "type")
        if isinstance(value, Mapping) and isinstance(value.get(key), list)
    }
    if not lists:
        return _listed(index, column, value)
    if len(set(map(len, lists.values()))) > 1:
        counts = ", ".join(f"{len(values)} of '{key}'" for key, values in lists.items())
        raise DataError(
            f"{index}: the lists in '{column}' differ in length: {counts}. Give every span one of each."
        )
    return [dict(zip(lists, one, strict=True)) for one in zip(*lists.values(), strict=True)]


def _need_column(
    index: str, columns: Sequence[str] | dict[str, Any], setting: str, column: str
) -> None:
    if column not in columns:
        raise DataError(f"{index}: {did_you_mean('column', column, columns)} Set data.{setting}=.")


def _text(index: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{index}: the text is {kind_of(value)} ({repr(value)[:60]}), not a string. Choose another data.text_column, or mend the row."
        )
    return value


def _label(index: str, value: Any) -> str | None:
    if isinstance(value, float) and (math.isnan(value) or value.is_integer()):
        value = (
            None if math.isnan(value) else int(value)
        )  # a column of whole numbers with gaps is read as floats
    if value is None:
        return None
    if not isinstance(value, str | int):
        raise DataError(
            f"{index}: the label is {kind_of(value)} ({repr(value)[:60]}), not a string or whole number. "
            "Mend it, or choose another data.label_column."
        )
    return str(value).strip() or None
