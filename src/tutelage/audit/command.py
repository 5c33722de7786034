"""An audit from the folder of a finished run to audit.jsonl and audit.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tutelage.audit.gold import audit_gold
from tutelage.audit.inputs import dataset_of, encoder_of, settings_of, student_module, untrained
from tutelage.audit.pool import audit_pool
from tutelage.data.dataset import Dataset
from tutelage.data.items import ItemEncoder
from tutelage.errors import ConfigError, RunError
from tutelage.records import Example, Outcome, Row, as_dicts
from tutelage.runs.check_records import Audit, AuditedClass, AuditedSplit, Suspect
from tutelage.runs.folder import RunFolder
from tutelage.runs.read import Run, read_run
from tutelage.runs.shapes import why

_AT_ONCE = 64


def audit(
    folder: Path,
    *,
    encoder: str | None = None,
    min_confidence: float = 0.9,
    fetch: bool = False,
) -> Audit:
    """Writes audit.jsonl and audit.json into the folder of a finished run.

    No teacher is asked, and nothing of the run changes: the suspects are for readers.

    Args:
        folder: The run's folder, read as data.
        encoder: Encoder of the features: "embedded", a folder or a hub id; None takes the run's
            own student.model.
        min_confidence: Lowest confidence of each judge that makes a suspect of a gold label.
        fetch: Whether the run's encoder and data set may come from the hub.

    Returns:
        The counts.

    Raises:
        ConfigError: ``min_confidence`` is no probability.
        RunError: There is no finished run, or a file of it is damaged.
    """
    if not 0.0 <= min_confidence <= 1.0:
        raise ConfigError(
            f"--min-confidence {min_confidence:g} is no probability. Give one from 0 to 1."
        )
    run = read_run(folder)
    if run.state != "done":
        raise RunError(
            f"The run in {folder} is not finished (its state is {run.state}), and an audit is of "
            "all of its labels. Resume the run first."
        )
    try:
        found, suspects = _audited(run, encoder, min_confidence, fetch=fetch)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # Each line was sound by itself.
        raise RunError(
            f"The run in {folder} cannot be audited ({why(error)}): files of the run do not fit "
            "together. Restore those that were changed, or run again."
        ) from error
    with RunFolder(run.folder).lock():
        RunFolder(run.folder).write_lines("audit.jsonl", as_dicts(suspects))
        RunFolder(run.folder).write_json("audit.json", asdict(found))
    return found


def _audited(
    run: Run, encoder: str | None, min_confidence: float, *, fetch: bool
) -> tuple[Audit, list[Suspect]]:
    settings = settings_of(run)
    dataset, notes = dataset_of(run, settings, fetch=fetch)
    model = encoder_of(run, settings, encoder, fetch=fetch)
    suspects, classes, splits = _pool(run, dataset, model)
    for split, outcomes in (("dev", _dev(run, dataset)), ("test", run.after)):
        if outcomes:
            opinions = {one.id: one for one in run.teacher} if split == "test" else {}
            more, counts = audit_gold(run.task, split, outcomes, opinions, min_confidence)
            suspects += more
            splits.append(counts)
    found = Audit(
        "words" if run.task.is_token_level else "rows",
        tuple(classes),
        tuple(splits),
        min_confidence,
        tuple(notes),
    )
    return found, suspects


def _pool(
    run: Run, dataset: Dataset | None, model: str
) -> tuple[list[Suspect], list[AuditedClass], list[AuditedSplit]]:
    from tutelage.student.checkpoint import load_tokenizer
    from tutelage.student.held_out import HeldOut

    rows = [row for row in run.rows if row.accepted]
    if all(row.given for row in rows):
        return [], [], []
    task = run.task
    _, _, max_length = student_of(run)
    reader = ItemEncoder(task, load_tokenizer(model, head=task.head), max_length)
    items = reader.encode(rows)
    scorer = HeldOut(lambda: untrained(model, task))
    distributions = scorer.distributions(items, reader.collate, _device())
    suspects, classes, split = audit_pool(task, rows, items, distributions, _gold(rows, dataset))
    return suspects, classes, [split]


def _gold(rows: Sequence[Row], dataset: Dataset | None) -> dict[str, Row]:
    """By row id, rows of the unlabelled pool with their gold targets, where these are known."""
    known = dataset.pool_gold if dataset else {}
    texts = {example.id: example.text for example in dataset.pool} if dataset else {}
    return {
        row.id: replace(row, target=known[row.parents[0]])
        for row in rows
        if row.source == "pool"
        and row.parents
        and row.parents[0] in known
        # A folder may be altered; spans of another text would fit no word.
        and texts.get(row.parents[0]) == row.text
    }


def student_of(run: Run) -> tuple[Any, Any, int]:
    """The run's network, tokenizer and maximal length.

    Raises:
        RunError: The student has other classes than the run.
    """
    from tutelage.student.inference import load

    student = load(run.folder)
    if student.labels != run.task.outputs:
        raise RunError(
            f"The student in {run.folder / 'student'} has other classes than manifest.json. Their "
            "files do not belong together: copy the folder again, or do the run again."
        )
    return student.network, student.tokenizer, student.max_length


def _dev(run: Run, dataset: Dataset | None) -> list[Outcome]:
    """The student's predictions of dev, which no file of a run has; empty without a data set."""
    if dataset is None or not dataset.dev:
        return []
    return student_predictions(run, dataset.dev, "dev")


def student_predictions(run: Run, examples: Sequence[Example], split: str) -> list[Outcome]:
    """Predicts labelled examples with the student of a finished run.

    Args:
        run: The run.
        examples: The examples.
        split: Their split, the source of the outcomes.

    Raises:
        RunError: The student has other classes than the run.
    """
    network, tokenizer, max_length = student_of(run)
    module = student_module(network, run.task).to(_device())
    return predictions(module, ItemEncoder(run.task, tokenizer, max_length), examples, split)


def predictions(
    module: Any, reader: ItemEncoder, examples: Sequence[Example], split: str
) -> list[Outcome]:
    """Predicts labelled examples with a student outside of any training.

    Args:
        module: The student.
        reader: Encodes its rows.
        examples: The examples.
        split: Their split, the source of the outcomes.
    """
    import torch

    from tutelage.student.module import outcomes_of
    from tutelage.student.observing import evaluating

    rows = [Row(one.id, one.text, str(one.label), "gold", 0, True) for one in examples]
    items = reader.encode(rows, split)
    found: list[Outcome] = []
    with evaluating(module):
        for start in range(0, len(items), _AT_ONCE):
            chunk = items[start : start + _AT_ONCE]
            batch = {
                name: value.to(module.device)
                for name, value in reader.collate(enumerate(chunk)).items()
                if isinstance(value, torch.Tensor)
            }
            shares = module(batch).float().softmax(dim=-1).cpu()
            found += outcomes_of(module.task, chunk, shares, 0)
    return found


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
