"""Turns raw splits into a :class:`Dataset`: cleaned, checked, and with nothing of dev or test left in the pool.

Test texts are never altered, and a test example is left out only when it has no text at all. Near duplicates are looked for between
the pool (and the shots) and dev and test; inside the pool only exact and normalised repetitions are dropped.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tutelage.data.dataset import Dataset, Kind, classes_of
from tutelage.data.dedup import Deduplicator, normalise
from tutelage.data.labels import LabelSettings, label_space
from tutelage.data.raw import RawExample, RawSplit
from tutelage.errors import ConfigError, DataError, did_you_mean
from tutelage.records import Example, Label, record_id

_SCAN_UP_TO = 50_000
"""Pool size above which near duplicates are looked up by index, whatever the size of dev and test."""


def assemble(
    name: str,
    splits: Mapping[str, RawSplit],
    *,
    kind: Kind = "classification",
    labels: LabelSettings | None = None,
    near_threshold: float = 0.9,
    validation_share: float = 0.1,
    split_seed: int = 13,
    notes: Sequence[str] = (),
) -> Dataset:
    """Build a data set from "train" and "test", and "validation" and "shots" where they are given.

    Args:
        kind: what the rows' labels are; for NER ``labels`` are the entity types.
        near_threshold: similarity from which a pool text counts as a copy of a dev or test text; 1 for none but exact and normalised ones.
        validation_share: share of each class of train that becomes dev where there is no "validation".
        split_seed: decides which rows those are; not the run's seed, so that every seed of a sweep has the same dev.

    Raises:
        DataError: a split is empty, a label is missing or unknown, there is one class only, or no labels to draw shots from.
        ConfigError: a label entry or the share is not usable.
    """
    dropped: Counter[str] = Counter()
    kept_notes = list(notes)
    rows = {split: _with_text(_NAMES[split], raw, dropped) for split, raw in splits.items()}
    trained_on = _label_source(name, splits, rows, kind)
    seen = Counter(
        name
        for row in rows[trained_on]
        if row.label is not None
        for name in classes_of(kind, row.label)
    )
    space = label_space(
        labels, seen, splits[trained_on].where, at_least=2 if kind == "classification" else 1
    )
    for split in splits:
        _check_labels(split, rows[split], splits[split], space, kind, listed=labels is not None)
    kept_notes += [
        f"label '{label.name}' is listed but never seen in {splits[trained_on].where}"
        for label in space
        if label.name not in seen
    ]
    if (unlabelled := sum(row.label is None for row in rows["train"])) and trained_on == "train":
        kept_notes.append(f"{unlabelled} of {len(rows['train'])} pool texts have no label")

    pool = _without_repetitions("pool", rows["train"], dropped)
    shots = _without_repetitions("shots", rows.get("shots", []), dropped)
    if "validation" in rows:
        dev = rows["validation"]
    else:
        pool, dev = _cut_dev(pool, validation_share, split_seed, splits["train"].where, kind)
        of_each = " of each class" if kind == "classification" else ""
        kept_notes.append(
            f"no validation file: {len(dev)} labelled texts were cut from train ({validation_share:.0%}{of_each}, seed {split_seed})"
        )
    dev = _without_known("dev", dev, {normalise(row.text): "test" for row in rows["test"]}, dropped)

    scan_limit = 20_000 if len(pool) <= _SCAN_UP_TO else 0
    if scan_limit == 0:
        kept_notes.append(
            f"large pool ({len(pool)} texts): near duplicates of dev and test were looked up by word pairs, which can miss a few"
        )
    held_out = Deduplicator(near_threshold, scan_limit)
    for against, held in (("test", rows["test"]), ("dev", dev)):
        for row in held:
            held_out.add(row.text, against)
    shots = _without_leaks("shots", shots, held_out, dropped)
    pool = _without_known("pool", pool, {normalise(row.text): "shots" for row in shots}, dropped)
    pool = _without_leaks("pool", pool, held_out, dropped)
    for split, remaining in (("pool", pool), ("dev", dev)):
        if not remaining:
            lost = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
            raise DataError(
                f"Nothing is left of the {split} of '{name}' after cleaning ({lost}). Give other texts, or raise data.near_threshold."
            )

    unlabelled_pool, gold = _pool_examples(pool)
    return Dataset(
        name=name,
        labels=space,
        pool=unlabelled_pool,
        dev=_labelled("dev", dev),
        test=_labelled("test", rows["test"]),
        dropped=dict(dropped),
        notes=tuple(kept_notes),
        pool_gold=gold,
        given_shots=_labelled("shots", shots),
        kind=kind,
    )


_NAMES = {"train": "pool", "validation": "dev", "test": "test", "shots": "shots"}


def _with_text(split: str, raw: RawSplit, dropped: Counter[str]) -> list[RawExample]:
    rows = [row for row in raw.rows if row.text.strip()]
    if empty := len(raw.rows) - len(rows):
        dropped[f"empty text in {split}"] += empty
    if not rows:
        raise DataError(
            f"{raw.where}: all {empty} texts are empty. Choose another data.text_column ({', '.join(raw.columns)}), or fill the file."
        )
    return rows


def _label_source(
    name: str, splits: Mapping[str, RawSplit], rows: Mapping[str, Sequence[RawExample]], kind: Kind
) -> str:
    """The split that labelled examples are drawn from: "shots" where it is given, else "train"."""
    if "shots" in rows:
        return "shots" if all(row.label is None for row in rows["train"]) else "train"
    if all(row.label is None for row in rows["train"]):
        raise DataError(
            f"{splits['train'].where} has no labels (columns: {', '.join(splits['train'].columns)}), and '{name}' has no shots. Set "
            f"{'data.label_column=' if kind == 'classification' else 'data.tags_column= or data.spans_column='}, or put a few labelled "
            "examples of each class into a file named shots (such as shots.jsonl) beside it."
        )
    return "train"


def _check_labels(
    split: str,
    rows: Sequence[RawExample],
    raw: RawSplit,
    space: Sequence[Label],
    kind: Kind,
    *,
    listed: bool,
) -> None:
    names = {label.name for label in space}
    for row in rows:
        if row.label is None:
            if split != "train":
                raise DataError(
                    f"{row.index}: the text has no label, and every row of {split} needs one. Label it, or take the row out."
                )
            continue
        what = "label" if kind == "classification" else "entity type"
        for unknown in (name for name in classes_of(kind, row.label) if name not in names):
            count = sum(
                unknown in classes_of(kind, other.label)
                for other in rows
                if other.label is not None
            )
            where = "data.labels does not list it" if listed else "no training example has it"
            raise DataError(
                f"{row.index}: {did_you_mean(what, unknown, names)} {count} of {len(rows)} rows of {raw.where} have it and {where}. "
                "Mend the rows, add training examples of it, or list every label in data.labels."
            )


def _without_repetitions(
    split: str, rows: Iterable[RawExample], dropped: Counter[str]
) -> list[RawExample]:
    first: dict[str, RawExample] = {}
    for row in rows:
        known = first.setdefault(normalise(row.text), row)
        if known is not row:
            conflict = (
                row.label is not None and known.label is not None and row.label != known.label
            )
            dropped[f"conflicting label in {split}" if conflict else f"duplicate in {split}"] += 1
    return list(first.values())


def _without_known(
    split: str, rows: Iterable[RawExample], known: Mapping[str, str], dropped: Counter[str]
) -> list[RawExample]:
    kept = []
    for row in rows:
        if (kind := known.get(normalise(row.text))) is None:
            kept.append(row)
        else:
            dropped[f"duplicate of {kind} in {split}"] += 1
    return kept


def _without_leaks(
    split: str, rows: Iterable[RawExample], held_out: Deduplicator, dropped: Counter[str]
) -> list[RawExample]:
    kept = []
    for row in rows:
        if (found := held_out.check(row.text)) is None:
            kept.append(row)
        else:
            dropped[f"{found.kind} duplicate of {found.against} in {split}"] += 1
    return kept


def _cut_dev(
    rows: Sequence[RawExample], share: float, seed: int, where: str, kind: Kind
) -> tuple[list[RawExample], list[RawExample]]:
    if not 0.0 < share < 1.0:
        raise ConfigError(f"data.validation_share is {share}; it must lie between 0 and 1.")
    by_label: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        if row.label is not None:
            # Texts with entities are drawn from all together: few have the same types.
            by_label.setdefault(row.label if kind == "classification" else "", []).append(index)
    cut: set[int] = set()
    for label, indices in sorted(by_label.items()):
        wanted = min(max(1, round(share * len(indices))), len(indices) - 1)  # at least one stays
        cut.update(random.Random(int(record_id("dev", seed, label), 16)).sample(indices, wanted))
    if not cut:
        raise DataError(
            f"There is no validation file, and {where} has too few labelled texts to cut one from. Add a file named validation."
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
        # A text may stand in test more than once; the count keeps the ids apart.
        examples.append(Example(record_id(split, row.text, times[row.text]), row.text, row.label))
        times[row.text] += 1
    return tuple(examples)
