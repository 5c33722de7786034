"""Turns raw splits into a :class:`Dataset` free of leaks from dev and test into the training data.

Test texts are never altered, and a test example is left out only if it has no text at all. Near
duplicates are searched between the pool (and the shots) on one side and dev and test on the other;
inside the pool only exact and normalised repetitions are dropped.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tutelage.characters import shown
from tutelage.data.dataset import CUT, Dataset, counted_reason
from tutelage.data.dedup import Deduplicator, normalise
from tutelage.data.label_checks import check_look_alikes, label_uses, label_warnings
from tutelage.data.labels import LabelSettings, label_space
from tutelage.data.losses import CONFLICT, REJECTED, Losses, loss_warnings, summary
from tutelage.data.raw import RawExample, RawSplit
from tutelage.errors import ConfigError, DataError, did_you_mean, listed
from tutelage.records import Example, Label, derive_seed, record_id
from tutelage.tasks.registry import row_reader
from tutelage.tasks.rows import RowReader, in_file

_SCAN_UP_TO = 50_000
"""Pool size up to which near duplicates are found by exhaustive comparison, not by index."""


def assemble(
    name: str,
    splits: Mapping[str, RawSplit],
    *,
    kind: str = "classification",
    labels: LabelSettings | None = None,
    near_threshold: float = 0.9,
    validation_share: float = 0.1,
    split_seed: int = 13,
    notes: Sequence[str] = (),
) -> Dataset:
    """Build a data set from its raw splits.

    Args:
        name: Name of the data set in reports and messages.
        splits: "train" and "test", optionally "validation", "shots" and "gold".
        kind: Name of the task, which decides the form of the row labels.
        labels: The label space (for NER, the entity types): names, or name → {word, description}.
            None infers it from the labelled training data.
        near_threshold: Similarity in (0, 1] from which a pool text counts as a copy of a dev or
            test text; 1 removes exact and normalised copies only.
        validation_share: Share of each class of train, between 0 and 1, that becomes dev if there
            is no "validation" split.
        split_seed: Seed of that cut. It is independent of the run's seed, so all seeds of a sweep
            share one dev set.
        notes: Remarks to carry over into the data set's notes.

    Raises:
        DataError: If a split is empty, a label is missing or unknown, there is only one class, or
            there are no labels to draw shots from.
        ConfigError: If a label entry, the threshold or the share is invalid.
    """
    reader = row_reader(kind)
    # Drop empty texts, find the label space, and check every row against it.
    losses = Losses()
    rows = {split: _with_text(_NAMES[split], raw, losses) for split, raw in splits.items()}
    space, kept_notes, warnings = _labels(name, splits, rows, labels, reader)
    kept_notes = [*notes, *kept_notes]

    # Repetitions inside a split, and dev.
    pool = _without_repetitions("pool", rows["train"], losses)
    shots = _without_repetitions("shots", rows.get("shots", []), losses)
    given = _without_repetitions("gold", rows.get("gold", []), losses)
    if "validation" in rows:
        dev = rows["validation"]
    else:
        # Before the search for leaks, so that it covers dev as well.
        pool, dev = _cut_dev(pool, validation_share, split_seed, splits["train"].where, reader)
        for row in dev:
            losses.add("pool", CUT, row)
        of_each = " of each class" if reader.stratified else ""
        kept_notes.append(
            f"no validation file: {len(dev)} labelled texts were cut from train "
            f"({validation_share:.0%}{of_each}, seed {split_seed})"
        )
    dev = _without_known("dev", dev, "test", rows["test"], losses)

    # Leaks: no copy of a dev or test text may remain in the shots, the gold file or the pool.
    scan_limit = 20_000 if len(pool) <= _SCAN_UP_TO else 0
    if scan_limit == 0:
        kept_notes.append(
            f"large pool ({len(pool)} texts): near duplicates of dev and test were looked up "
            "by word pairs, which can miss a few"
        )
    held_out = Deduplicator(near_threshold, scan_limit)
    for against, held in (("test", rows["test"]), ("dev", dev)):
        for row in held:
            held_out.add(row.text, against)
    given = _without_leaks("gold", given, held_out, losses)
    shots = _without_known("shots", shots, "gold", given, losses)
    shots = _without_leaks("shots", shots, held_out, losses)
    pool = _without_known("pool", pool, "gold", given, losses)
    pool = _without_known("pool", pool, "shots", shots, losses)
    pool = _without_leaks("pool", pool, held_out, losses)
    for split, remaining in (("pool", pool), ("dev", dev)):
        if not remaining:
            raise DataError(_nothing_left(split, name, losses))

    # For the terminal: every split, and large losses.
    kept = {"pool": pool, "shots": shots, "gold": given, "dev": dev, "test": rows["test"]}
    summaries = [
        summary(own, splits.get(split), kept[own], losses, (one.name for one in space), reader)
        for split, own in _NAMES.items()
        if split in splits or own == "dev"
    ]
    warnings += [warning for one in summaries for warning in loss_warnings(one, losses, reader)]

    # Hide the gold labels of the pool: methods see texts only.
    unlabelled_pool, gold = _pool_examples(pool)
    return Dataset(
        name=name,
        labels=space,
        pool=unlabelled_pool,
        dev=_labelled("dev", dev),
        test=_labelled("test", rows["test"]),
        dropped=losses.totals,
        notes=tuple(kept_notes),
        pool_gold=gold,
        given_shots=_labelled("shots", shots),
        given_gold=_labelled("gold", given),
        kind=kind,
        splits=tuple(summaries),
        warnings=tuple(warnings),
        left_out=losses.by_class("shots" if shots else "pool", reader),
    )


_NAMES = {
    "train": "pool",
    "validation": "dev",
    "test": "test",
    "shots": "shots",
    "gold": "gold",
}


def _with_text(split: str, raw: RawSplit, losses: Losses) -> list[RawExample]:
    rows = []
    for row in raw.rejected:
        losses.add(split, REJECTED, row)
    for row in raw.rows:
        if row.text.strip():
            rows.append(row)
        else:
            losses.add(split, "empty text", row)
    if not rows:
        raise DataError(
            f"{raw.where}: all {len(raw.rows)} texts are empty. "
            f"Choose another data.text_column ({listed(raw.columns)}), or add texts to the file."
        )
    return rows


def _labels(
    name: str,
    splits: Mapping[str, RawSplit],
    rows: Mapping[str, Sequence[RawExample]],
    labels: LabelSettings | None,
    reader: RowReader,
) -> tuple[tuple[Label, ...], list[str], list[str]]:
    """Return the label space, with notes and warnings, after checking every row against it."""
    # The split with the labelled examples defines the label space.
    trained_on = _label_source(name, splits, rows, reader, listed_labels=labels is not None)
    source = splits[trained_on]
    seen, everywhere = label_uses([rows[trained_on]], reader), label_uses(rows.values(), reader)
    # Only some of the files may know the numbers of the classes.
    orders = [raw.class_order for raw in (source, *splits.values()) if raw.class_order]
    class_order = orders[0] if orders else ()
    if labels is None:
        check_look_alikes(everywhere, seen, reader)
    space = label_space(labels, seen, source.where, reader, class_order)
    for split, raw in splits.items():
        _check_labels(split, rows[split], raw, space, reader, listed=labels is not None)
    warnings = [warning for raw in splits.values() for warning in raw.warnings]
    if labels is None:
        warnings += label_warnings(seen, source, rows[trained_on], everywhere, class_order, reader)
    # Listed labels without an example are legal, but worth a note.
    notes = [
        f"label '{shown(label.name)}' is listed but never seen in {source.where}"
        for label in space
        if label.name not in seen
    ]
    if (unlabelled := sum(row.label is None for row in rows["train"])) and trained_on == "train":
        notes.append(f"{unlabelled} of {len(rows['train'])} pool texts have no label")
    return space, notes, warnings


def _label_source(
    name: str,
    splits: Mapping[str, RawSplit],
    rows: Mapping[str, Sequence[RawExample]],
    reader: RowReader,
    *,
    listed_labels: bool,
) -> str:
    """Return the split that defines the labels: "train", or "shots" if train is unlabelled."""
    if "shots" in rows:
        return "shots" if all(row.label is None for row in rows["train"]) else "train"
    # Raw text needs no label where the configuration lists the labels (shots=0).
    if not listed_labels and all(row.label is None for row in rows["train"]):
        raise DataError(
            f"{splits['train'].where} has no labels "
            f"(columns: {listed(splits['train'].columns)}), and '{name}' has no shots. "
            f"Set {reader.label_settings}, or put a few labelled examples of each class "
            "into a file named shots (such as shots.jsonl) in the same folder."
        )
    return "train"


def _check_labels(
    split: str,
    rows: Sequence[RawExample],
    raw: RawSplit,
    space: Sequence[Label],
    reader: RowReader,
    *,
    listed: bool,
) -> None:
    names = {label.name for label in space}
    for row in rows:
        if row.label is None:
            if split != "train":
                raise DataError(
                    f"{row.location}: the text has no label, but every row of {split} needs one. "
                    "Label it, or remove the row."
                )
            continue
        # Report the first unknown label, with the number of rows that share it.
        for unknown in (name for name in reader.classes(row.label) if name not in names):
            count = sum(
                unknown in reader.classes(other.label) for other in rows if other.label is not None
            )
            where, mend = (
                ("data.labels does not list it", "add it to data.labels.")
                if listed
                else (
                    "no training example has it",
                    "add training examples of it; without shots (shots=0), listing every label in "
                    "data.labels is enough.",
                )
            )
            said = did_you_mean(reader.class_name, shown(unknown), map(shown, names))
            raise DataError(
                f"{row.location}: {said} "
                f"{count} of {len(rows)} rows of {raw.where} have it, and {where}. "
                f"Correct the rows of {in_file(raw.where)}, or {mend}"
            )


def _without_repetitions(
    split: str, rows: Iterable[RawExample], losses: Losses
) -> list[RawExample]:
    first: dict[str, RawExample] = {}
    for row in rows:
        known = first.setdefault(normalise(row.text), row)
        if known is not row:
            # The first row of a text wins, even against a different label.
            conflict = (
                row.label is not None and known.label is not None and row.label != known.label
            )
            losses.add(split, CONFLICT if conflict else "duplicate", row, known)
    return list(first.values())


def _without_known(
    split: str,
    rows: Iterable[RawExample],
    against: str,
    known: Iterable[RawExample],
    losses: Losses,
) -> list[RawExample]:
    texts = {normalise(row.text): row for row in known}
    kept = []
    for row in rows:
        if (found := texts.get(normalise(row.text))) is None:
            kept.append(row)
        else:
            losses.add(split, f"duplicate of {against}", row, found)
    return kept


def _without_leaks(
    split: str, rows: Iterable[RawExample], held_out: Deduplicator, losses: Losses
) -> list[RawExample]:
    kept = []
    for row in rows:
        if (found := held_out.check(row.text)) is None:
            kept.append(row)
        else:
            losses.add(split, f"{found.kind} duplicate of {found.against}", row, found.of)
    return kept


def _nothing_left(split: str, name: str, losses: Losses) -> str:
    totals = losses.totals
    lost = ", ".join(counted_reason(count, reason) for reason, count in totals.items())
    near = any(one.reason.startswith("near") for one in losses.of(split))
    advice = ", or keep near duplicates: data.near_threshold=1" if near else ""
    return (
        f"No text of the {split} of '{name}' is left after cleaning ({lost}). "
        f"Use other texts{advice}."
    )


def _cut_dev(
    rows: Sequence[RawExample], share: float, seed: int, where: str, reader: RowReader
) -> tuple[list[RawExample], list[RawExample]]:
    if not 0.0 < share < 1.0:
        raise ConfigError(f"data.validation_share is {share}; it must lie between 0 and 1.")
    # Stratify by class, or take all rows as one stratum; unlabelled rows stay in train.
    by_label: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        if row.label is not None:
            by_label.setdefault(row.label if reader.stratified else "", []).append(index)
    # The seed depends on the label, so that adding a class leaves the other cuts unchanged.
    cut: set[int] = set()
    for label, indices in sorted(by_label.items()):
        # At least one text for dev, and at least one that stays in train.
        wanted = min(max(1, round(share * len(indices))), len(indices) - 1)
        cut.update(random.Random(derive_seed("dev", seed, label)).sample(indices, wanted))
    if not cut:
        raise DataError(
            f"There is no validation file, and {where} has too few labelled texts to cut dev from. "
            "Add a file named validation."
        )
    return [row for index, row in enumerate(rows) if index not in cut], [
        row for index, row in enumerate(rows) if index in cut
    ]


def _pool_examples(rows: Sequence[RawExample]) -> tuple[tuple[Example, ...], dict[str, str]]:
    examples = tuple(Example(record_id("pool", row.text), row.text) for row in rows)
    gold = {
        example.id: row.label
        for example, row in zip(examples, rows, strict=True)
        if row.label is not None
    }
    return examples, gold


def _labelled(split: str, rows: Iterable[RawExample]) -> tuple[Example, ...]:
    times: Counter[str] = Counter()
    examples = []
    for row in rows:
        # Test may repeat a text; the count makes the ids unique.
        examples.append(Example(record_id(split, row.text, times[row.text]), row.text, row.label))
        times[row.text] += 1
    return tuple(examples)
