"""Sentences on what to try, of the settings that a run has."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tutelage.methods.base import RequestFailure, follows_mistakes
from tutelage.methods.generation.artefacts import NO_TEXT
from tutelage.records import Row
from tutelage.tasks.protocol import Task

SKEWED = 1.5
"""Multiple of an equal share from which the most frequent class makes the classes skewed."""

_Advice = tuple[str, str]
MORE_BUDGET: _Advice = ("budget.tokens", "a higher budget.tokens")
FEWER_TEXTS: _Advice = ("method.n_hard", "fewer texts per round (method.n_hard, method.n_easy)")
FOCUS: _Advice = ("method.focus", "a higher method.focus (more texts for weak classes)")
EVALUATE: _Advice = (
    "evaluate.teacher",
    "evaluate.teacher=true to see how good the teacher is on its own",
)
_ADVICE_ABOUT_TOKENS: tuple[tuple[str, _Advice], ...] = (
    ("under ", ("method.min_words", "method.min_words=1 in place of the lengths of the examples")),
    ("over ", ("method.max_tokens", "a method.max_tokens above that of the examples")),
)
_ADVICE_BY_REASON: tuple[tuple[str, _Advice], ...] = (
    (
        f"{NO_TEXT}thinking",
        ("teacher.model", "a teacher.model that does not think before it answers"),
    ),
    (NO_TEXT, ("prompt", "the teacher's own chat format (prompt=chat)")),
    ("under ", ("method.min_words", "a lower method.min_words")),
    ("over ", ("method.max_words", "a higher method.max_words")),
    ("cut off", ("method.max_tokens", "a higher method.max_tokens")),
    ("confidence below", ("accept.min_confidence", "a lower accept.min_confidence")),
    ("probability of", ("accept.min_probability", "a lower accept.min_probability")),
    ("scored label", ("accept", "accept=scored to keep every text under its scored label")),
    ("near duplicate", ("method.near_duplicate", "a higher method.near_duplicate")),
    ("exact duplicate", ("method.temperature", "a higher method.temperature")),
    ("normalised duplicate", ("method.temperature", "a higher method.temperature")),
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def advice(settings: Mapping[str, Any], *given: _Advice) -> str:
    """A sentence on what to try, of the settings that this run has."""
    usable = [words for name, words in given if name and _has(settings, name)]
    if not usable:
        return ""
    *most, last = usable
    return f" Try {', '.join(most) + ', or ' if most else ''}{last}."


def setting(settings: Mapping[str, Any], name: str) -> Any:
    """A setting by its dotted name; None if there is none."""
    value: Any = settings
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def _has(settings: Mapping[str, Any], name: str) -> bool:
    parent, _, last = name.rpartition(".")
    node = setting(settings, parent) if parent else settings
    return isinstance(node, Mapping) and last in node


def aims_at_mistakes(settings: Mapping[str, Any]) -> bool:
    """Whether the run's method follows the student's mistakes."""
    return follows_mistakes(setting(settings, "method.feedback"))


def more_shots(settings: Mapping[str, Any]) -> _Advice:
    """More shots, where a run trains on them."""
    return ("shots" if setting(settings, "training.gold") == "shots" else "", "more shots=")


def for_skewed(task: Task, targets: Sequence[str]) -> list[_Advice]:
    """The shares of the classes, where one is far above an equal share of the test texts."""
    (_, most), share = Counter(targets).most_common(1)[0], 1 / len(task.labels)
    if task.is_token_level or most < SKEWED * share * len(targets):
        return []
    return [("calibration.prior", "calibration.prior=[…] with the share of each class")]


def about_mistakes(settings: Mapping[str, Any]) -> str:
    """What to try for rounds that are aimed at no mistake."""
    margin = setting(settings, "method.mistake_margin")
    if margin:
        return (
            f" A mistake counts only where the teacher is sure of its own label: try a "
            f"method.mistake_margin below {margin:g} (0 counts every mistake)."
        )
    return advice(
        settings,
        ("method.temperature", "a higher method.temperature for more varied texts"),
        ("training.round_epochs", "a lower training.round_epochs"),
    )


def about_reasons(rows: Iterable[Row], settings: Mapping[str, Any]) -> str:
    """The most common reasons of rejections, with an example and what to try."""
    rejected = [row for row in rows if not row.accepted]
    counts = Counter(_kind(row) for row in rejected)
    top = counts.most_common(1)[0][0]
    example = next(row for row in rejected if _kind(row) == top)
    about = f" (of {short(example.text, 80)!r})" if example.text else ""
    by_reason = _ADVICE_ABOUT_TOKENS if top.endswith(" tokens") else _ADVICE_BY_REASON
    chosen = next((one for begin, one in by_reason if top.startswith(begin)), None)
    return f" Reasons: {counted(counts)}; the first: {short(example.reason, 160)!r}{about}." + (
        advice(settings, chosen or ("teacher.model", "a more capable teacher.model"))
        if RequestFailure.of(example) is None
        else ""
    )


def _kind(row: Row) -> str:
    """The reason of a rejection without what differs from text to text."""
    failure = RequestFailure.of(row)
    return failure.value if failure else _QUOTED.sub("…", row.reason)


def counted(counts: Counter[str]) -> str:
    """The three most common names with their counts, and the number of all others."""
    most = counts.most_common(3)
    others = sum(counts.values()) - sum(count for _, count in most)
    told = [f"{name} ({count})" for name, count in most]
    return ", ".join([*told, *([f"others ({others})"] if others else [])])


def listed(names: Sequence[str]) -> str:
    """Up to five names, and the number of all others."""
    shown = ", ".join(repr(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} others"


def of_class(task: Task, names: Sequence[str]) -> str:
    """The verb of rows, with the classes that they are of or have entities of."""
    if task.is_token_level:
        return f"has an entity of type {listed(names)}"
    return f"is of class {listed(names)}"


def short(text: str, limit: int) -> str:
    """A text on one line, cut at a number of characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
