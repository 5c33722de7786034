"""The product of a data source: a label space, an unlabelled pool, dev and test."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tutelage.errors import ConfigError, DataError
from tutelage.records import Example, Label, derive_seed
from tutelage.tasks.registry import row_reader


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """What was read for one split, and what is left of it.

    Attributes:
        name: "pool", "shots", "dev" or "test".
        where: The file, or the name of the split on the hub.
        read: Number of rows read.
        kept: Number of rows left after cleaning.
        classes: Number of kept rows by class, where labels are known; a NER text counts once for
            each of its types.
        dropped: Number of rows left out, by reason.
        replaced: Number of texts with replaced characters (:mod:`tutelage.characters`).
    """

    name: str
    where: str
    read: int
    kept: int
    classes: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    replaced: int = 0

    def line(self) -> str:
        """Return the summary as one line for the terminal."""
        parts = [f"{self.name:<5} {self.kept:,} of {self.read:,} rows"]
        if self.classes:
            # The largest classes first; a long list is cut.
            ranked = sorted(self.classes.items(), key=lambda item: (-item[1], item[0]))
            shown = ", ".join(f"{name} {count:,}" for name, count in ranked[:8])
            more = f", and {len(ranked) - 8} more" if len(ranked) > 8 else ""
            parts.append(f"{len(ranked)} classes: {shown}{more}")
        if self.dropped:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.dropped.items())
            parts.append(f"left out: {reasons}")
        if self.replaced:
            parts.append(f"{self.replaced:,} with replaced characters")
        return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A label space with its pool, dev and test sets.

    Attributes:
        name: Name of the data set in reports.
        labels: The label space, in the order of every distribution and target vector.
        pool: Unlabelled examples; their ``label`` is None even if the gold label is known.
        dev: Labelled examples for validation.
        test: Labelled examples for the final evaluation.
        dropped: Number of texts left out, by reason ("empty text in pool", "near duplicate of test
            in pool").
        notes: Remarks for the report, for instance a dev set cut from train, or labels never seen.
        pool_gold: Gold labels of pool examples by id, as far as they are known. Only :meth:`shots`
            and :meth:`supervised` may read them; no method may.
        given_shots: Examples of a shots file; empty if shots are drawn from the pool's gold labels.
        kind: Name of the task, which decides the form of a label: a class ("classification"), or a
            list of entities ("ner").
        splits: What was read for each split.
        warnings: What a user should see on the terminal before the run goes on.
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
    kind: str = "classification"
    splits: tuple[SplitSummary, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 (64 hex digits) of labels, texts and gold labels of every split, in order.

        The name of the data set does not influence it.
        """
        # One JSON line per record keeps neighbouring fields apart.
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
        """Draw ``k`` labelled examples per class.

        They come from the shots file if there is one, else from the pool's gold labels. The draw
        depends only on ``seed``, the class and the data, and the shots of a smaller ``k`` are a
        subset of those of a larger one.

        Args:
            k: Examples per class; 0 draws none.
            seed: Seed of the draw.

        Returns:
            For classification k · classes examples, class after class in the order of ``labels``.
            For NER at most as many texts, each with an entity of the type and none repeated.

        Raises:
            ConfigError: If ``k`` is negative.
            DataError: If a class has fewer than ``k`` labelled examples.
        """
        if k < 0:
            raise ConfigError(f"{k} shots per class were requested; give 0 or more.")
        if k == 0:
            return ()
        # Group the candidates by class; a NER text belongs to every type that it contains.
        source = self.given_shots or self._labelled_pool()
        reader = row_reader(self.kind)
        by_label: dict[str, list[Example]] = {label.name: [] for label in self.labels}
        for example in source:
            for name in reader.classes(example.label) if example.label is not None else ():
                by_label[name].append(example)
        # Check every class before drawing, so that the message can name all short ones.
        short = {name: len(examples) for name, examples in by_label.items() if len(examples) < k}
        if short:
            counts = ", ".join(f"'{name}' has {count}" for name, count in short.items())
            where = "the shots file" if self.given_shots else "the pool"
            raise DataError(
                f"{k} shots per class were requested, but {where} of '{self.name}' has too few: "
                f"{counts}. "
                f"Request at most {min(short.values())}, or label more examples."
            )
        # One generator per class: adding a class leaves the draws of the others unchanged.
        drawn: dict[str, Example] = {}
        for name, examples in by_label.items():
            random.Random(derive_seed("shots", seed, name)).shuffle(examples)
            drawn.update((example.id, example) for example in examples[:k])
        return tuple(drawn.values())

    def supervised(self) -> tuple[Example, ...]:
        """Return every pool example with a known gold label, for the supervised ceiling only.

        Raises:
            DataError: If the pool has no gold labels.
        """
        labelled = self._labelled_pool()
        if not labelled:
            raise DataError(
                f"The pool of '{self.name}' has no gold labels to train a supervised student on. "
                "Use a data set with gold labels, or training.gold=shots evaluate.supervised=false."
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
