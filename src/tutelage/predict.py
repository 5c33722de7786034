"""Labels from a finished run's student, for texts on the command line or in a file."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tutelage.errors import DataError, did_you_mean

_BATCH = 64


def predict(run: Path, texts: Sequence[str], file: Path | None, text_column: str, output: Path | None) -> int:
    """Write one JSON object a text: text, label, confidence, probabilities. Returns the exit code.

    Raises:
        DataError: no texts, or a run without a student.
    """
    from tutelage.student.checkpoint import load_student

    folder = run / "student" if (run / "student").is_dir() else run
    given = list(texts) + (list(_read(file, text_column)) if file else [])
    if not given:
        raise DataError('There is nothing to label: give texts (tutelage predict RUN "a text") or --file texts.txt.')
    network, tokenizer, max_length = load_student(folder)
    handle = output.open("w", encoding="utf-8") if output else sys.stdout
    try:
        for start in range(0, len(given), _BATCH):
            for record in _label(network, tokenizer, max_length, given[start : start + _BATCH]):
                handle.write(json.dumps(record, ensure_ascii=False) + "\n")
    finally:
        if output:
            handle.close()
    return 0


def _label(network: Any, tokenizer: Any, max_length: int, texts: list[str]) -> Iterator[dict[str, Any]]:
    import torch

    batch = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    with torch.no_grad():
        rows = network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.softmax(-1)
    names = network.config.id2label
    for text, row in zip(texts, rows.tolist(), strict=True):
        best = max(range(len(row)), key=row.__getitem__)
        yield {
            "text": text,
            "label": names[best],
            "confidence": round(row[best], 4),
            "probabilities": {names[place]: round(value, 4) for place, value in enumerate(row)},
        }


def _read(path: Path, column: str) -> Iterator[str]:
    if not path.is_file():
        raise DataError(f"--file {path} does not exist.")
    with path.open(encoding="utf-8", newline="") as handle:
        if path.suffix == ".jsonl":
            records: Any = (json.loads(line) for line in handle if line.strip())
        elif path.suffix == ".csv":
            records = csv.DictReader(handle)
        else:
            yield from (line.rstrip("\n") for line in handle if line.strip())
            return
        for number, record in enumerate(records, start=1):
            if column not in record:
                raise DataError(f"{path}, row {number}: {did_you_mean('column', column, map(str, record))} Set it with --text-column.")
            yield str(record[column])
