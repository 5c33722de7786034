"""What a data source gives: a label space, an unlabelled pool, dev and test."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tutelage.errors import ConfigError, DataError
from tutelage.records import Example, Label, record_id
from tutelage.tasks.spans import read_spans

Kind = Literal["classification", "ner"]


def classes_of(kind: Kind, label: str) -> tuple[str, ...]:
    """The classes that a gold label holds: itself, or the types of the entities that it marks."""
    return (
        (label,)
        if kind == "classification"
        else tuple(dict.fromkeys(span.type for span in read_spans(label)))
    )


@dataclass(frozen=True, slots=True)
class Dataset:
    """A label space with its three splits.

    Attributes:
        labels: the label space, in the order that every distribution and target vector uses.
        pool: unlabelled (``label`` is None in every example, also where the gold is known).
        dev, test: labelled.
        dropped: how many texts were left out, by reason ("empty text in pool", "near duplicate of test in pool").
        notes: what a reader of the report should know (a cut validation set, labels that were never seen).
        pool_gold: label name by pool id, as far as it is known. Only :meth:`shots` and :meth:`supervised` read it; no method may.
        given_shots: labelled examples of a shots file; empty where shots are drawn from the pool's gold.
        kind: what a label is: a class ("classification"), or a marking of entities ("ner").
    """

    name: str
    labels: tuple[Label, ...]
    pool: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]
    dropped: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    pool_gold: Mapping[str, str] = field(default_factory=dict, repr=False)
    given_shots: tuple[Example, ...] = ()
    kind: Kind = "classification"

    @property
    def digest(self) -> str:
        """SHA-256 (64 hex digits) over labels, texts and gold of every split, in order; the name is not part of it."""
        total = hashlib.sha256()
        for label in self.labels:
            total.update(_line("label", label.name, label.word, label.description))
        for example in self.pool:
            total.update(_line("pool", example.text, self.pool_gold.get(example.id)))
        for split, examples in (
            ("shots", self.given_shots),
            ("dev", self.dev),
            ("test", self.test),
        ):
            for example in examples:
                total.update(_line(split, example.text, example.label))
        return total.hexdigest()

    def shots(self, k: int, seed: int) -> tuple[Example, ...]:
        """Draw ``k`` labelled examples of each class, from the shots file where there is one, else from the pool's gold.

        The draw depends on ``seed``, the class and the data alone, and the shots of a smaller ``k`` are among those of a larger one.

        Returns:
            For classification k · classes examples, class after class in the order of ``labels``. For NER at most as many: texts with
            an entity of the type, none twice.

        Raises:
            ConfigError: ``k`` is negative.
            DataError: a class has fewer than ``k`` labelled examples.
        """
        if k < 0:
            raise ConfigError(f"{k} shots per class were asked for; give 0 or more.")
        if k == 0:
            return ()
        source = self.given_shots or self._labelled_pool()
        by_label: dict[str, list[Example]] = {label.name: [] for label in self.labels}
        for example in source:
            for name in classes_of(self.kind, example.label) if example.label is not None else ():
                by_label[name].append(example)
        short = {name: len(examples) for name, examples in by_label.items() if len(examples) < k}
        if short:
            counts = ", ".join(f"'{name}' has {count}" for name, count in short.items())
            where = "the shots file" if self.given_shots else "the pool"
            raise DataError(
                f"{k} shots per class were asked for, but in {where} of '{self.name}' {counts}. "
                f"Ask for at most {min(short.values())}, or label more examples."
            )
        drawn: dict[str, Example] = {}
        for name, examples in by_label.items():
            random.Random(int(record_id("shots", seed, name), 16)).shuffle(examples)
            drawn.update((example.id, example) for example in examples[:k])
        return tuple(drawn.values())

    def supervised(self) -> tuple[Example, ...]:
        """Every pool example whose gold is known, with it: for the supervised ceiling only.

        Raises:
            DataError: the pool has no gold labels.
        """
        labelled = self._labelled_pool()
        if not labelled:
            raise DataError(
                f"The pool of '{self.name}' has no gold labels, so there is no supervised ceiling to train. Switch that arm off."
            )
        return labelled

    def _labelled_pool(self) -> tuple[Example, ...]:
        return tuple(
            replace(example, label=self.pool_gold[example.id])
            for example in self.pool
            if example.id in self.pool_gold
        )


def _line(*parts: str | None) -> bytes:
    return json.dumps(parts).encode() + b"\n"
