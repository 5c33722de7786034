"""Files of labelled texts: Parquet, one per chunk, each of them whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tutelage.errors import DataError

_COUNTS = b"tutelage"
"""Key of a file's counts in its own metadata."""
_FIRST = (
    ("row", "number of the text in the heap, from 1"),
    ("file", "file of the heap that it is from"),
)
_LAST = (
    ("confidence", "the teacher's probability; null without a label"),
    ("probabilities", "the teacher's probability of each class, in the order given below"),
    ("reason", "why there is no label, or that the prompt shows a shortened text; else empty"),
)
COLUMNS: Mapping[bool, tuple[tuple[str, str], ...]] = {
    False: (
        *_FIRST,
        ("text", "the text"),
        ("label", "the most probable label; null without one"),
        *_LAST,
    ),
    True: (
        *_FIRST,
        ("tokens", "the words of the text"),
        ("tags", "IOB2 tag of each word; null without labels"),
        ("entities", "list of start (word), end (one past the last), type, and the confidence"),
        ("confidence", "the teacher's probability of the least certain entity; null without one"),
        ("probabilities", "its probability of each type and of O, in the order given below"),
        _LAST[-1],
    ),
}
"""Name and meaning of each column, by whether the labels are entities."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of labelled texts; ``texts`` is always ``labelled + failed``.

    Attributes:
        texts: Number of texts.
        labelled: Number of those with a label, or with entities or none of them.
        failed: Number of those without, each with its reason.
        shortened: Number of labelled ones of which prompts show a part only.
        prompt_tokens: Billed prompt tokens.
        completion_tokens: Billed completion tokens.
        classes: Texts by label, or entities by type.
        reasons: Texts without a label by the kind of reason.
    """

    texts: int = 0
    labelled: int = 0
    failed: int = 0
    shortened: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Billed tokens, prompt and completion."""
        return self.prompt_tokens + self.completion_tokens

    def plus(self, other: Tally) -> Tally:
        """Returns the sum of both."""
        return Tally(
            self.texts + other.texts,
            self.labelled + other.labelled,
            self.failed + other.failed,
            self.shortened + other.shortened,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            dict(Counter(self.classes) + Counter(other.classes)),
            dict(Counter(self.reasons) + Counter(other.reasons)),
        )


def shard_path(folder: Path, number: int) -> Path:
    """Returns the file of a chunk, by the chunk's number from 0."""
    return folder / "data" / f"part-{number:05d}.parquet"


def written_shards(folder: Path) -> list[Path]:
    """Returns the files of all chunks that are written, in order."""
    return sorted((folder / "data").glob("part-*.parquet"))


def write_shard(
    path: Path, records: Sequence[Mapping[str, Any]], tally: Tally, *, is_token_level: bool
) -> None:
    """Writes the records of a chunk with their counts.

    The file has a name of its own until it is whole and on the disk.

    Args:
        path: The file; an earlier one is replaced.
        records: One per text, with the keys of :data:`COLUMNS`.
        tally: Their counts.
        is_token_level: Whether the labels are entities.

    Raises:
        DataError: It cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, share = pa.string(), pa.float32()
    kinds = {
        "row": pa.int64(),
        "confidence": share,
        "probabilities": pa.list_(share),
        "tokens": pa.list_(text),
        "tags": pa.list_(text),
        "entities": pa.list_(
            pa.struct({"start": pa.int32(), "end": pa.int32(), "type": text, "confidence": share})
        ),
    }
    names = [name for name, _ in COLUMNS[is_token_level]]
    schema = pa.schema(
        [(name, kinds.get(name, text)) for name in names],
        {_COUNTS: json.dumps(asdict(tally), sort_keys=True, ensure_ascii=True)},
    )
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            pq.write_table(pa.Table.from_pylist(records, schema), file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written: {error.strerror or error}. See that the disk has room and "
            "that you may write there, and run the same command again."
        ) from error


def read_tally(path: Path) -> Tally | None:
    """Returns the counts of a file; None if there is none, or it is not whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            metadata = pq.read_schema(file).metadata or {}
        return Tally(**json.loads(metadata[_COUNTS]))
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException):
        return None


def content_digest(paths: Iterable[Path]) -> str:
    """Returns a hash of the contents of files, in their order (16 hex digits)."""
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:16]
