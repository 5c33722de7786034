"""Reading rows of a data source: what every task needs to turn a row into a text and its target."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tutelage.characters import usable
from tutelage.errors import DataError, did_you_mean

HIDDEN = -1
"""The class number of an unpublished label."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns (or keys) to read.

    Attributes:
        kind: Name of the task, whose :class:`RowReader` decides the columns to use.
        text: Texts; for NER with ``spans``, which count its characters.
        label: Labels of a classification.
        words: For NER, lists of words.
        tags: For NER, lists of tags, one per word.
        spans: For NER, lists of character spans in ``text``.
        word_number: Index of the word column in a CoNLL file, whose columns have no names.
        tag_number: Index of its tag column; -1 is the last one.
        classes: Names of numbered classes by column, if the source has them.
    """

    kind: str = "classification"
    text: str = "text"
    label: str = "label"
    words: str = "tokens"
    tags: str = "tags"
    spans: str = "spans"
    word_number: int = 0
    tag_number: int = -1
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)


class RowReader(Protocol):
    """How the rows of a data source become texts with targets of one task.

    Every method needs the source only, so a data set can be read before its labels are known.
    """

    @property
    def class_name(self) -> str:
        """What the data calls a class, for messages: "label" or "entity type"."""
        ...

    @property
    def label_settings(self) -> str:
        """Settings that name the columns of the targets, for messages."""
        ...

    @property
    def unmarked(self) -> str:
        """How a row without a target is written, for messages."""
        ...

    @property
    def one_target(self) -> str:
        """What a text has one of, for messages: "one label" or "all of its entities"."""
        ...

    @property
    def ignored_suffixes(self) -> frozenset[str]:
        """File name endings passed over when a folder is searched for any format."""
        ...

    @property
    def stratified(self) -> bool:
        """Whether dev is cut from train by class; if not, from all texts together."""
        ...

    def check_format(self, path: Path, format: str, columns: Columns) -> None:
        """Refuses a file whose format cannot hold targets of the task.

        Args:
            path: The file.
            format: Name of its format, such as "jsonl" or "conll".
            columns: The columns to read.

        Raises:
            DataError: The format is unsuitable.
        """
        ...

    def check_columns(
        self, location: str, present: Mapping[str, Any], columns: Columns, need_label: bool
    ) -> None:
        """Checks that a source, or one of its rows, has the columns to read.

        Args:
            location: The source, or file and line, for messages.
            present: The columns it has. The values of a row can only make a message clearer.
            columns: The columns to read.
            need_label: Whether an absent target is an error.

        Raises:
            DataError: A column is missing.
        """
        ...

    def read(
        self, location: str, row: Mapping[str, Any], columns: Columns, need_label: bool
    ) -> tuple[str, str | None]:
        """Reads one row.

        Args:
            location: File and line, or split and row, for messages.
            row: Values by column.
            columns: The columns to read.
            need_label: Whether an absent target column is an error.

        Returns:
            The text, and its target; None for a row without one.

        Raises:
            DataError: A column is missing, or a value has the wrong type.
        """
        ...

    def character_spans(
        self, row: Mapping[str, Any], columns: Columns
    ) -> tuple[str, tuple[tuple[int, int], ...], tuple[str | None, ...]] | None:
        """Raw text of a row, with (start, end) and the own text of its spans with whole numbers.

        Args:
            row: Values by column.
            columns: The columns to read.

        Returns:
            None for a row that is not marked by characters.
        """
        ...

    def class_order(self, columns: Columns) -> tuple[str, ...]:
        """Names of the classes in the order of their numbers, if the source numbers them."""
        ...

    def classes(self, target: str) -> tuple[str, ...]:
        """Classes in a target, each once; empty for a target without any."""
        ...

    def check_labels(self, names: Sequence[str], source: str) -> None:
        """Checks the label space of a data set.

        Args:
            names: The label names.
            source: Their origin, for messages.

        Raises:
            DataError: There are too few labels for the task.
        """
        ...


def named(location: str, value: Any, names: Sequence[str]) -> Any:
    """Translates the number of a class to its name.

    Args:
        location: File and line, or split and row, for messages.
        value: The cell's value. Anything but an integer is returned unchanged.
        names: Class names in numeric order. If empty, the value is returned unchanged.

    Returns:
        The name, or None for a hidden label (:data:`HIDDEN`).

    Raises:
        DataError: No class has that number.
    """
    if not names or not isinstance(value, int) or isinstance(value, bool):
        return value
    # Test sets of competitions hide their labels.
    if value == HIDDEN:
        return None
    if not 0 <= value < len(names):
        listed = ", ".join(names)
        raise DataError(
            f"{location}: there is no class {value}; the data set names {len(names)} classes, "
            f"numbered from 0 ({listed[:60]}). Correct the row, or the names."
        )
    return clean_name(names[value])


def clean_name(name: str) -> str:
    """Return a label or entity type as it is stored: usable characters, no white space around."""
    return usable(name).strip()


def in_file(location: str) -> str:
    """Return a location without its folder ("train.csv:12"), for messages with several."""
    return re.split(r"[/\\]", location)[-1]


def need_column(location: str, present: Mapping[str, Any], setting: str, column: str) -> None:
    """Checks that a column exists.

    Args:
        location: The source, or file and line, for messages.
        present: The columns by name.
        setting: The setting of the data group that names the column.
        column: Its value.

    Raises:
        DataError: The column is missing; the message suggests a similar one.
    """
    if column not in present:
        raise DataError(
            f"{location}: {did_you_mean('column', column, present, 8)} Set data.{setting}=."
        )


def text_of(location: str, value: Any) -> str:
    """Text of a cell; "" for an empty one.

    Raises:
        DataError: The value is not a string.
    """
    # JSON of pandas has NaN in place of null.
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{location}: the text is {kind_of(value)} ({repr(value)[:60]}), not a string. "
            "Choose another data.text_column, or correct the row."
        )
    return value


def kind_of(value: Any) -> str:
    """Type of a value for messages: "a str", "an integer"."""
    return "an integer" if type(value) is int else f"a {type(value).__name__}"
