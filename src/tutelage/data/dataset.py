"""The product of a data source: a label space, an unlabelled pool, dev and test."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tutelage.characters import shown as readable
from tutelage.errors import ConfigError, DataError
from tutelage.records import Example, Label, derive_seed
from tutelage.tasks.registry import row_reader

CUT = "cut off for dev"
"""Why a row of train is in dev: there is no validation file."""


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """Rows of one split: read, kept and left out.

    Attributes:
        name: "pool", "shots", "gold", "dev" or "test".
        where: The file, or the name of the split on the hub.
        read: Number of rows read.
        kept: Number of rows left after cleaning.
        classes: Number of kept rows by class, where labels are known; a NER text counts once for
            each of its types.
        dropped: Number of rows left out, by reason.
        replaced: Number of rows with replaced characters (:mod:`tutelage.characters`).
        unlabelled: Number of kept rows without a label.
    """

    name: str
    where: str
    read: int
    kept: int
    classes: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    replaced: int = 0
    unlabelled: int = 0

    def line(self) -> str:
        """Return the summary as one line for the terminal."""
        parts = [f"{self.name:<5} {self.kept:,} of {self.read:,} rows"]
        if self.classes:
            # The largest classes first; a long list is cut.
            ranked = sorted(self.classes.items(), key=lambda item: (-item[1], item[0]))
            shown = ", ".join(f"{readable(name)}: {count:,}" for name, count in ranked[:8])
            more = f", and {len(ranked) - 8} more" if len(ranked) > 8 else ""
            noun = "class" if len(ranked) == 1 else "classes"
            parts.append(f"{len(ranked)} {noun} ({shown}{more})")
        if self.unlabelled:
            parts.append(f"{self.unlabelled:,} without label")
        if self.dropped:
            reasons = ", ".join(
                counted_reason(count, reason) for reason, count in self.dropped.items()
            )
            parts.append(f"left out: {reasons}")
        if self.replaced:
            parts.append(f"{self.replaced:,} with replaced characters")
        return "; ".join(parts)


def counted_reason(count: int, reason: str) -> str:
    """Return a reason with its count, in the plural if it has one ("2 near duplicates of test")."""
    for noun in ("duplicate", "label", "text", "row") if count != 1 else ():
        head, found, rest = reason.partition(noun)
        if found:
            return f"{count:,} {head}{noun}s{rest}"
    return f"{count:,} {reason}"


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
        given_gold: Examples of ``data.gold``, which every run uses besides its shots.
        kind: Name of the task, which decides the form of a label: a class ("classification"), or a
            list of entities ("ner").
        splits: What was read for each split.
        warnings: What a user should see on the terminal before the run goes on.
        left_out: Number of examples by class and reason that the source of the shots (the shots
            file, or the pool's gold labels) lost to dev or to cleaning.
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
    given_gold: tuple[Example, ...] = ()
    kind: str = "classification"
    splits: tuple[SplitSummary, ...] = ()
    warnings: tuple[str, ...] = ()
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict, repr=False)

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
            ("gold", self.given_gold),
            ("dev", self.dev),
            ("test", self.test),
        ):
            for example in examples:
                total.update(_line(split, example.text, example.label))
        return total.hexdigest()

    def shots(self, k: int, seed: int) -> tuple[Example, ...]:
        """Draw ``k`` labelled examples per class, and add those of ``data.gold``.

        The drawn ones come from the shots file if there is one, else from the pool's gold labels.
        The draw depends only on ``seed``, the class and the data, and the shots of a smaller ``k``
        are a subset of those of a larger one.

        Args:
            k: Examples per class; 0 draws none.
            seed: Seed of the draw.

        Returns:
            For classification k · classes examples, class after class in the order of ``labels``.
            For NER at most as many texts, each with an entity of the type and none repeated.
            Then every example of ``given_gold``.

        Raises:
            ConfigError: If ``k`` is negative.
            DataError: If a class has fewer than ``k`` labelled examples.
        """
        if k < 0:
            raise ConfigError(f"{k} shots per class were requested; give 0 or more.")
        if k == 0:
            return self.given_gold
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
            raise DataError(self._too_few(k, short))
        # One generator per class: adding a class leaves the draws of the others unchanged.
        drawn: dict[str, Example] = {}
        for name, examples in by_label.items():
            random.Random(derive_seed("shots", seed, name)).shuffle(examples)
            drawn.update((example.id, example) for example in examples[:k])
        return (*drawn.values(), *self.given_gold)

    def _too_few(self, k: int, short: Mapping[str, int]) -> str:
        """Say which classes have fewer than ``k`` examples, why, and what helps."""
        counts = [
            f"'{readable(name)}' has {count}{self._lost_of(name)}" for name, count in short.items()
        ]
        where = "the shots file" if self.given_shots else "the pool"
        remedies = ["label more examples"]
        if least := min(short.values()):
            remedies.insert(0, f"request at most {least}")
        cut = {name: self.left_out.get(name, {}).get(CUT, 0) for name in short}
        if any(cut.values()):
            remedies.append("add a validation file (on the hub: data.splits.validation=)")
            share = _smaller_share(k, {name: (short[name], cut[name]) for name in short})
            if share and row_reader(self.kind).stratified:
                remedies.append(f"cut off less: data.validation_share={share}")
        advice = " or ".join(filter(None, [", ".join(remedies[:-1]), *remedies[-1:]]))
        return (
            f"{k} shots per class were requested, but {where} of '{self.name}' has too few: "
            f"{', '.join(counts)}. {advice[0].upper()}{advice[1:]}."
        )

    def _lost_of(self, name: str) -> str:
        reasons = self.left_out.get(name, {})
        lost = ", ".join(
            f"{count} more was {reason}"
            if reason == CUT and count == 1
            else f"{count} more were {reason}"
            if reason == CUT
            else f"{counted_reason(count, reason)} left out"
            for reason, count in reasons.items()
        )
        return f" ({lost})" if lost else ""

    def supervised(self) -> tuple[Example, ...]:
        """Return every example with a known gold label, for the supervised ceiling only.

        These are pool examples and those of ``data.gold``, which have left the pool.

        Raises:
            DataError: If the pool has no gold labels.
        """
        labelled = self._labelled_pool()
        if not labelled:
            raise DataError(
                f"The pool of '{self.name}' has no gold labels to train a supervised student on. "
                "Use a data set with gold labels, or training.gold=shots evaluate.supervised=false."
            )
        return (*labelled, *self.given_gold)

    def _labelled_pool(self) -> tuple[Example, ...]:
        return tuple(
            replace(example, label=self.pool_gold[example.id])
            for example in self.pool
            if example.id in self.pool_gold
        )


def _smaller_share(k: int, classes: Mapping[str, tuple[int, int]]) -> float | None:
    """A share of train for dev that leaves ``k`` examples of every class.

    Args:
        k: Examples per class.
        classes: Number of examples left and cut off, by class.
    """
    for share in (0.05, 0.02, 0.01):
        if all(
            left + cut - max(1, round(share * (left + cut))) >= k for left, cut in classes.values()
        ):
            return share
    return None


def _line(*parts: str | None) -> bytes:
    return json.dumps(parts).encode() + b"\n"
