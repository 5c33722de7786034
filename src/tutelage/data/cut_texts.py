"""Texts that are longer than the student reads: how many, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.data.dataset import Dataset
from tutelage.data.items import ItemEncoder
from tutelage.records import Example

_LOOKED_AT = 1000
"""Texts per split that are measured, at most."""
_MUCH = 0.1
"""Share of cut texts in a split above which it is a warning."""
_SPARED = 0.05
"""Share of texts that the advised length cuts."""


def cut_texts(encoder: ItemEncoder, dataset: Dataset, limit: int) -> tuple[str, bool]:
    """Describe the texts that are longer than ``max_length`` tokens.

    Args:
        encoder: The encoder, which cuts them.
        dataset: The texts. Of a large split, an even sample is measured.
        limit: Largest number of tokens that the student can read; 0 if unknown.

    Returns:
        A sentence or two, "" if no text is cut; and whether they are many.
    """
    most = encoder.max_length
    splits = {"pool": dataset.pool, "dev": dataset.dev, "test": dataset.test}
    lengths = {name: encoder.lengths(_sample(examples)) for name, examples in splits.items()}
    longer = {name: sum(length > most for length in found) for name, found in lengths.items()}
    counts = [
        f"{longer[name]:,} of {len(found):,} {name} texts"
        + (" measured" if len(found) < len(splits[name]) else "")
        for name, found in lengths.items()
        if longer[name]
    ]
    if not counts:
        return "", False
    together = sorted(length for found in lengths.values() for length in found)
    cut = [length for length in together if length > most]
    lost = 1 - most * len(cut) / sum(cut)
    said = (
        f"student.max_length={most} cuts {', '.join(counts)}; they lose {lost:.0%} of their tokens."
    )
    if all(longer[name] <= _MUCH * len(found) for name, found in lengths.items()):
        return said, False
    return f"{said} {_advice(lengths, most, limit)}", True


def _advice(lengths: dict[str, list[int]], most: int, limit: int) -> str:
    if limit and limit <= most:
        return (
            "The student reads no more: use shorter texts, or a student.model= that reads longer "
            "ones."
        )
    # A length that is enough for most texts of every split.
    longest_first = [sorted(found, reverse=True) for found in lengths.values() if found]
    needed = max(found[int(len(found) * _SPARED)] for found in longest_first)
    if limit and limit < needed:
        return f"The student reads more, up to student.max_length={limit}."
    return f"student.max_length={needed} is enough for most."


def _sample(examples: Sequence[Example]) -> list[str]:
    step = max(1, -(-len(examples) // _LOOKED_AT))
    return [example.text for example in examples[::step]]
