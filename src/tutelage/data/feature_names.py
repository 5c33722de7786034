"""Names of numbered classes, stored by ``datasets`` with hub data sets and in its parquet files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


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
