"""Names of numbered classes, as ``datasets`` keeps them: beside a data set of the hub, and in the parquet files that it writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.errors import DataError

HIDDEN = -1
"""The number that stands for "not published"."""


def class_names(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Names by column, in the order of their numbers, of each column of numbered classes (ClassLabel).

    A column of lists of them counts too, and one of spans whose "label" or "type" is one: a list of objects, or an object of lists.

    Args:
        features: what ``datasets.Features.to_dict()`` gives.
    """
    found = {column: _names(feature) for column, feature in features.items()}
    return {column: names for column, names in found.items() if names}


def names_in_parquet(metadata: Mapping[bytes, bytes] | None) -> dict[str, tuple[str, ...]]:
    """Names by column from the metadata of a parquet file's schema; none where ``datasets`` did not write it."""
    try:
        return class_names(json.loads((metadata or {})[b"huggingface"])["info"]["features"])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}  # numbers then stay numbers, and those that need names are errors


def named(index: str, value: Any, names: Sequence[str]) -> Any:
    """The name of a numbered class, None where it is hidden; what is no number, or where there are no ``names``, the value as it is.

    Raises:
        DataError: no class has that number.
    """
    if not names or not isinstance(value, int) or isinstance(value, bool):
        return value
    if value == HIDDEN:
        return None
    if not 0 <= value < len(names):
        listed = ", ".join(names)
        raise DataError(
            f"{index}: there is no class {value}: the data names {len(names)} classes, from 0 ({listed[:60]}). Mend the row, or the names."
        )
    return names[value]


def _names(feature: Any) -> tuple[str, ...]:
    if isinstance(feature, list):  # how older versions write a list of objects
        return _names(feature[0]) if feature else ()
    if not isinstance(feature, Mapping):
        return ()
    kind = feature.get("_type")
    if kind == "ClassLabel":
        return tuple(map(str, feature.get("names") or ()))
    if isinstance(kind, str):
        return _names(feature.get("feature"))
    return _names(feature.get("label")) or _names(feature.get("type"))
