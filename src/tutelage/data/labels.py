"""The label space: inferred from the data, or listed in the configuration."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tutelage.errors import ConfigError, did_you_mean
from tutelage.records import Label
from tutelage.tasks.rows import RowReader, clean_name

LabelSettings = Mapping[Any, Any] | Sequence[Any]
"""Label names, or a mapping from names to null, a word, or {word, description}."""

_DECIMAL = re.compile(r"[+-]?\d{1,300}(\.\d+)?")


def words_of(name: str) -> str:
    """Split a label name in CamelCase, snake_case or kebab-case into lower-case words.

    For example, "AddToPlaylist" becomes "add to playlist". Numbers ("-1", "2.5") stay as they are.
    """
    if _DECIMAL.fullmatch(name):
        return name
    # Split camel case, including acronyms ("PDFFile" becomes "pdf file").
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return " ".join(re.sub(r"[_\-./\s]+", " ", spaced).lower().split()) or name


def label_space(
    settings: LabelSettings | None,
    seen: Collection[str],
    source: str,
    reader: RowReader,
    class_order: Sequence[str] = (),
) -> tuple[Label, ...]:
    """Return the label space.

    Args:
        settings: The configured labels, whose order is kept; None takes the names in ``seen``, in
            the source's own order, else numbers by value, else by name.
        seen: Label names in the labelled training data.
        source: Origin of these names, for messages.
        reader: The task's reader, which knows how many labels it needs.
        class_order: Names of numbered classes in the order of their numbers, if the source numbers
            them.

    Raises:
        ConfigError: If an entry of ``settings`` has an unknown key or type, or a label is repeated.
        DataError: If there are too few labels for the task.
    """
    # Inferred from the data, listed with details, or listed by name.
    if settings is None:
        labels = tuple(_label(name, None) for name in _ordered(seen, class_order))
    elif isinstance(settings, Mapping):
        labels = tuple(_label(clean_name(str(name)), entry) for name, entry in settings.items())
    elif isinstance(settings, str):
        raise ConfigError(
            f"data.labels is the string '{settings}'; give a list of names, "
            "or a mapping name → {word, description}."
        )
    else:
        labels = tuple(_label(clean_name(str(name)), None) for name in settings)
    names = [label.name for label in labels]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"data.labels lists '{twice[0]}' twice. List each label once.")
    reader.check_labels(names, source)
    return labels


def _ordered(names: Collection[str], class_order: Sequence[str]) -> list[str]:
    numbers = {name: number for number, name in reversed(list(enumerate(class_order)))}
    by_name = sorted(names)
    if all(_DECIMAL.fullmatch(name) for name in names):
        by_name.sort(key=float)
    # Sorting is stable: names without a number follow by name.
    return sorted(by_name, key=lambda name: numbers.get(name, len(numbers)))


def _label(name: str, entry: object) -> Label:
    words = words_of(name)
    if entry is None:
        return Label(name, words, words)
    if isinstance(entry, str):
        return Label(name, entry, words)
    if not isinstance(entry, Mapping):
        raise ConfigError(
            f"data.labels.{name} is {entry!r}; give null, a word, or {{word: …, description: …}}."
        )
    # Refuse misspelt keys, which would otherwise be ignored.
    for key in entry:
        if key not in ("word", "description"):
            raise ConfigError(
                f"data.labels.{name}: {did_you_mean('key', str(key), ('word', 'description'))}"
            )
    return Label(name, str(entry.get("word") or words), str(entry.get("description") or words))
