"""Predictions under a guarantee: which of them are kept, and which labels are possible."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tutelage.errors import DataError, RunError
from tutelage.runs.check_records import Guarantee
from tutelage.runs.files import RunFiles
from tutelage.student.inference import student_folder

FILE = "guarantee.json"
KEYS = ("abstained", "guess", "set")
"""Keys that a prediction has under a guarantee alone."""
_STUDENT = ("config.json", "tutelage.json", "tokenizer.json", "*.safetensors", "*.onnx")
"""Files that a student's predictions depend on."""


def student_digest(run: Path) -> str:
    """Hash of the files that a student's predictions depend on.

    Args:
        run: A run's folder, its student/ folder, or an export of it.
    """
    folder = student_folder(run)
    total = hashlib.sha256()
    for inside in (folder, folder / "peer"):
        for path in sorted(path for name in _STUDENT for path in inside.glob(name)):
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def guarantee_of(run: Path) -> Guarantee:
    """Reads the guarantee of a student.

    Args:
        run: A run's folder, its student/ folder, or an export of it.

    Raises:
        DataError: There is none.
        RunError: It cannot be read, or is that of another student.
    """
    folder = run.expanduser()
    if not (folder / FILE).is_file() and folder.resolve().name == "student":
        folder = folder.resolve().parent
    found = RunFiles(folder, False).guarantee()
    if found is None:
        raise DataError(
            f"--abstain follows {FILE}, and {run} has none. Run `tutelage guarantee` for the run "
            "first; for an export of it, with --export and its folder."
        )
    if found.student != student_digest(run):
        raise RunError(
            f"{folder / FILE} is the guarantee of another student than that of {run}: one was "
            "changed since. Run `tutelage guarantee` again."
        )
    return found


def abstaining(record: dict[str, Any], guarantee: Guarantee) -> dict[str, Any]:
    """Returns a prediction as the guarantee allows it.

    Args:
        record: A prediction of :meth:`tutelage.student.inference.Student.stream` with its
            confidence; None in a blank text, which has no prediction.
        guarantee: The guarantee.

    Returns:
        The record with "abstained". If that is true, its label (for NER its entities) is None and
        stands under "guess". For classification also "set", the possible labels, most probable
        first; None for a blank text.
    """
    answer = "entities" if "entities" in record else "label"
    confidence, threshold = record["confidence"], guarantee.threshold
    kept = threshold is not None and confidence is not None and confidence >= threshold
    found = {
        **record,
        answer: record[answer] if kept else None,
        "abstained": not kept,
        "guess": None if kept else record[answer],
    }
    if guarantee.probability is not None:
        chances = record["probabilities"]
        found["set"] = chances and [
            label
            for label in sorted(chances, key=chances.__getitem__, reverse=True)
            if chances[label] >= guarantee.probability
        ]
    return found
