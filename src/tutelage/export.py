"""`tutelage export`: the student of a finished run in a form that services load.

The export is loaded again as a service would, and compared with the student on the run's own dev
texts (test texts if dev cannot be read): predictions, probabilities, scores, time and size. It only
appears under its name if it passes.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

from tutelage.audit.command import predictions, student_of
from tutelage.audit.inputs import dataset_of, settings_of, student_module
from tutelage.data.items import ItemEncoder
from tutelage.errors import ConfigError, DataError, RunError, StudentError
from tutelage.records import Example, Outcome
from tutelage.report.card_facts import CardOptions
from tutelage.report.model_card import CARD, model_card
from tutelage.runs.read import Run, read_run

Format = Literal["hf", "onnx", "onnx-int8"]

TOLERANCE = 1e-3
"""Largest difference of a probability between the student and an export in floating point."""
RECORD = "export.json"
"""The file that makes a folder an export."""
_FOLDER = "_name_or_path"
"""Key with the folder of this machine that the encoder was loaded from."""
_WEIGHTS = ("*.safetensors", "*.onnx", "peer/*.safetensors")
_BATCHES = (1, 32)
_TIMES = {1: 20, 32: 5}
"""How often a batch of a size is timed; the median counts."""
_MB = 1e6
_PACKAGES = ("tutelage", "torch", "transformers", "onnx", "onnxruntime")


@dataclass(frozen=True)
class Measured:
    """What was measured of the student, or of its export.

    Attributes:
        score: The metric on the texts, in [0, 1].
        latency_ms: Median time to label a batch, from raw texts to labels, by number of texts.
        size_mb: Size of the weights.
    """

    score: float
    latency_ms: dict[str, float]
    size_mb: float


@dataclass(frozen=True)
class Exported:
    """An export and how it compares with the student.

    Attributes:
        format: "hf", "onnx" or "onnx-int8".
        run: Name of the run's folder.
        task: Name of the task.
        labels: Names of the student's classes.
        max_length: Length in tokens that texts are cut to.
        split: The texts of the comparison: "dev" or "test".
        texts: Number of them.
        metric: The metric that is compared: accuracy, or F1 of entities.
        equal: Share of texts with equal predictions.
        largest_difference: Largest difference of a probability, over texts (tokens) and classes.
        student: The student in torch.
        export: The export.
        score_difference: Score of the export less that of the student.
        threads: Threads of both while they were timed.
        pipeline_equal: Share of texts for which transformers.pipeline gives the student's
            prediction; None but for "hf".
        versions: Versions of the packages.
    """

    format: Format
    run: str
    task: str
    labels: tuple[str, ...]
    max_length: int
    split: str
    texts: int
    metric: str
    equal: float
    largest_difference: float
    student: Measured
    export: Measured
    score_difference: float
    threads: int = 1
    pipeline_equal: float | None = None
    versions: dict[str, str] = field(default_factory=dict)


def export(
    folder: Path, format: Format, to: Path | None = None, options: CardOptions | None = None
) -> tuple[Exported, Path]:
    """Writes an export, with the comparison in export.json and a model card in README.md.

    Args:
        folder: The folder of a finished run, read as data.
        format: "hf" (transformers), "onnx", or "onnx-int8" (weights of 8 bits).
        to: Folder to write; export/FORMAT in the run's by default.
        options: What the user says about the card.

    Returns:
        The comparison, and the folder.

    Raises:
        ConfigError: The format is unknown, the extra is not installed, the target is a folder of
            something else, or two networks are to become one model of transformers.
        RunError: There is no finished run, or its files do not fit together.
        StudentError: The export does not predict like the student.
    """
    if format not in get_args(Format):
        raise ConfigError(f"--format {format} is not one of {', '.join(get_args(Format))}.")
    run = finished(folder)
    target = (to or run.folder / "export" / format).expanduser()
    check_target(target)
    student = student_of(run)
    split, examples = _examples(run)
    with built_folder(target) as built:
        _write(built, format, *student)
        found = _compared(run, built, format, student, split, examples)
        _check_parity(found)
        write_record(built, asdict(found), model_card(run, options, asdict(found)))
    return found, target


def finished(folder: Path) -> Run:
    """Returns a run that is done.

    Raises:
        RunError: There is none, or it is not done.
    """
    run = read_run(folder)
    if run.state != "done":
        raise RunError(
            f"The run in {folder} is not finished (its state is {run.state}), so it has no student "
            "to export. Resume the run first."
        )
    return run


def write_record(built: Path, record: dict[str, Any], card: str) -> None:
    """Writes export.json, which makes a folder an export, and the card."""
    text = json.dumps(record, indent=2, ensure_ascii=False)
    (built / RECORD).write_text(f"{text}\n", encoding="utf-8")
    (built / CARD).write_text(card, encoding="utf-8", errors="replace")


def check_target(target: Path) -> None:
    """Refuses a folder that holds anything but an export."""
    if target.exists() and not (target / RECORD).is_file():
        if target.is_dir() and not any(target.iterdir()):
            return
        raise ConfigError(
            f"{target} exists and is no export, so it is not overwritten. Give another folder "
            "with --to."
        )


@contextmanager
def built_folder(target: Path) -> Iterator[Path]:
    """A folder that takes the target's name when all of it is written."""
    path = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        path.mkdir(parents=True)
        yield path
        if target.exists():
            shutil.rmtree(target)
        path.rename(target)
    except OSError as error:
        raise DataError(
            f"{target} cannot be written: {error.strerror or error}. Give a folder in which you "
            "may write with --to, and see that the disk has room."
        ) from error
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _examples(run: Run) -> tuple[str, list[Example]]:
    """The run's dev texts, or its test texts where dev cannot be read again."""
    dataset, _ = dataset_of(run, settings_of(run), fetch=False)
    if dataset is not None and dataset.dev:
        return "dev", list(dataset.dev)
    if not run.after:
        raise RunError(
            f"The run in {run.folder} has neither dev texts nor predictions/test-after.jsonl, so "
            "an export could not be compared with its student. Restore the file, or the data set."
        )
    return "test", [Example(one.id, one.text, one.target) for one in run.after]


