"""Names of numbered classes, stored by ``datasets`` with hub data sets and in its parquet files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.errors import DataError

HIDDEN = -1
"""The class number of an unpublished label."""


def class_names(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the class names of every column with numbered classes (ClassLabel), in numeric order.

    Columns of lists of ClassLabels count as well, and so do columns of spans with a ClassLabel as
    "label" or "type", stored as a list of objects or as an object of lists.

    Args:
        features: Result of ``datasets.Features.to_dict()``.
    """
    found = {column: _names(feature) for column, feature in features.items()}
    return {column: names for column, names in found.items() if names}


def names_in_parquet(metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[str, ...]]:
    """Return the class names by column from the schema metadata of a parquet file.

    Args:
        metadata: The schema's metadata; without an entry by ``datasets``, the result is empty.
    """
    try:
        return class_names(json.loads((metadata or {})[b"huggingface"])["info"]["features"])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        # Numbers then stay numbers, and those that need names are reported as errors.
        return {}


def named(location: str, value: Any, names: Sequence[str]) -> Any:
    """Translate the number of a class to its name.

    Args:
        location: File and line, or split and row, for messages.
        value: The cell's value. Anything but an integer is returned unchanged.
        names: Class names in numeric order. If empty, the value is returned unchanged.

    Returns:
        The name, or None for a hidden label (:data:`HIDDEN`).

    Raises:
        DataError: If no class has that number.
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
    return names[value]


def _names(feature: Any) -> tuple[str, ...]:
    if isinstance(feature, list):  # a list of objects in the format of older versions
        return _names(feature[0]) if feature else ()
    if not isinstance(feature, Mapping):
        return ()
    kind = feature.get("_type")
    if kind == "ClassLabel":
        return tuple(map(str, feature.get("names") or ()))
    # A list or sequence of another feature.
    if isinstance(kind, str):
        return _names(feature.get("feature"))
    # Spans: an object whose label or type is the ClassLabel.
    return _names(feature.get("label")) or _names(feature.get("type"))
