"""The first paragraphs of the advice: data, teacher, budget, and notes on the data."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator

from rich.console import Console

from tutelage.advise.case import Case
from tutelage.advise.layout import count, print_line
from tutelage.data.dataset import Dataset
from tutelage.tasks.registry import row_reader

_ENOUGH = 10
"""Gold labels per class from which the pool's own labels deserve a mention."""


def print_facts(console: Console, case: Case) -> None:
    """Prints data, teacher, budget and notes, a paragraph each."""
    dataset, shots = case.dataset, case.situation.shots
    kind = "entity types" if dataset.kind == "ner" else "classes"
    per = "type" if dataset.kind == "ner" else "class"
    print_line(
        console,
        "data",
        f"{dataset.name}: {len(dataset.labels)} {kind}, {count(shots, 'shot')} per {per}, "
        f"{len(dataset.pool):,} pool texts, {len(dataset.dev):,} dev, {len(dataset.test):,} test"
        + _lengths(dataset),
    )
    teacher = case.teacher
    parts = [teacher.name, _size_in_words(teacher.millions)]
    if teacher.error is not None:
        parts.append("cannot be asked (the reason is below)")
    elif teacher.chat is not None:
        parts.append("an instruct model" if teacher.chat else "asked by texts to continue")
    print_line(console, "teacher", ", ".join(parts))
    limit = case.config.budget.tokens
    print_line(console, "budget", "none" if limit is None else f"{limit:,} billed tokens")
    for note in _notes(case):
        print_line(console, "note", note)
    console.print()


def _size_in_words(millions: float) -> str:
    if not millions:
        return "size unknown"
    if millions < 1000:
        return f"{millions:.0f} million parameters"
    return f"{millions / 1000:.1f} billion parameters"


def _words(dataset: Dataset) -> list[int]:
    texts = dataset.pool or dataset.dev or dataset.given_shots
    return sorted(len(example.text.split()) for example in texts)


def _lengths(dataset: Dataset) -> str:
    words = _words(dataset)
    if not words:
        return ""
    typical, long = statistics.median(words), words[-len(words) // 10]
    return f"; {typical:.0f} words a text, one in ten has {long:,} or more"


def _notes(case: Case) -> Iterator[str]:
    """Yields notes on the data that matter for every method."""
    dataset, config = case.dataset, case.config
    gold = len(dataset.pool_gold)
    if gold >= _ENOUGH * len(dataset.labels) and gold > case.situation.shots * len(dataset.labels):
        yield (
            f"{gold:,} pool texts have labels, which the advice leaves aside. `tutelage train "
            "method=supervised` learns from them, without a teacher."
        )
    if dataset.kind != "ner" and dataset.dev:
        reader = row_reader(dataset.kind)
        counts = Counter(
            name for one in dataset.dev if one.label for name in reader.classes(one.label)
        )
        even = 1 / len(dataset.labels)
        shares = [counts[label.name] / max(1, counts.total()) for label in dataset.labels]
        if max(shares) >= min(0.75, 3 * even) or min(shares) < even / 4:
            # An instruct model's labels of two classes follow the pool's own shares.
            follows = case.teacher.chat and len(dataset.labels) == 2
            yield (
                f"The classes are uneven: {100 * max(shares):.0f} % of dev has the most frequent "
                f"one, {100 * min(shares):.1f} % the rarest."
                + (
                    ""
                    if follows
                    else " The teacher's labels are calibrated for equal shares: give "
                    "calibration.prior={NAME: SHARE} where you know them."
                )
            )
    words = _words(dataset)
    # A word of English is 1.3 sub-tokens on average.
    longest = 1.3 * words[-len(words) // 10] if words else 0
    if longest > config.student.max_length:
        yield (
            f"More than one text in ten is longer than student.max_length="
            f"{config.student.max_length} sub-tokens, which is all that the student reads."
        )