def _write(built: Path, format: Format, network: Any, tokenizer: Any, max_length: int) -> None:
    from tutelage.student.checkpoint import ONNX_FILE, save_student
    from tutelage.student.onnx import write_graph, write_int8
    from tutelage.student.peers import networks_of

    if format == "hf":
        if len(networks_of(network)) > 1:
            raise ConfigError(
                "A model of transformers has one network, and this student has two "
                "(student.peers=2). Export it with --format onnx or onnx-int8, whose graph has "
                "their mean."
            )
        # Pipelines cut texts to this length.
        tokenizer.model_max_length = max_length
        save_student(built, network, tokenizer, max_length)
        _forget(built / "config.json", _FOLDER)
        return
    # Configuration and tokenizer are those of the student; of two networks they are the same.
    save_student(built, networks_of(network)[0], tokenizer, max_length)
    for left in (*built.glob("*.safetensors*"), *built.glob("*.py")):
        left.unlink()
    # A graph is run by no code, so none is named.
    _forget(built / "config.json", _FOLDER, "auto_map")
    graph = built / ("float.onnx" if format == "onnx-int8" else ONNX_FILE)
    write_graph(network, graph)
    if format == "onnx-int8":
        write_int8(graph, built / ONNX_FILE)
        graph.unlink()


def _forget(config: Path, *keys: str) -> None:
    """Removes keys of a model's configuration, and of its encoder's."""
    record = json.loads(config.read_text(encoding="utf-8"))
    for part in (record, record.get("encoder")):
        if isinstance(part, dict):
            for key in keys:
                part.pop(key, None)
    config.write_text(f"{json.dumps(record, indent=2)}\n", encoding="utf-8")


def _compared(
    run: Run,
    built: Path,
    format: Format,
    student: tuple[Any, Any, int],
    split: str,
    examples: Sequence[Example],
) -> Exported:
    from tutelage.student.inference import Student, load

    with _one_thread():
        ours, theirs = Student(*student), load(built)
        (first, probabilities), (second, others) = (
            _predicted(run, one, examples, split) for one in (ours, theirs)
        )
        texts = [one.text for one in examples]
        times = _latencies((ours.predict, theirs.predict), texts)
        piped = _piped(ours, built, texts) if format == "hf" else None
    metric = run.headline_metrics[0]
    scores = [float(run.task.metrics(outcomes)[metric.key]) for outcomes in (first, second)]
    sizes = [_size(run.folder / "student"), _size(built)]
    measured = [Measured(*one) for one in zip(scores, times, sizes, strict=True)]
    return Exported(
        format=format,
        run=run.folder.resolve().name,
        task=run.task.name,
        labels=run.task.outputs,
        max_length=student[2],
        split=split,
        texts=len(examples),
        metric=metric.title,
        equal=_share(a.predicted == b.predicted for a, b in zip(first, second, strict=True)),
        largest_difference=float((probabilities - others).abs().max()),
        student=measured[0],
        export=measured[1],
        score_difference=scores[1] - scores[0],
        pipeline_equal=piped,
        versions=dict(_versions()),
    )


def _predicted(
    run: Run, student: Any, examples: Sequence[Example], split: str
) -> tuple[list[Outcome], Any]:
    """Outcomes of examples, and all probabilities behind them, [units, C]."""
    import torch

    from tutelage.student.peers import Prediction

    seen: list[torch.Tensor] = []

    class Recorder(torch.nn.Module):
        """Passes batches on, and keeps the distributions of real tokens."""

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Prediction:
            logits = student.network(input_ids=input_ids, attention_mask=attention_mask).logits
            shares = logits.float().softmax(dim=-1)
            seen.append(shares[attention_mask.bool()] if shares.dim() == 3 else shares)
            return Prediction(logits)

    reader = ItemEncoder(run.task, student.tokenizer, student.max_length)
    outcomes = predictions(student_module(Recorder(), run.task), reader, examples, split)
    return outcomes, torch.cat(seen)


