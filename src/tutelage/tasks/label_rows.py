"""Rows with one label per text, for classification."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.errors import DataError, listed
from tutelage.tasks.rows import Columns, clean_name, kind_of, named, need_column, text_of

_FLAGS = (0, 1, "0", "1", "0.0", "1.0")
"""Values of a column that says whether a text has a class."""


class LabelRowReader:
    """Reads texts with one label each (:class:`tutelage.tasks.rows.RowReader`)."""

    class_name = "label"
    label_settings = "data.label_column="
    unmarked = "leave the cell empty in train, and remove such rows from validation and test"
    one_target = "one label"
    ignored_suffixes = frozenset({".txt"})
    stratified = True

    def check_format(self, path: Path, format: str, columns: Columns) -> None:
        """Refuses CoNLL files, whose words have tags of their own."""
        if format == "conll":
            raise DataError(
                f"{path} contains words with entity tags, but the task is classification. "
                "Set task=ner."
            )

    def check_columns(
        self, location: str, present: Mapping[str, Any], columns: Columns, need_label: bool
    ) -> None:
        """Checks for the text column, and for the label column if labels are needed."""
        lacks = columns.text not in present or (need_label and columns.label not in present)
        marks = [name for name in (columns.words, columns.tags, columns.spans) if name in present]
        if lacks and marks:
            raise DataError(
                f"{location} marks entities ({', '.join(marks)}), but the task is classification. "
                "Set task=ner, or set data.text_column= and data.label_column=."
            )
        need_column(location, present, "text_column", columns.text)
        if not need_label:
            return
        flags = [name for name, value in present.items() if value in _FLAGS]
        if columns.label not in present and len(flags) > 1:
            raise DataError(
                f"{location} has no column '{columns.label}', but 0 and 1 in {listed(flags)}. "
                f"If they mark classes, write one column '{columns.label}' with the name of the "
                "column that has the 1. Otherwise set data.label_column=."
            )
        need_column(location, present, "label_column", columns.label)

    def read(
        self, location: str, row: Mapping[str, Any], columns: Columns, need_label: bool
    ) -> tuple[str, str | None]:
        """The text and the name of its label; numbered labels get the name of their class."""
        self.check_columns(location, row, columns, need_label)
        text = text_of(location, row[columns.text])
        value = named(location, row.get(columns.label), columns.classes.get(columns.label, ()))
        return text, _label(location, value, columns.label)

    def character_spans(
        self, row: Mapping[str, Any], columns: Columns
    ) -> tuple[str, tuple[tuple[int, int], ...], tuple[str | None, ...]] | None:
        """None: labels belong to whole texts."""
        return None

    def class_order(self, columns: Columns) -> tuple[str, ...]:
        """Names of the label column's numbers."""
        return tuple(map(clean_name, columns.classes.get(columns.label, ())))

    def classes(self, target: str) -> tuple[str, ...]:
        """The label itself."""
        return (target,)

    def check_labels(self, names: Sequence[str], source: str) -> None:
        """Refuses fewer than two labels."""
        if len(names) < 2:
            given = f"only '{names[0]}'" if names else "none"
            raise DataError(
                f"A classifier needs at least two labels; {source} has {given}. "
                "Check data.label_column, or list the labels in data.labels and set shots=0."
            )


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _label(location: str, value: Any, column: str) -> str | None:
    if isinstance(value, float) and (math.isnan(value) or value.is_integer()):
        # A column of whole numbers with gaps is read as floats.
        value = None if math.isnan(value) else int(value)
    if isinstance(value, list | tuple) and (not value or _is_name(value[0])) and len(value) < 2:
        # Tools for several labels per text write a list, empty for an unlabelled text.
        value = value[0] if value else None
    if value is None:
        return None
    if isinstance(value, list | tuple) and all(map(_is_name, value)):
        raise DataError(
            f"{location}: the text has {len(value)} labels ({repr(value)[:60]}), but "
            "classification needs exactly one. Keep one, or choose another data.label_column."
        )
    if isinstance(value, list | tuple) and isinstance(value[0], list | tuple | Mapping):
        raise DataError(
            f"{location}: the label is a list ({repr(value)[:60]}). If it marks entities, set "
            f"task=ner data.spans_column={column}; if not, choose another data.label_column."
        )
    if not isinstance(value, str | int):
        raise DataError(
            f"{location}: the label is {kind_of(value)} ({repr(value)[:60]}), "
            "not a string or whole number. Correct it, or choose another data.label_column."
        )
    return clean_name(str(value)) or None
