"""Rows with marked entities, for NER: words with tags, or a text with character spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.errors import DataError, listed
from tutelage.tasks.markings import clean_tag, edges_of, from_spans, from_words, quote_of
from tutelage.tasks.rows import Columns, clean_name, kind_of, need_column, text_of
from tutelage.tasks.spans import read_spans


class EntityRowReader:
    """Reads texts with entities (:class:`tutelage.tasks.rows.RowReader`).

    Each row is read according to its content: words with tags, else a text with spans, else words
    or a text alone, which stay unlabelled.
    """

    class_name = "entity type"
    label_settings = "data.tags_column= or data.spans_column="
    unmarked = "tag these words O, or remove the spans"
    one_target = "all of its entities"
    ignored_suffixes: frozenset[str] = frozenset()
    # Few texts have the same set of types, so all of them form a single stratum.
    stratified = False

    def check_format(self, path: Path, format: str, columns: Columns) -> None:
        """Refuses csv and tsv files, which have no lists."""
        if format in ("csv", "tsv"):
            raise DataError(
                f"{path}: a {format} file has no lists, so it cannot mark entities. "
                f"Write jsonl or parquet with '{columns.words}' and '{columns.tags}', "
                f"or with '{columns.text}' and '{columns.spans}', "
                f"or one word per line with its tag as {path.name.split('.')[0]}.conll; "
                "for texts with one label each, set task=classification."
            )

    def check_columns(
        self, location: str, present: Mapping[str, Any], columns: Columns, need_label: bool
    ) -> None:
        """Checks for words or a text, and for their tags or spans if entities are needed."""
        if (
            need_label
            and columns.label in present
            and columns.tags not in present
            and columns.spans not in present
        ):
            if isinstance(present[columns.label], list):
                raise DataError(
                    f"{location} has no column '{columns.spans}', but a list in "
                    f"'{columns.label}'. Set data.spans_column={columns.label}."
                )
            raise DataError(
                f"{location} has one label per text ('{columns.label}') and no entities, "
                "but the task is ner. Set task=classification, "
                "or set data.tags_column= or data.spans_column=."
            )
        if columns.words not in present and columns.text not in present:
            raise DataError(
                f"{location} has neither '{columns.words}' (words, with '{columns.tags}') nor "
                f"'{columns.text}' (with '{columns.spans}'), but "
                f"{listed(present) or 'nothing'}. "
                "Set data.words_column= or data.text_column=."
            )
        if (
            not need_label
            or (columns.words in present and columns.tags in present)
            or (columns.text in present and columns.spans in present)
        ):
            return
        # Words or a text, but neither has its marks.
        if columns.words in present and columns.text in present:
            raise DataError(
                f"{location} has neither '{columns.tags}' (of '{columns.words}') nor "
                f"'{columns.spans}' (of '{columns.text}'), but {listed(present)}. "
                "Set data.tags_column= or data.spans_column=."
            )
        by_words = columns.words in present
        need_column(
            location,
            present,
            "tags_column" if by_words else "spans_column",
            columns.tags if by_words else columns.spans,
        )

    def read(
        self, location: str, row: Mapping[str, Any], columns: Columns, need_label: bool
    ) -> tuple[str, str | None]:
        """Words joined by single spaces, and their entities as JSON spans."""
        self.check_columns(location, row, columns, need_label)
        words, tags, text, spans = _cells(row, columns)
        if _by_words(words, tags, text, spans):
            return self._of_words(location, words, tags, spans, columns)
        if tags and not (text is not None and spans is not None):
            raise DataError(
                f"{location}: '{columns.tags}' ({repr(tags)[:60]}) marks words, "
                f"but '{columns.words}' has none. Add them, set data.words_column=, "
                f"or, if '{columns.tags}' does not mark entities, set data.tags_column= to "
                "another name."
            )
        return from_spans(
            location,
            text_of(location, text),
            _span_list(location, columns.spans, spans),
            columns.classes.get(columns.spans, ()),
        )

    def _of_words(
        self, location: str, words: Any, tags: Any, spans: Any, columns: Columns
    ) -> tuple[str, str | None]:
        if spans is not None and not tags:
            raise DataError(
                f"{location}: '{columns.spans}' marks characters of '{columns.text}', which is "
                f"missing. Add it, set data.text_column=, or give '{columns.words}' with "
                f"'{columns.tags}'."
            )
        return from_words(
            location,
            _listed(location, columns.words, words),
            _listed(location, columns.tags, tags),
            columns.classes.get(columns.tags, ()),
        )

    def character_spans(
        self, row: Mapping[str, Any], columns: Columns
    ) -> tuple[str, tuple[tuple[int, int], ...], tuple[str | None, ...]] | None:
        """The text and its spans, if :meth:`read` reads them."""
        words, tags, text, spans = _cells(row, columns)
        if not isinstance(text, str) or _by_words(words, tags, text, spans):
            return None
        try:
            listed = _span_list("", columns.spans, spans) or ()
        except DataError:
            return None  # reported by read
        marked = [(edges, quote_of(one)) for one in listed if (edges := edges_of(one))]
        return text, tuple(edges for edges, _ in marked), tuple(quote for _, quote in marked)

    def class_order(self, columns: Columns) -> tuple[str, ...]:
        """Types in the order of the numbered tags, else of the numbered types of spans."""
        tags = [clean_tag(name) for name in columns.classes.get(columns.tags, ())]
        types = [name.partition("-")[2] for name in tags if name != "O"]
        names = types or map(clean_name, columns.classes.get(columns.spans, ()))
        return tuple(dict.fromkeys(names))

    def classes(self, target: str) -> tuple[str, ...]:
        """The types in the order of their first entity."""
        return tuple(dict.fromkeys(span.type for span in read_spans(target)))

    def check_labels(self, names: Sequence[str], source: str) -> None:
        """Refuses an empty label space."""
        if not names:
            raise DataError(
                f"{source} contains no entities. "
                "Check the column of the tags, or list the entity types in data.labels and set "
                "shots=0."
            )


def _cells(row: Mapping[str, Any], columns: Columns) -> tuple[Any, Any, Any, Any]:
    """Words, tags, text and spans of a row."""
    words, tags, text, spans = (
        row.get(column) for column in (columns.words, columns.tags, columns.text, columns.spans)
    )
    if text is not None and isinstance(words, list) and words and isinstance(words[0], Mapping):
        words = None  # Prodigy's tokens: objects with their offsets in the text
    return words, tags, text, spans


def _by_words(words: Any, tags: Any, text: Any, spans: Any) -> bool:
    """Whether a row is read as words with tags.

    They take precedence over a text with spans; a column filled in some rows only is null or empty
    in the others.
    """
    return bool(words) and (bool(tags) or text is None or spans is None)


def _listed(location: str, column: str, value: Any) -> Any:
    if value is not None and (not isinstance(value, Sequence) or isinstance(value, str)):
        raise DataError(
            f"{location}: '{column}' is {kind_of(value)} ({repr(value)[:60]}), not a list. "
            "Correct the row."
        )
    return value


def _span_list(location: str, column: str, value: Any) -> Any:
    """One object per span, even if the source has one list per field."""
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