def _check_parity(found: Exported) -> None:
    """Refuses an export in floating point that is another model.

    Raises:
        StudentError: A probability differs by more than the tolerance, or is no number.
    """
    same = found.largest_difference <= TOLERANCE  # False for what is no number
    if found.format != "onnx-int8" and not same:
        raise StudentError(
            f"The export does not predict like the student: on {found.texts} {found.split} texts a "
            f"probability differs by {found.largest_difference:.2g} (at most {TOLERANCE:g} is "
            f"allowed), and {found.equal:.1%} of the predictions are equal. Nothing was written. "
            "torch's exporter does not know this encoder well: give --format hf, or train with "
            "another student.model."
        )


def _piped(student: Any, built: Path, texts: Sequence[str]) -> float:
    """Share of texts for which transformers.pipeline gives the student's prediction."""
    import transformers
    from transformers.utils import logging

    from tutelage.student.inference import load
    from tutelage.student.loading import head_of

    # Loaded by our own loader, so that nothing of it is run as code.
    theirs = load(built)
    tagger = head_of(theirs.network.config.to_dict()) == "token"
    options = {"aggregation_strategy": "first"} if tagger else {}
    verbosity = logging.get_verbosity()
    # It lists all of its own classes where it is given another one, and takes it.
    logging.set_verbosity(logging.CRITICAL)
    try:
        pipe: Any = transformers.pipeline(
            task="token-classification" if tagger else "text-classification",
            model=theirs.network,
            tokenizer=theirs.tokenizer,
            device="cpu",
            **options,
        )
    finally:
        logging.set_verbosity(verbosity)
    ours = student.predict(texts)
    if tagger:
        return _share(
            _spans(one["entities"], "label") == _spans(pipe(text), "entity_group")
            for one, text in zip(ours, texts, strict=True)
        )
    found = pipe(list(texts), truncation=True)
    return _share(one["label"] == two["label"] for one, two in zip(ours, found, strict=True))


def _spans(entities: Sequence[dict[str, Any]], name: str) -> set[tuple[int, int, str]]:
    return {(one["start"], one["end"], one[name]) for one in entities}


def _latencies(
    predict: Sequence[Callable[[list[str]], Any]], texts: Sequence[str]
) -> list[dict[str, float]]:
    """Median time per batch of each, in turns: what else the machine does slows all alike."""
    found: list[dict[str, float]] = [{} for _ in predict]
    for size in _BATCHES:
        batches = [
            [texts[(size * turn + index) % len(texts)] for index in range(size)]
            for turn in range(_TIMES[size])
        ]
        times: list[list[float]] = [[] for _ in predict]
        for batch in (batches[0], *batches):  # the first one warms up
            for one, taken in zip(predict, times, strict=True):
                began = time.perf_counter()
                one(batch)
                taken.append(time.perf_counter() - began)
        for values, taken in zip(found, times, strict=True):
            values[str(size)] = round(1e3 * statistics.median(taken[1:]), 2)
    return found


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _share(hits: Any) -> float:
    each = [bool(one) for one in hits]
    return sum(each) / len(each)


def _size(folder: Path) -> float:
    files = (path for pattern in _WEIGHTS for path in folder.glob(pattern))
    return round(sum(path.stat().st_size for path in files) / _MB, 2)


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue


def print_export(console: Any, found: Exported) -> None:
    """Print the comparison of an export with the student.

    Args:
        console: The console of rich to print to.
        found: The comparison.
    """
    from rich.table import Table

    table = Table(title=None, show_edge=False, pad_edge=False)
    for index, title in enumerate(("", "student", found.format)):
        table.add_column(title, justify="right" if index else "left")
    pair = (found.student, found.export)
    table.add_row(f"{found.metric} on {found.split}", *(f"{one.score:.1%}" for one in pair))
    for size in found.student.latency_ms:
        table.add_row(
            f"ms for {size} text{'s' * (size != '1')}, one thread",
            *(f"{one.latency_ms[size]:,.1f}" for one in pair),
        )
    table.add_row("MB of weights", *(f"{one.size_mb:,.1f}" for one in pair))
    console.print(table)
    piped = found.pipeline_equal
    by_pipeline = "" if piped is None else f"; by transformers.pipeline {piped:.1%}"
    console.print(
        f"\nOf {found.texts:,} {found.split} texts {found.equal:.1%} have equal predictions"
        f"{by_pipeline}; the largest difference of a probability is "
        f"{found.largest_difference:.2g}.",
        highlight=False,
        soft_wrap=True,
    )
