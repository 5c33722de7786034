"""`tutelage export --format dataset`: the pool of a finished run for the library ``datasets``.

Each row has its provenance. Texts of the user's data set, and texts that may be copies of them, are
written only if the user says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tutelage.errors import RunError
from tutelage.export import built_folder, check_target, finished, write_record
from tutelage.records import Row
from tutelage.report.card_facts import WRITTEN, CardOptions, card_settings, part
from tutelage.report.dataset_card import dataset_card, safe_reason
from tutelage.runs.read import Run
from tutelage.tasks.spans import read_spans

_PROVENANCE = (
    ("source", "where the text comes from"),
    (
        "labelled_by",
        "teacher; student; data set (source gold); or configuration (source class_name)",
    ),
    ("round", "round that the row was added in; 0 is the start"),
    ("accepted", "whether the model was trained on the row"),
    ("reason", "why it was rejected; empty for accepted rows"),
    ("teacher_confidence", "the teacher's probability of the label; null without an opinion"),
    ("requested_label", "label that the teacher was asked to write a text of; null if none"),
    ("weight", "weight of the row in training"),
    ("parents", "ids of what the text was made from"),
)
_COLUMNS = {
    False: (
        ("id", "stable id of the row"),
        ("text", "the text; null where it is left out"),
        ("label", "the label; null where there is none"),
        ("teacher_label", "the teacher's most probable label; null without an opinion"),
        *_PROVENANCE,
    ),
    True: (
        ("id", "stable id of the row"),
        ("tokens", "the words; null where they are left out"),
        ("entities", "list of start (word), end (one past the last), type, and the confidence"),
        *_PROVENANCE,
    ),
}
_LABELLERS = {"gold": "data set", "class_name": "configuration"}


@dataclass(frozen=True)
class ExportedDataset:
    """A pool that was exported.

    Attributes:
        format: "dataset".
        run: Name of the run's folder.
        task: Name of the task.
        labels: Names of the classes.
        accepted: Rows of the split "train".
        rejected: Rows of the split "rejected".
        without_text: Rows of either without their text.
    """

    format: str
    run: str
    task: str
    labels: tuple[str, ...]
    accepted: int
    rejected: int
    without_text: int


def export_dataset(
    folder: Path,
    to: Path | None = None,
    *,
    with_pool_texts: bool = False,
    options: CardOptions | None = None,
) -> tuple[ExportedDataset, Path]:
    """Writes the pool of a run as Parquet, one file per split, with a card.

    Args:
        folder: The folder of a finished run, read as data.
        to: Folder to write; export/dataset in the run's by default.
        with_pool_texts: Whether texts of the data set, and what may be copies of them, are written.
        options: What the user says about the card.

    Returns:
        The counts, and the folder.

    Raises:
        ConfigError: The target is a folder of something else.
        RunError: There is no finished run, or its pool is empty.
    """
    run = finished(folder)
    if not run.rows:
        raise RunError(f"The pool of the run in {folder} is empty. Give another run.")
    target = (to or run.folder / "export" / "dataset").expanduser()
    check_target(target)
    left_out = set() if with_pool_texts else private_rows(run)
    splits = {
        "train": [row for row in run.rows if row.accepted],
        "rejected": [row for row in run.rows if not row.accepted],
    }
    found = ExportedDataset(
        format="dataset",
        run=run.folder.resolve().name,
        task=run.task.name,
        labels=run.labels,
        accepted=len(splits["train"]),
        rejected=len(splits["rejected"]),
        without_text=len(left_out),
    )
    files = {name: f"data/{name}.parquet" for name, rows in splits.items() if rows}
    columns = _COLUMNS[run.task.is_token_level]
    card = dataset_card(run, files, columns, len(left_out), options or CardOptions())
    with built_folder(target) as built:
        (built / "data").mkdir()
        for name, file in files.items():
            _write(built / file, run, splits[name], left_out)
        write_record(built, asdict(found), card)
    return found, target


def private_rows(run: Run) -> set[str]:
    """Returns the ids of the rows whose texts are from the data set, or may be.

    They are all but what the teacher wrote freely and what describes a class. Of the teacher's
    texts those count that rewrite a text of the data set, or repeat one, test texts included.
    """
    open_sources = {*WRITTEN, "class_name"}
    rewrites = _rewrites(run)
    given = {_normal(row.text) for row in run.rows if row.source not in open_sources}
    return {
        row.id
        for row in run.rows
        if row.source not in open_sources
        or " duplicate of " in row.reason
        or (
            row.source in WRITTEN
            and (rewrites or "mode" in row.detail or _normal(row.text) in given)
        )
    }


def _rewrites(run: Run) -> bool:
    """Whether the teacher rewrote texts of the data set; True where the settings are unknown.

    A row of LLM-DA says so itself, by its ``mode``.
    """
    settings = card_settings(run)
    method = part(settings, "method")
    return not settings or method.get("content") == "pool" or method.get("seeds") == "loss"


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())


def _write(path: Path, run: Run, rows: Sequence[Row], left_out: set[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.string()
    entity = pa.struct(
        {"start": pa.int32(), "end": pa.int32(), "type": text, "confidence": pa.float32()}
    )
    kinds = {
        "tokens": pa.list_(text),
        "entities": pa.list_(entity),
        "round": pa.int32(),
        "accepted": pa.bool_(),
        "teacher_confidence": pa.float32(),
        "weight": pa.float32(),
        "parents": pa.list_(text),
    }
    columns = [name for name, _ in _COLUMNS[run.task.is_token_level]]
    schema = pa.schema([(name, kinds.get(name, text)) for name in columns])
    records = [_record(run, row, row.id not in left_out) for row in rows]
    pq.write_table(pa.Table.from_pylist(records, schema), path)


def _record(run: Run, row: Row, with_text: bool) -> dict[str, Any]:
    """Returns a row as plain values; a text without UTF-8 form is mended."""
    text = row.text.encode("utf-8", "replace").decode("utf-8") if with_text else None
    asked = bool(row.distribution or row.entity_confidence) and not row.by_student
    record: dict[str, Any] = {
        "id": row.id,
        "source": row.source,
        "labelled_by": "student" if row.by_student else _LABELLERS.get(row.source, "teacher"),
        "round": row.round,
        "accepted": row.accepted,
        "reason": safe_reason(row.reason) if row.reason else "",
        "teacher_confidence": row.confidence if asked else None,
        "requested_label": row.asked or None,
        "weight": row.weight,
        "parents": list(row.parents),
    }
    if not run.task.is_token_level:
        top = row.distribution.top if asked and row.distribution else None
        return {**record, "text": text, "label": row.target or None, "teacher_label": top}
    spans = read_spans(row.target)
    known = len(row.entity_confidence) == len(spans)
    sure = row.entity_confidence if known else (None,) * len(spans)
    entities = [
        {**span._asdict(), "confidence": value} for span, value in zip(spans, sure, strict=True)
    ]
    return {**record, "tokens": text and text.split(" "), "entities": entities}


def print_dataset(found: ExportedDataset) -> None:
    """Prints the counts of an exported pool."""
    print(f"{found.accepted:,} rows for training, {found.rejected:,} rejected ones")
    if found.without_text:
        print(
            f"{found.without_text:,} rows are without their text, which is from your data set or "
            "may repeat one; --with-pool-texts includes them."
        )
